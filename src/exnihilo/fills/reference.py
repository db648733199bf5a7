"""The laws in PyTorch's own integer and IEEE operations, on any device: what the kernels must equal bit for bit.

Every multiplication and addition stands alone, since no operation of PyTorch contracts two of its calls into one
rounding. Square roots and quotients go through float64 and back, which rounds correctly; PyTorch's own float32 square
root does not on every CPU.
"""

# R keys, T tiles, P pairs of a tile (its 32 blocks), E elements of a tile

from collections.abc import Sequence

import torch
from torch import Tensor

from exnihilo.fills import polynomials
from exnihilo.fills.laws import Kind, Law

TILE = 64
PAIRS = 32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_INJECTIONS = 5  # after every fourth of the 20 rounds

_SIGN = -(2**31)
_SQRT_HALF = 0x3F3504F3  # the bits of float32's sqrt(1/2)
_MANTISSA = 0x007FFFFF


def tiles(law: Law, keys: Sequence[int], tiles_T: Tensor) -> Tensor:
    """The values of whole tiles under each key: float32 (int32 for words), of shape ``(R, T, 64)``.

    Args:
        law: Of one element; not a constant.
        keys: The cipher's 64-bit keys.
        tiles_T: int64 numbers of tiles, on the device where the values shall be.
    """
    lanes_P = torch.arange(PAIRS, device=tiles_T.device)
    blocks_TP = tiles_T[:, None] * PAIRS + lanes_P
    first_RTP, second_RTP = encrypt(keys, blocks_TP)
    if law.kind is Kind.NORMAL:
        return torch.cat(_normal_pair(first_RTP, second_RTP, *law.parameters), dim=-1)
    return _element(torch.cat((first_RTP, second_RTP), dim=-1), law)


def encrypt(keys: Sequence[int], blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Threefry2x32-20: the two 32-bit words of each block under each key, as int32 of shape ``(R, *blocks.shape)``.

    Args:
        keys: 64 bits each; the low half is the cipher's first key word.
        blocks: int64 counters; the low half is the cipher's first word.

    Example:
        >>> first, second = encrypt([0], torch.zeros(1, dtype=torch.int64))
        >>> f"{first.item() & 0xFFFFFFFF:08x} {second.item() & 0xFFFFFFFF:08x}"
        '6b200159 99ba4efe'

    References:
        Salmon, Moraes, Dror, Shaw (2011), Parallel Random Numbers: As Easy as 1, 2, 3, section 3.3.
    """
    halves = [[_signed(key), _signed(key >> 32)] for key in keys]
    words = torch.tensor(halves, dtype=torch.int32, device=blocks.device)
    key0, key1 = words.reshape(len(keys), 2, *(1,) * blocks.dim()).unbind(1)
    schedule = (key0, key1, key0 ^ key1 ^ _PARITY)
    first = key0 + _low_half(blocks)
    second = key1 + _low_half(blocks >> 32)
    for injection in range(_INJECTIONS):
        for rotation in _ROTATIONS[injection % 2]:
            first = first + second
            second = ((second << rotation) | _shifted(second, 32 - rotation)) ^ first
        first = first + schedule[(injection + 1) % 3]
        second = second + schedule[(injection + 2) % 3] + (injection + 1)
    return first, second


def _element(word: Tensor, law: Law) -> Tensor:
    match law.kind:
        case Kind.UNIFORM:
            low, step = law.parameters
            return low + step * _shifted(word, 8).to(torch.float32)
        case Kind.TRUNCATED_CENTER:
            return _truncated_center(word, *law.parameters)
        case Kind.TRUNCATED_TAILS:
            return _truncated_tails(word, *law.parameters)
        case Kind.RADEMACHER:
            (scale,) = law.parameters
            return torch.full_like(word, scale, dtype=torch.float32).where(word >= 0, -scale)
        case _:
            return word


def _normal_pair(first: Tensor, second: Tensor, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """Both halves of a tile by Box-Muller."""
    radius = _root(-2.0 * _log(_shifted(first, 1).to(torch.float32) + 0.5, -31))
    turned = second + 0x20000000  # the upper two bits count quarter turns, to the nearest
    angle = (second - (turned & -0x40000000)).to(torch.float32) * polynomials.ANGLE_STEP
    square = angle * angle
    sine = angle + (angle * square) * _horner(polynomials.SIN, square)
    cosine = (1.0 - 0.5 * square) + (square * square) * _horner(polynomials.COS, square)
    is_odd, is_right, is_low = (turned & 0x40000000) != 0, ((turned + 0x40000000) < 0), turned < 0
    across = torch.where(is_odd, sine, cosine)
    up = torch.where(is_odd, cosine, sine)
    across, up = torch.where(is_right, -across, across), torch.where(is_low, -up, up)
    return mean + std * (radius * across), mean + std * (radius * up)


def _truncated_center(
    word: Tensor, mean: float, std: float, lowest: float, highest: float, middle: float, half: float
) -> Tensor:
    x = middle + half * (word.to(torch.float32) * 2.0**-31)
    w = -_log((1.0 - x) * (1.0 + x), 0)
    return (mean + std * (x * _horner(polynomials.CENTER, w - 3.0))).clamp(lowest, highest)


def _truncated_tails(word: Tensor, mean: float, std: float, lowest: float, highest: float, *rest: float) -> Tensor:
    *sides, beyond, shift, split = rest
    is_lower = (word ^ _SIGN) < int(split) + _SIGN
    from_lower, step_lower, from_upper, step_upper, scale_lower, scale_upper = (
        torch.tensor(side, dtype=torch.float32, device=word.device) for side in sides
    )
    v = _shifted(torch.where(is_lower, word, ~word), 1).to(torch.float32) + 0.5
    g = torch.where(is_lower, from_lower, from_upper) + v * torch.where(is_lower, step_lower, step_upper)
    q = beyond * g
    w = shift - _log(g * (1.0 - q), 0)
    near = (1.0 - 2.0 * q) * _horner(polynomials.CENTER, w - 3.0)
    s = _root(w.clamp_min(polynomials.FAR))
    far = s * _horner(polynomials.TAIL, s.double().reciprocal().to(torch.float32))
    z = torch.where(w < polynomials.FAR, near, far)
    return (mean + torch.where(is_lower, scale_lower, scale_upper) * z).clamp(lowest, highest)


def _log(value: Tensor, shift: int) -> Tensor:
    """log(value * 2**shift) of positive normal numbers."""
    offset = value.view(torch.int32) - _SQRT_HALF
    exponent = ((offset >> 23) + shift).to(torch.float32)
    f = ((offset & _MANTISSA) + _SQRT_HALF).view(torch.float32) - 1.0
    square = f * f
    rest = (f - 0.5 * square) + (f * square) * _horner(polynomials.LOG, f)
    return rest + exponent * polynomials.LN2


def _horner(coefficients: Sequence[float], t: Tensor) -> Tensor:
    value = torch.full_like(t, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = coefficient + t * value
    return value


def _root(value: Tensor) -> Tensor:
    return value.double().sqrt().to(torch.float32)


def _shifted(word: Tensor, count: int) -> Tensor:
    """The word moved right with zeros moved in; int32's own shift moves its sign in."""
    return (word >> count) & ((1 << (32 - count)) - 1)


def _low_half(blocks: Tensor) -> Tensor:
    low = blocks & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


def _signed(word: int) -> int:
    """The int32 with the low 32 bits of a number."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
