"""Parts of a draw: what a scheme gives to one box of a tensor, equal bit for bit to that box of the whole."""

from collections.abc import Iterator

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Box, Key, Law, fill_, values
from exnihilo.fills.fill import require_fillable
from exnihilo.layouts import Layout
from exnihilo.schemes.noisy import Noisy
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Elementwise, Scheme
from exnihilo.schemes.sliced import Sliced, out_dim, part_layout
from exnihilo.schemes.weighted import Weighted
from exnihilo.schemes.zero_row import ZeroRow


def is_local(scheme: Scheme) -> bool:
    """A box can be drawn without the rest of the tensor.

    Example:
        >>> from exnihilo.schemes import Orthogonal, he_normal
        >>> is_local(he_normal()), is_local(Orthogonal())
        (True, False)
    """
    match scheme:
        case Noisy(base=base) | ZeroRow(base=base) | Weighted(base=base) | Sliced(base=base):
            return is_local(base)
        case _:
            return isinstance(scheme, Elementwise)


def sample_box(scheme: Scheme, layout: Layout, key: Key, box: Box) -> Tensor:
    """``scheme.sample(layout, key)`` cut to a box; a scheme that is not local is drawn whole for it.

    Args:
        scheme: Any.
        layout: Of the full tensor, from whose shape the fans come.
        key: As for ``sample``.
        box: Of ``layout.shape``.

    Returns:
        Fresh float32 values on the CPU, of shape ``box.sizes``.

    Raises:
        InvalidValueError: The box is of another shape than the layout.
        LayoutError: As ``sample`` does.

    Example:
        >>> scheme, layout, key = Normal(std=1.0), Layout.linear(4, 6), Key(0, "w")
        >>> lower = sample_box(scheme, layout, key, Box((4, 6), (2, 0), (2, 6)))
        >>> bool((lower == scheme.sample(layout, key)[2:]).all())
        True
    """
    _require_box_of(layout, box)
    if box.is_whole:
        return scheme.sample(layout, key)
    match scheme:
        case Elementwise():
            return values(scheme.law(layout), key, box)
        case Noisy(base=base, std=std):
            noise = sample_box(Normal(std=std), layout, key.derive("noise"), box)
            return sample_box(base, layout, key, box).add_(noise)
        case ZeroRow(base=base, row=row):
            scheme.require_row(layout)
            part = sample_box(base, layout, key, box)
            if 0 <= row - box.offsets[0] < box.sizes[0]:
                part[row - box.offsets[0]] = 0.0
            return part
        case Weighted(base=base):
            along = scheme.along(layout)
            return sample_box(base, layout, key, box) * along[_cut(along, box)]
        case Sliced(runs=runs) if runs:
            return _sliced(scheme, layout, key, box)
        case Sliced(base=base):
            return sample_box(base, layout, key, box)
        case _:
            return scheme.sample(layout, key)[box.slices].contiguous()


def fill_box_(tensor: Tensor, scheme: Scheme, layout: Layout, key: Key, box: Box) -> None:
    """Write the box of a draw into the memory that holds it; where each entry has a law, with no copy in between.

    Raises:
        InvalidValueError: As ``fills.fill_`` does; nothing was written.
    """
    _require_box_of(layout, box)
    require_fillable(tensor, box)
    match scheme:
        case Elementwise():
            fill_(tensor, scheme.law(layout), key, box)
        case ZeroRow(base=base, row=row) if is_local(base):
            scheme.require_row(layout)
            fill_box_(tensor, base, layout, key, box)
            if 0 <= row - box.offsets[0] < box.sizes[0]:
                fill_(tensor[row - box.offsets[0]], Law.constant(0.0), key)
        case Sliced(base=base, runs=runs) if runs and is_local(base):
            for begin, length, own, part_key, part in _runs(scheme, layout, key, box):
                fill_box_(tensor.narrow(out_dim(layout), begin, length), base, own, part_key, part)
        case _:
            with torch.no_grad():
                tensor.copy_(sample_box(scheme, layout, key, box))


def _require_box_of(layout: Layout, box: Box) -> None:
    if box.shape != layout.shape:
        raise InvalidValueError(
            f"A box of shape {box.shape} is no part of a {layout.kind} layout of shape {layout.shape}.",
            fix="Box(layout.shape, offsets, sizes)",
        )


def _cut(along: Tensor, box: Box) -> tuple[slice, ...]:
    """The box of a tensor that has one entry in dims along which it does not change."""
    return tuple(own if size > 1 else slice(0, 1) for own, size in zip(box.slices, along.shape, strict=True))


def _sliced(scheme: Sliced, layout: Layout, key: Key, box: Box) -> Tensor:
    out = torch.empty(box.sizes, dtype=torch.float32, device="cpu")
    for begin, length, own, part_key, part in _runs(scheme, layout, key, box):
        out.narrow(out_dim(layout), begin, length).copy_(sample_box(scheme.base, own, part_key, part))
    return out


def _runs(scheme: Sliced, layout: Layout, key: Key, box: Box) -> Iterator[tuple[int, int, Layout, Key, Box]]:
    """Each run of units as far as it lies in the box: where in the box, how long, and what its part's draw takes."""
    dim = out_dim(layout)
    first, last = box.offsets[dim], box.offsets[dim] + box.sizes[dim]
    num_units = scheme.counts(layout.shape[dim])
    for run in scheme.placed(layout.shape[dim], range(first, last)):
        begin, end = max(first, run.start), min(last, run.start + run.length)
        if begin < end:
            own = part_layout(layout, num_units[run.part])
            offsets, sizes = list(box.offsets), list(box.sizes)
            offsets[dim], sizes[dim] = run.part_start + begin - run.start, end - begin
            part = Box(own.shape, tuple(offsets), tuple(sizes))
            yield begin - first, end - begin, own, key.derive(f"part {run.part}"), part
