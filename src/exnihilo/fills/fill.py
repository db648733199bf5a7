"""Writing a law into memory: any dtype and strides, all of a tensor or the box of it that this memory holds."""

from types import ModuleType

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.graph import increment_version
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from exnihilo.errors import InvalidValueError
from exnihilo.fills import backends, reference
from exnihilo.fills.box import Box, merged
from exnihilo.fills.key import Key
from exnihilo.fills.laws import Kind, Law

# The compiled kernel's numbers for dtypes.
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}

# Tensors whose memory is their own, and no wrapper's.
OWN_MEMORY = frozenset({Tensor, nn.Parameter, nn.Buffer})

# Names of this module, which cost a tenth of attributes.
_STRIDED, _CONSTANT = torch.strided, Kind.CONSTANT

# A thread takes some 20 microseconds to start and to join; this many elements take 50 to 400.
_SHARE = 2**18
# The reference makes about twenty arrays of a chunk, 8 bytes an element at most.
_REFERENCE_TILES = 2**10

# Modes that follow every operation, and would not see what is written past them; asked without a call of our own.
num_modes = torch._C._len_torch_dispatch_stack  # pyright: ignore[reportPrivateUsage]


def fill_(tensor: Tensor, law: Law, key: Key, box: Box | None = None) -> Tensor:
    """Write the elements of a law into a tensor, in place.

    Element ``i`` of the full logical tensor, counted row by row, is a function of (law, key, i) alone: not of strides,
    device, threads, or which part of it this tensor holds. It is made in float32; other dtypes get it rounded to
    nearest even (bfloat16, float16) or widened (float64). No gradient is recorded, and no more than 8 KiB a thread is
    allocated by the compiled kernel. A tensor without memory (on the meta device, or fake) is left alone.

    Args:
        tensor: float32, float64, bfloat16 or float16; any strides without overlap.
        law: Of one element.
        key: What the elements depend on, next to their index.
        box: Which part of the full logical tensor ``tensor`` is. Default: all of it.

    Returns:
        ``tensor``.

    Raises:
        InvalidValueError: Another dtype, entries that share memory, or a box of another size than the tensor. Nothing
            was written.

    Example:
        >>> whole = fill_(torch.empty(4, 6), Law.normal(), Key(0, "w"))
        >>> lower = fill_(torch.empty(2, 6), Law.normal(), Key(0, "w"), Box((4, 6), (2, 0), (2, 6)))
        >>> torch.equal(lower, whole[2:])
        True
    """
    if box is None and (kernel := small_kernel(tensor, law)) is not None:
        fill_small_(kernel, tensor, law, key.word)
        return tensor
    require_fillable(tensor, box)
    if tensor.is_meta or isinstance(tensor, FakeTensor) or tensor.numel() == 0:
        return tensor
    if law.kind is Kind.CONSTANT:
        stated = torch.tensor(law.parameters[0], dtype=torch.float32, device="cpu")
        value = stated.to(tensor.dtype).item()  # too large becomes infinite
        with torch.no_grad():
            return tensor.fill_(value)
    device = tensor.device.type
    if num_modes() or not _is_plain(tensor):
        _copy_in(tensor, law, key, box)
    elif device == "cpu" and (kernel := backends.compiled()) is not None:
        _fill_by_kernel(kernel, tensor, law, key, box)
        increment_version(tensor)
    elif device == "cuda" and (triton := backends.triton_fills(tensor.device)) is not None:
        triton.fill_(tensor.detach(), law, key, box or Box.whole(tensor.shape))
        increment_version(tensor)
    elif device in ("cpu", "cuda", "xpu"):
        _fill_by_reference(tensor, law, key, box)
    else:
        _copy_in(tensor, law, key, box)  # such as MPS, which has no float64 for the reference's square roots
    return tensor


def small_kernel(tensor: Tensor, law: Law) -> ModuleType | None:
    """What ``fill_small_`` calls for the most usual tensor, of no more than one thread's elements; None for others."""
    is_small = (
        type(tensor) in OWN_MEMORY
        and tensor.is_cpu
        and tensor.dtype in DTYPES
        and tensor.layout is _STRIDED
        and tensor.is_contiguous()
        and 0 < tensor.numel() < 2 * _SHARE
        and law.kind is not _CONSTANT
        and not tensor.is_neg()
        and not num_modes()
    )
    return backends.compiled() if is_small else None


def fill_small_(kernel: ModuleType, tensor: Tensor, law: Law, word: int) -> None:
    """``fill_`` where each step counts beside 256 elements; ``word`` is the key's."""
    kernel.fill(law.kind, DTYPES[tensor.dtype], word, law.parameters, tensor.data_ptr(), 0, tensor.numel())
    increment_version(tensor)


def values(law: Law, key: Key, box: Box) -> Tensor:
    """Fresh float32 values of a box, on the CPU.

    Example:
        >>> values(Law.uniform(), Key(0, "u"), Box.whole((2, 3))).shape
        torch.Size([2, 3])
    """
    return fill_(torch.empty(box.sizes, dtype=torch.float32, device="cpu"), law, key, box)


def _is_plain(tensor: Tensor) -> bool:
    """Its memory is its own and holds its values as they are: no wrapper, no lazy negation."""
    return type(tensor) in OWN_MEMORY and not tensor.is_neg()


def _copy_in(tensor: Tensor, law: Law, key: Key, box: Box | None) -> None:
    with _disable_current_modes():
        drawn = values(law, key, box or Box.whole(tensor.shape))
    with torch.no_grad():
        tensor.copy_(drawn)


def _fill_by_kernel(kernel: ModuleType, tensor: Tensor, law: Law, key: Key, box: Box | None) -> None:
    what = (law.kind, DTYPES[tensor.dtype], key.word, law.parameters)
    n = tensor.numel()
    threads = backends.num_threads(n, _SHARE)
    if (box is None or box.is_whole) and tensor.is_contiguous():
        kernel.fill(*what, tensor.data_ptr(), 0, n, threads)
    else:
        box = box or Box.whole(tensor.shape)
        part = merged(tensor.shape, box.strides, tensor.stride())
        kernel.fill_part(*what, tensor.data_ptr(), box.start, *part, 0, n, threads)


def _fill_by_reference(tensor: Tensor, law: Law, key: Key, box: Box | None) -> None:
    box = box or Box.whole(tensor.shape)
    flat = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device).reshape(-1)
    chunk = _REFERENCE_TILES * reference.TILE
    for first in range(0, box.numel, chunk):
        indices = _indices(box, first, min(chunk, box.numel - first), tensor.device)
        wanted = indices // reference.TILE
        tiles, places = torch.unique(wanted, return_inverse=True)
        made = reference.tiles(law, [key.word], tiles)[0]
        flat[first : first + len(indices)] = made[places, indices % reference.TILE].to(tensor.dtype)
    with torch.no_grad():
        tensor.copy_(flat.reshape(tensor.shape))


def _indices(box: Box, first: int, n: int, device: torch.device) -> Tensor:
    """Indices in the full tensor of a box's elements ``first`` to ``first + n``, in the box's own order."""
    rest = torch.arange(first, first + n, device=device)
    found = torch.full_like(rest, box.start)
    for size, stride in zip(reversed(box.sizes), reversed(box.strides), strict=True):
        found += rest % size * stride
        rest = rest // size
    return found


def _may_overlap(tensor: Tensor) -> bool:
    """A step in some dim is no longer than all that lies within it."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def require_fillable(tensor: Tensor, box: Box | None) -> None:
    """Raise InvalidValueError where ``fill_`` cannot write a box to a tensor."""
    if tensor.layout != torch.strided:
        raise InvalidValueError(
            f"A fill cannot write a tensor of layout {tensor.layout}; it writes strided ones.",
            context=[f"shape {tuple(tensor.shape)}"],
            fix="fill a strided tensor, then convert it",
        )
    if tensor.dtype not in DTYPES:
        raise InvalidValueError(
            f"A fill cannot write {tensor.dtype}; it writes float32, float64, bfloat16 and float16.",
            context=[f"shape {tuple(tensor.shape)}"],
            fix="fill a float32 tensor, then tensor.to(dtype)",
        )
    if box is not None and box.sizes != tuple(tensor.shape):
        raise InvalidValueError(
            f"A box of sizes {box.sizes} cannot be written to a tensor of shape {tuple(tensor.shape)}.",
            context=[f"full shape {box.shape}, offsets {box.offsets}"],
            fix="Box(shape, offsets, sizes=tuple(tensor.shape))",
        )
    if not tensor.is_contiguous() and _may_overlap(tensor):
        raise InvalidValueError(
            f"A tensor of shape {tuple(tensor.shape)} and strides {tensor.stride()} has several entries in one place "
            "of memory; a fill cannot write them.",
            fix="tensor = tensor.clone()",
        )
