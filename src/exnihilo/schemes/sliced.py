"""One law for each of several maps that share a tensor in parts of unequal size, or in alternating ones."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import Scheme
from exnihilo.schemes.variance_scaling import lecun_normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced:
    """What ``base`` draws for each part of a packed tensor by itself: each part has its own fans.

    Rule:
        The output units are dealt to parts by ``runs``: part, number of units, part, number of units, and so on, over
        and over again. Query, key and value of grouped attention are ``(0, 64, 1, 16, 2, 16)`` of 96 units; one head's
        query, key and value after the other are ``(0, 8, 1, 8, 2, 8)`` of any multiple of 24.

    Promise:
        Of the whole tensor the root of the parts' mean square spread, for bases of mean 0.

    Fails when:
        The parts are equal and side by side: the layout itself tells those apart.

    Args:
        base: The scheme of each part. Default ``lecun_normal``.
        runs: Part and length in turn, whole numbers. Default empty: the whole tensor is one part.

    Raises:
        InvalidValueError: ``runs`` is no list of pairs of whole numbers, or a length is not positive.
        LayoutError: On use: the tensor has no single dim of output units, or it is no whole number of runs long.

    Example:
        >>> scheme = Sliced(runs=(0, 6, 1, 2))
        >>> scheme.sample(Layout.linear(8, 4), Key(0, "w")).shape
        torch.Size([8, 4])
        >>> scheme.parts(8)
        {0: [0, 1, 2, 3, 4, 5], 1: [6, 7]}
    """

    base: Scheme = field(default_factory=lecun_normal)
    runs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        whole = tuple(int(number) for number in self.runs)
        if whole != tuple(self.runs) or len(whole) % 2 or any(n < 1 for n in whole[1::2]) or min(whole, default=0) < 0:
            raise InvalidValueError(
                f"Sliced.runs is {self.runs}; it must be part and length in turn, lengths of at least 1.",
                fix="Sliced(runs=(0, 64, 1, 16, 2, 16))",
            )
        object.__setattr__(self, "runs", whole)  # a text spells them as real numbers

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; each part has a key of its own."""
        if not self.runs:
            return self.base.sample(layout, key)
        return self.dealt(layout, lambda part, own: self.base.sample(own, key.derive(f"part {part}")))

    def expected_std(self, layout: Layout) -> float:
        """The promise: the root of the parts' mean square spread."""
        if not self.runs:
            return self.base.expected_std(layout)
        return self.spread(layout, lambda _, own: self.base.expected_std(own))

    def dealt(self, layout: Layout, drawn: Callable[[int, Layout], Tensor]) -> Tensor:
        """The tensor whose parts are drawn by a function of a part's number and layout."""
        dim = out_dim(layout)
        values = torch.empty(layout.shape, dtype=torch.float32, device="cpu")
        for part, units in self.parts(layout.shape[dim]).items():
            own = drawn(part, part_layout(layout, len(units)))
            values.index_copy_(dim, torch.tensor(units, device="cpu"), own)
        return values

    def spread(self, layout: Layout, of_part: Callable[[int, Layout], float]) -> float:
        """The root of the parts' mean square spread, each by a function of its number and layout."""
        units = layout.shape[out_dim(layout)]
        parts = self.parts(units).items()
        return math.sqrt(
            sum(len(own) * of_part(part, part_layout(layout, len(own))) ** 2 for part, own in parts) / units
        )

    def parts(self, num_units: int) -> dict[int, list[int]]:
        """The output units of each part, by its number.

        Raises:
            LayoutError: The runs do not fit into so many units.
        """
        found: dict[int, list[int]] = {}
        for run in self.placed(num_units):
            found.setdefault(run.part, []).extend(range(run.start, run.start + run.length))
        return found

    def placed(self, num_units: int, within: range | None = None) -> list["Run"]:
        """Every run of output units, in their order; only those of the periods that ``within`` touches, if it is given.

        Raises:
            LayoutError: The runs do not fit into so many units.
        """
        period, each = self._period(num_units), self._of_a_period()
        units = range(num_units) if within is None else within
        found: list[Run] = []
        for number in range(units.start // period, -(-units.stop // period)):
            first, taken = number * period, Counter({part: number * count for part, count in each.items()})
            for part, length in self._pairs():
                found.append(Run(part=part, start=first, length=length, part_start=taken[part]))
                first += length
                taken[part] += length
        return found

    def counts(self, num_units: int) -> dict[int, int]:
        """How many output units each part has.

        Raises:
            LayoutError: The runs do not fit into so many units.
        """
        periods = num_units // self._period(num_units)
        return {part: count * periods for part, count in self._of_a_period().items()}

    def _pairs(self) -> list[tuple[int, int]]:
        """Part and length of each run of a period."""
        return [(int(part), int(length)) for part, length in zip(self.runs[::2], self.runs[1::2], strict=True)]

    def _of_a_period(self) -> Counter[int]:
        """Units of each part in one period."""
        counts = Counter[int]()
        for part, length in self._pairs():
            counts[part] += length
        return counts

    def _period(self, num_units: int) -> int:
        period = self._of_a_period().total()
        if num_units % period:
            raise LayoutError(
                f"{num_units} output units are no whole number of Sliced.runs, which are {period} long.",
                context=[f"runs: {self.runs}"],
                fix="give the length of every part, such as Sliced(runs=(0, 64, 1, 16, 2, 16)) for 96 units",
            )
        return period


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighboring output units of one part.

    Args:
        part: Its number.
        start: The first of these units in the tensor.
        length: How many.
        part_start: The first of these units within the part.
    """

    part: int
    start: int
    length: int
    part_start: int


def out_dim(layout: Layout) -> int:
    """The one dim of output units; LayoutError where there are more, or several matrices."""
    layout.require_matrix("output units")
    if len(layout.out_dims) != 1 or layout.num_matrices != 1:
        raise LayoutError(
            f"Sliced deals out the units of one dim; a {layout.kind} layout of shape {layout.shape} has "
            f"{len(layout.out_dims)} dims of output units and {layout.num_matrices} matrices.",
            fix="use the base itself, which sees the layout's own matrices",
        )
    return layout.out_dims[0]


def part_layout(layout: Layout, num_units: int) -> Layout:
    """The layout of a part with so many output units."""
    shape = list(layout.shape)
    shape[out_dim(layout)] = num_units
    return replace(layout, shape=tuple(shape))
