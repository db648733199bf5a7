"""The laws on whole tiles, in Triton's language: operation for operation those of ``_tiles.h``.

Three things would change bits. A multiplication and an addition in one rounding: the launch forbids it. Roots and
quotients of the fast kind: these are ``sqrt_rn`` and ``div_rn``, and never of a subnormal number, which some versions
of Triton take for zero. Constants in another precision: a Python number takes the type of the float32 tensor it meets.
"""

# A kernel is Triton's language and not Python's: its types are values, and numbers become its constants.
# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

import triton
import triton.language as tl

from exnihilo.fills import polynomials
from exnihilo.fills.laws import Kind

# Triton keys its cache on the constants of this module alone, so that those of other modules are named here again.
_UNIFORM = tl.constexpr(int(Kind.UNIFORM))
_NORMAL = tl.constexpr(int(Kind.NORMAL))
_CENTER = tl.constexpr(int(Kind.TRUNCATED_CENTER))
_TAILS = tl.constexpr(int(Kind.TRUNCATED_TAILS))
_TWO_TO_MINUS_31 = tl.constexpr(2.0**-31)
_LN2 = tl.constexpr(polynomials.LN2)
_ANGLE_STEP = tl.constexpr(polynomials.ANGLE_STEP)
_FAR = tl.constexpr(polynomials.FAR)
_LOG_POLYNOMIAL = tl.constexpr(polynomials.LOG)
_SIN_POLYNOMIAL = tl.constexpr(polynomials.SIN)
_COS_POLYNOMIAL = tl.constexpr(polynomials.COS)
_CENTER_POLYNOMIAL = tl.constexpr(polynomials.CENTER)
_TAIL_POLYNOMIAL = tl.constexpr(polynomials.TAIL)

# Numbers that change from launch to launch: a kernel is not compiled anew for some values of them.
_ROWS = ["key", "first", "width", "index_step", "memory_step", "programs"]
_WALK = ["key", "first", "offset", "n", "size1", "size2", "size3", "index0", "index1", "index2", "index3"]
_WALK += ["memory0", "memory1", "memory2", "memory3"]


@triton.jit(do_not_specialize=_ROWS)
def fill_rows(
    memory,
    key: tl.int64,
    parameters,
    LAW: tl.constexpr,
    first: tl.int64,
    width: tl.int64,
    index_step: tl.int64,
    memory_step: tl.int64,
    programs: tl.int64,
    SIZE: tl.constexpr,
):
    """``SIZE`` elements of one row, from a multiple of ``SIZE`` on: a block's words are 32 elements apart."""
    program = tl.program_id(0).to(tl.int64)
    row = program // programs
    begin = first + row * index_step
    start = (begin // SIZE + program % programs) * SIZE
    block = start // 2
    lane = tl.arange(0, SIZE // 2)
    # The low word of a multiple of SIZE / 2 does not overflow by less than that.
    low, high = block.to(tl.uint32) + lane.to(tl.uint32), (block >> 32).to(tl.uint32)
    x, y = _elements(key, low, high, parameters, LAW)
    x, y = _rounded(x, memory.dtype.element_ty), _rounded(y, memory.dtype.element_ty)

    # 32 neighbors of a warp write 32 neighbors in memory.
    place = lane // 32 * 64 + lane % 32
    at = memory + (row * memory_step + (start - begin)) + place
    skipped = tl.maximum(begin - start, 0).to(tl.int32)
    end = tl.minimum(begin + width - start, SIZE).to(tl.int32)
    tl.store(at, x, mask=(place >= skipped) & (place < end))
    tl.store(at + 32, y, mask=(place + 32 >= skipped) & (place + 32 < end))


@triton.jit(do_not_specialize=_WALK)
def fill_scattered(
    memory,
    key: tl.int64,
    parameters,
    LAW: tl.constexpr,
    first: tl.int64,
    offset: tl.int64,
    n: tl.int64,
    size1: tl.int64,
    size2: tl.int64,
    size3: tl.int64,
    index0: tl.int64,
    index1: tl.int64,
    index2: tl.int64,
    index3: tl.int64,
    memory0: tl.int64,
    memory1: tl.int64,
    memory2: tl.int64,
    memory3: tl.int64,
    SIZE: tl.constexpr,
):
    """``SIZE`` elements in the row-major order of four dims, each made alone."""
    place = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    rest = place
    at3, rest = rest % size3, rest // size3
    at2, rest = rest % size2, rest // size2
    at1, at0 = rest % size1, rest // size1
    element = first + at0 * index0 + at1 * index1 + at2 * index2 + at3 * index3
    block = element // 64 * 32 + element % 32
    x, y = _elements(key, block.to(tl.uint32), (block >> 32).to(tl.uint32), parameters, LAW)
    value = tl.where(element % 64 < 32, x, y)
    at = memory + offset + at0 * memory0 + at1 * memory1 + at2 * memory2 + at3 * memory3
    tl.store(at, _rounded(value, memory.dtype.element_ty), mask=place < n)


@triton.jit
def _elements(key, low, high, p, LAW: tl.constexpr):
    """Both elements of each block."""
    first, second = _encrypted(key, low, high)
    if LAW == _NORMAL:
        return _normal_pair(first, second, p)
    if LAW == _UNIFORM:
        return _uniform(first, p), _uniform(second, p)
    if LAW == _CENTER:
        return _truncated_center(first, p), _truncated_center(second, p)
    if LAW == _TAILS:
        return _truncated_tails(first, p), _truncated_tails(second, p)
    return _rademacher(first, p), _rademacher(second, p)


@triton.jit
def _encrypted(key, low, high):
    """Threefry2x32-20: the two words of each block."""
    key0, key1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    key2 = key0 ^ key1 ^ 0x1BD11BDA
    x, y = low + key0, high + key1
    x, y = _four_rounds(x, y, 13, 15, 26, 6)
    x, y = _four_rounds(x + key1, y + (key2 + 1), 17, 29, 16, 24)
    x, y = _four_rounds(x + key2, y + (key0 + 2), 13, 15, 26, 6)
    x, y = _four_rounds(x + key0, y + (key1 + 3), 17, 29, 16, 24)
    x, y = _four_rounds(x + key1, y + (key2 + 4), 13, 15, 26, 6)
    return x + key2, y + (key0 + 5)


@triton.jit
def _four_rounds(x, y, R0: tl.constexpr, R1: tl.constexpr, R2: tl.constexpr, R3: tl.constexpr):
    x, y = _round(x, y, R0)
    x, y = _round(x, y, R1)
    x, y = _round(x, y, R2)
    return _round(x, y, R3)


@triton.jit
def _round(x, y, R: tl.constexpr):
    x = x + y
    return x, ((y << R) | (y >> (32 - R))) ^ x


@triton.jit
def _uniform(word, p):
    return p[0] + p[1] * (word >> 8).to(tl.int32).to(tl.float32)


@triton.jit
def _normal_pair(x, y, p):
    radius = tl.sqrt_rn(-2.0 * _logarithm((x >> 1).to(tl.int32).to(tl.float32) + 0.5, -31))
    turned = y + 0x20000000  # the upper two bits count quarter turns, to the nearest
    f = (y - (turned & 0xC0000000)).to(tl.int32).to(tl.float32) * _ANGLE_STEP
    square = f * f
    sine = f + (f * square) * _polynomial(_SIN_POLYNOMIAL, 2, square)
    cosine = (1.0 - 0.5 * square) + (square * square) * _polynomial(_COS_POLYNOMIAL, 2, square)
    is_odd = (turned & 0x40000000) != 0
    across = _with_flipped_sign(tl.where(is_odd, sine, cosine), turned + 0x40000000)
    up = _with_flipped_sign(tl.where(is_odd, cosine, sine), turned)
    return p[0] + p[1] * (radius * across), p[0] + p[1] * (radius * up)


@triton.jit
def _truncated_center(word, p):
    x = p[4] + p[5] * (word.to(tl.int32).to(tl.float32) * _TWO_TO_MINUS_31)
    w = -_logarithm((1.0 - x) * (1.0 + x), 0)
    return _clamped(p[0] + p[1] * (x * _polynomial(_CENTER_POLYNOMIAL, 9, w - 3.0)), p)


@triton.jit
def _truncated_tails(word, p):
    is_lower = word < tl.full(word.shape, p[12], tl.float32).to(tl.uint32)
    v = (tl.where(is_lower, word, word ^ 0xFFFFFFFF) >> 1).to(tl.int32).to(tl.float32) + 0.5
    g = _either(is_lower, p[4], p[6]) + v * _either(is_lower, p[5], p[7])
    q = p[10] * g
    w = p[11] - _logarithm(g * (1.0 - q), 0)
    near = (1.0 - 2.0 * q) * _polynomial(_CENTER_POLYNOMIAL, 9, w - 3.0)
    s = tl.sqrt_rn(tl.where(w > _FAR, w, _FAR))
    z = tl.where(w < _FAR, near, s * _polynomial(_TAIL_POLYNOMIAL, 9, tl.div_rn(1.0, s)))
    return _clamped(p[0] + _either(is_lower, p[8], p[9]) * z, p)


@triton.jit
def _rademacher(word, p):
    return _with_flipped_sign(tl.full(word.shape, p[0], tl.float32), word)


@triton.jit
def _logarithm(v, SHIFT: tl.constexpr):
    """``log(v * 2**SHIFT)`` of positive normal numbers."""
    offset = v.to(tl.uint32, bitcast=True) - 0x3F3504F3
    exponent = (offset.to(tl.int32, bitcast=True) >> 23) + SHIFT
    f = ((offset & 0x007FFFFF) + 0x3F3504F3).to(tl.float32, bitcast=True) - 1.0
    square = f * f
    rest = (f - 0.5 * square) + (f * square) * _polynomial(_LOG_POLYNOMIAL, 7, f)
    return rest + exponent.to(tl.float32) * _LN2


@triton.jit
def _polynomial(COEFFICIENTS: tl.constexpr, DEGREE: tl.constexpr, t):
    value = COEFFICIENTS.value[DEGREE - 1] + t * COEFFICIENTS.value[DEGREE]
    for power in tl.static_range(2, DEGREE + 1):
        value = COEFFICIENTS.value[DEGREE - power] + t * value
    return value


@triton.jit
def _clamped(value, p):
    value = tl.where(value > p[2], value, p[2])
    return tl.where(value < p[3], value, p[3])


@triton.jit
def _either(condition, a, b):
    """Two of the law's numbers; float32 whatever their size."""
    return tl.where(condition, tl.full(condition.shape, a, tl.float32), tl.full(condition.shape, b, tl.float32))


@triton.jit
def _with_flipped_sign(value, word):
    """The sign flipped where the word's highest bit is set."""
    return (value.to(tl.uint32, bitcast=True) ^ (word & 0x80000000)).to(tl.float32, bitcast=True)


@triton.jit
def _rounded(value, DTYPE: tl.constexpr):
    """To nearest, ties to even; for bfloat16 in integers, since not every version of Triton rounds so."""
    if tl.bfloat16 == DTYPE:
        bits = value.to(tl.uint32, bitcast=True)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
    return value.to(DTYPE)
