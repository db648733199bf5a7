"""Fills against torch.nn.init, law by law: one core by CPU time, two cores by wall time, in turns within one run.

A round fills one tensor both ways, and with `fill_`, which writes without computing and so is the limit. One thread is
timed by the CPU time of that thread, which other work on the machine does not enter; two threads by the wall clock, of
which the fastest tenth of short rounds is taken, on both sides alike. Tensors have 2**22 elements, touched before.
Orthogonal matrices are drawn by `exnihilo.init.orthogonal_`, and their defect max |Q'Q - 1| is measured on both sides.

    python benchmarks/fills.py [--rounds 25] [--only laws|orthogonal|small] [--json]
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from exnihilo import init
from exnihilo.fills import Key, Law, backends, fill_

KEY = Key(0, "benchmark")
N = 2**22
SMALL = 256

Fill = Callable[[Tensor], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One law: how torch draws it, how we do, and what is asked of the ratios on one and two cores."""

    name: str
    torch: Fill
    ours: Fill
    dtype: torch.dtype = torch.float32
    wanted: tuple[float, float] = (0.0, 0.0)


CASES = (
    Case(
        name="normal, float32",
        torch=lambda t: nn.init.normal_(t, std=0.02),
        ours=lambda t: fill_(t, Law.normal(std=0.02), KEY),
        wanted=(3.5, 5.0),
    ),
    Case(
        name="normal, bfloat16",
        torch=lambda t: nn.init.normal_(t, std=0.02),
        ours=lambda t: fill_(t, Law.normal(std=0.02), KEY),
        dtype=torch.bfloat16,
        wanted=(5.0, 8.0),
    ),
    Case(
        name="uniform, float32",
        torch=lambda t: nn.init.uniform_(t, -0.1, 0.1),
        ours=lambda t: fill_(t, Law.uniform(-0.1, 0.1), KEY),
        wanted=(9.0, 13.0),
    ),
    Case(
        name="truncated normal, ±2σ",
        torch=lambda t: nn.init.trunc_normal_(t, std=0.02, a=-0.04, b=0.04),
        ours=lambda t: fill_(t, Law.truncated_normal(std=0.02), KEY),
        wanted=(15.0, 24.0),
    ),
    Case(
        name="truncated normal, ±6σ",
        torch=lambda t: nn.init.trunc_normal_(t, std=0.02, a=-0.12, b=0.12),
        ours=lambda t: fill_(t, Law.truncated_normal(std=0.02, lower=-6.0, upper=6.0), KEY),
    ),
)

ORTHOGONAL = (512, 1024, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Median ratio and its quartiles on one and two cores, and the share of `fill_`'s rate that ours reaches."""

    case: str
    wanted: tuple[float, float]
    one: tuple[float, float, float]
    two: tuple[float, float, float]
    of_fill: tuple[float, float]
    rate: float
    rounds: int
    defects: tuple[float, float] | None = None


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def in_turns(works: tuple[Callable[[], object], ...], clock: Callable[[], float], rounds: int) -> list[list[float]]:
    """Seconds of each work in each round; the works take turns, so that a slow second slows all of them."""
    for work in works:
        work()
    return [[timed(work, clock) for work in works] for _ in range(rounds)]


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, low, high


def ratios(rounds: list[list[float]], above: int, below: int) -> tuple[float, float, float]:
    return quartiles([times[above] / times[below] for times in rounds])


def fastest(rounds: list[list[float]], above: int, below: int) -> tuple[float, float, float]:
    """The ratio of the fastest tenths, with that of the fastest fifths and of the medians as its range."""

    def share(place: int, part: float) -> float:
        return sorted(times[place] for times in rounds)[max(0, math.ceil(part * len(rounds)) - 1)]

    found = [share(above, part) / share(below, part) for part in (0.1, 0.2, 0.5)]
    return found[0], min(found), max(found)


def measured(
    case: Case, shape: tuple[int, ...], rounds: int, defect: Callable[[Tensor], float] | None = None
) -> Measured:
    tensor = torch.empty(shape, dtype=case.dtype).fill_(0.0)
    works = (lambda: case.torch(tensor), lambda: case.ours(tensor), lambda: tensor.fill_(1.0))
    torch.set_num_threads(1)
    single = in_turns(works, time.thread_time, rounds)
    defects = None
    if defect:
        case.torch(tensor)
        theirs = defect(tensor)
        case.ours(tensor)
        defects = (theirs, defect(tensor))
    torch.set_num_threads(2)
    both = in_turns(works, time.perf_counter, 4 * rounds)
    torch.set_num_threads(1)
    return Measured(
        case=case.name,
        wanted=case.wanted,
        one=ratios(single, 0, 1),
        two=fastest(both, 0, 1),
        of_fill=(ratios(single, 2, 1)[0], fastest(both, 2, 1)[0]),
        rate=tensor.numel() / statistics.median(times[1] for times in single),
        rounds=rounds,
        defects=defects,
    )


def defect(matrix: Tensor) -> float:
    wide = matrix.double()
    return (wide.T @ wide - torch.eye(len(wide), dtype=torch.float64)).abs().max().item()


def orthogonal(rounds: int) -> list[Measured]:
    return [
        measured(
            Case(
                name=f"orthogonal, {size} × {size}",
                torch=nn.init.orthogonal_,
                ours=lambda t: init.orthogonal_(t, key=KEY),
                wanted=(2.0, 2.5),
            ),
            (size, size),
            rounds,
            defect,
        )
        for size in ORTHOGONAL
    ]


def small(rounds: int) -> list[dict[str, object]]:
    """Microseconds a call for tensors of 256 elements, a thousand calls a round."""
    matrix = torch.empty(16, SMALL // 16)
    calls: dict[str, tuple[Fill, Fill, Fill]] = {
        "normal_": (nn.init.normal_, init.normal_, lambda t: init.normal_(t, key=KEY)),
        "uniform_": (nn.init.uniform_, init.uniform_, lambda t: init.uniform_(t, key=KEY)),
        "trunc_normal_": (nn.init.trunc_normal_, init.trunc_normal_, lambda t: init.trunc_normal_(t, key=KEY)),
        "xavier_uniform_": (nn.init.xavier_uniform_, init.xavier_uniform_, lambda t: init.xavier_uniform_(t, key=KEY)),
        "orthogonal_": (nn.init.orthogonal_, init.orthogonal_, lambda t: init.orthogonal_(t, key=KEY)),
        "zeros_": (nn.init.zeros_, init.zeros_, init.zeros_),
    }

    def thousand(call: Fill) -> Callable[[], object]:
        return lambda: [call(matrix) for _ in range(1000)]

    found = []
    for name, each in calls.items():
        times = in_turns(tuple(thousand(call) for call in each), time.thread_time, rounds)
        theirs, ours, keyed = (1e3 * statistics.median(row[place] for row in times) for place in range(3))
        found.append({"call": name, "torch": theirs, "ours": ours, "keyed": keyed, "rounds": rounds})
    return found


def table(rows: list[Measured]) -> str:
    lines = [f"{'law':<24}{'one core':>24}{'asked':>8}{'two cores':>12}{'asked':>8}{'of fill_':>14}{'Mel/s':>8}"]
    for row in rows:
        one, two = row.one, row.two
        spread = f"{one[0]:.1f}× ({one[1]:.1f} to {one[2]:.1f})"
        limit = f"{row.of_fill[0]:.2f} / {row.of_fill[1]:.2f}"
        asked = [f"{wanted:g}×" if wanted else "" for wanted in row.wanted]
        lines.append(
            f"{row.case:<24}{spread:>24}{asked[0]:>8}{two[0]:>11.1f}×{asked[1]:>8}{limit:>14}{row.rate / 1e6:>8,.0f}"
        )
        if row.defects:
            lines.append(f"{'':<24}defect {row.defects[1]:.1e}, torch's {row.defects[0]:.1e}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", choices=("laws", "orthogonal", "small"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, list] = {}
    if asked.only in (None, "laws"):
        found["laws"] = [measured(case, (N,), asked.rounds) for case in CASES]
    if asked.only in (None, "orthogonal"):
        found["orthogonal"] = orthogonal(max(15, asked.rounds // 2))
    if asked.only in (None, "small"):
        found["small"] = small(asked.rounds)
    if asked.json:
        print(json.dumps({"kernel": backends.describe(), **found}, default=asdict))
        return
    print(f"kernel: {backends.describe()}")
    for name in ("laws", "orthogonal"):
        if name in found:
            print(table(found[name]))
    for row in found.get("small", []):
        times = f"torch {row['torch']:.2f} µs, ours {row['ours']:.2f} µs, with a key {row['keyed']:.2f} µs"
        print(f"{row['call']:<18} {times}")


if __name__ == "__main__":
    main()
