"""Fills of many laws, dtypes, strides and boxes by the Triton kernel, each against the reference, to the last bit.

Run as a program, with Triton's interpreter, it prints a JSON object: each case, and what was wrong with it.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import fill_cases
import torch
from torch import Tensor

from exnihilo.fills import Box, Key, Law, backends, fill_, reference

LAWS = fill_cases.LAWS | {"normal_subnormal": Law.normal(0.0, 1e-39)}
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Strides of a piece of memory, and which box of a full tensor it is."""

    box: Box
    strides: tuple[int, ...]


def _rows(*sizes: int) -> tuple[int, ...]:
    return Box.whole(sizes).strides


LAYOUTS = {
    "scalar": Layout(box=Box.whole(()), strides=()),
    "one": Layout(box=Box.whole((1,)), strides=(1,)),
    "less than a tile": Layout(box=Box.whole((37,)), strides=(1,)),
    "a program": Layout(box=Box.whole((1024,)), strides=(1,)),
    "ragged": Layout(box=Box.whole((50, 51)), strides=_rows(50, 51)),
    "from inside a tile": Layout(box=Box((2**20,), (77,), (900,)), strides=(1,)),
    "where the counter's low word is full": Layout(box=Box((2**40,), (2**33 - 700,), (1500,)), strides=(1,)),
    "far out": Layout(box=Box((2**41,), (2**40 + 77,), (1500,)), strides=(1,)),
    "the last of all": Layout(box=Box((2**63,), (2**63 - 1500,), (1500,)), strides=(1,)),
    "long rows": Layout(box=Box((2**21, 2**21 + 5), (2**20, 1000), (3, 2100)), strides=(2100, 1)),
    "rows that begin in their first program anywhere": Layout(box=Box((9, 3000), (0, 0), (3, 2048)), strides=(2048, 1)),
    "long rows with gaps": Layout(box=Box((9, 2**12), (3, 1024), (3, 2048)), strides=(2050, 1)),
    "short rows": Layout(box=Box((60, 90), (3, 5), (30, 40)), strides=(40, 1)),
    "a column": Layout(box=Box((700, 3), (0, 1), (700, 1)), strides=(1, 1)),
    "transposed": Layout(box=Box.whole((40, 31)), strides=(1, 40)),
    "transposed and far out": Layout(box=Box((2**21, 2**21), (2**20, 5), (40, 31)), strides=(1, 40)),
    "every second": Layout(box=Box.whole((700,)), strides=(2,)),
    "channels last": Layout(box=Box.whole((8, 6, 3, 3)), strides=(54, 1, 18, 6)),
    "six dims": Layout(
        box=Box((3, 5, 3, 4, 3, 4), (0, 2, 0, 1, 1, 1), (2, 3, 3, 2, 2, 3)), strides=_rows(6, 5, 4, 4, 3, 4)
    ),
    "six dims backwards": Layout(box=Box.whole((2, 3, 2, 3, 2, 3)), strides=(1, 2, 6, 12, 36, 72)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A law into a dtype and a layout, by their names."""

    law: str
    dtype: torch.dtype
    layout: str

    def __str__(self) -> str:
        return f"{self.law}, {self.dtype}, {self.layout}"


CASES = [Case(law=law, dtype=dtype, layout="from inside a tile") for law in LAWS for dtype in DTYPES]
CASES += [
    Case(law="normal", dtype=torch.float32, layout=layout) for layout in LAYOUTS if layout != "from inside a tile"
]
CASES += [Case(law=law, dtype=torch.bfloat16, layout="transposed and far out") for law in LAWS]

_INTS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_KEY = Key(5, "triton")
_AROUND = 64  # entries before and after the memory that is filled, which must stay


def trouble(case: Case, fill: Callable[[Tensor, Law, Key, Box], object], device: str) -> str:
    """What a fill got wrong; nothing where all memory holds what it should."""
    law, layout = LAWS[case.law], LAYOUTS[case.layout]
    filled = _memory(case, device)
    fill(_view(filled, layout), law, _KEY, layout.box)
    expected = _memory(case, "cpu")
    _view(expected, layout).copy_(_by_reference(law, layout.box).to(case.dtype))
    wrong = filled.cpu().view(_INTS[filled.element_size()]) != expected.view(_INTS[filled.element_size()])
    return f"{int(wrong.sum())} of {layout.box.numel} elements differ" if wrong.any() else ""


def _memory(case: Case, device: str) -> Tensor:
    layout = LAYOUTS[case.layout]
    reach = sum((size - 1) * stride for size, stride in zip(layout.box.sizes, layout.strides, strict=True)) + 1
    return torch.full((reach + 2 * _AROUND,), 7.0, dtype=case.dtype, device=device)


def _view(memory: Tensor, layout: Layout) -> Tensor:
    return memory.as_strided(layout.box.sizes, layout.strides, _AROUND)


def _by_reference(law: Law, box: Box) -> Tensor:
    """Every element on its own, its index added up dim by dim."""
    indices = torch.zeros(box.sizes, dtype=torch.int64)
    for dim, (offset, size, stride) in enumerate(zip(box.offsets, box.sizes, box.strides, strict=True)):
        along = (offset + torch.arange(size)) * stride
        indices += along.reshape(size, *(1,) * (len(box.sizes) - 1 - dim))
    tiles, places = torch.unique(indices // reference.TILE, return_inverse=True)
    return reference.tiles(law, [_KEY.word], tiles)[0][places, indices % reference.TILE]


def main() -> None:
    """Each case by the Triton kernel and, where there is one, by the compiled kernel."""
    from exnihilo.fills import triton_kernel

    fills = {"triton": triton_kernel.fill_}
    if backends.compiled() is not None:
        fills["compiled"] = fill_
    found = {f"{case}, {name}": trouble(case, fill, "cpu") for case in CASES for name, fill in fills.items()}
    found["the kernel agrees with the reference"] = "" if triton_kernel.agrees(torch.device("cpu")) else "it does not"
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
