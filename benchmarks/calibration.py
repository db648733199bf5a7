"""How often are the lab's verdicts wrong? Simulated studies with a known truth, and real A/A studies.

    python benchmarks/calibration.py               # the simulated sections of docs/statistics.md
    python benchmarks/calibration.py --real        # the real A/A studies
    python benchmarks/calibration.py --only null power --studies 500 --dry-run

Each section writes its table between its two markers in docs/statistics.md; no figure of that page is written by hand.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from exnihilo.lab.calibration import NOISES, Design, Tally, tally
from exnihilo.lab.outcomes import PairedOutcomes, final_score
from exnihilo.lab.planning import alpha_spent, seeds_needed_for_family
from exnihilo.lab.statistics import sign_flip_interval
from exnihilo.lab.tuning import choose_rate, judged_rates
from exnihilo.lab.verdict import compare

PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"
CURVATURES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
PLAIN = Design(effects=(0.0,), curvature=0.0, num_rates=1, neighbors=False, margin=1e-6)


def tallies(designs: list[Design], studies: int, workers: int) -> list[Tally]:
    """One tally per design, its studies spread over the workers in slices."""
    slices = [range(first, min(first + 100, studies)) for first in range(0, studies, 100)]
    jobs = [(design, numbers) for design in designs for numbers in slices]
    with ProcessPoolExecutor(workers) as pool:
        parts = list(pool.map(tally, *zip(*jobs, strict=True)))
    return [merged(parts[first : first + len(slices)]) for first in range(0, len(parts), len(slices))]


def merged(parts: list[Tally]) -> Tally:
    total = sum(part.num_studies for part in parts)

    def mean(read: Callable[[Tally], float]) -> float:
        return sum(read(part) * part.num_studies for part in parts) / total

    return Tally(
        num_studies=total,
        false_differences=sum(part.false_differences for part in parts),
        false_equivalences=sum(part.false_equivalences for part in parts),
        any_false=sum(part.any_false for part in parts),
        outcomes={kind: mean(lambda part, kind=kind: part.outcomes[kind]) for kind in parts[0].outcomes},
        seeds=mean(lambda part: part.seeds),
    )


def rate(count: int, total: int, alpha: float = 0.05) -> str:
    """A share in percent; bold where it is significantly more than alpha (exact binomial test, 1 in 1,000)."""
    is_above = stats.binomtest(count, total, alpha, alternative="greater").pvalue < 1e-3
    text = f"{100 * count / total:.1f} %"
    return f"**{text}**" if is_above else text


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    columns = list(header)
    cells = [columns, ["---"] * len(columns), *[[str(cell) for cell in row] for row in rows]]
    return [f"| {' | '.join(row)} |" for row in cells]


def null(studies: int, workers: int) -> list[str]:
    """Equal starts: any better or worse is false."""
    designs = [Design(curvature=c, neighbors=near) for near in (True, False) for c in CURVATURES]
    found = tallies(designs, studies, workers)
    half = len(CURVATURES)
    header = ["loss at one step beside the best rate (SD)", "with neighbors", "at the chosen rates alone"]
    rows = [
        [c, rate(near.false_differences, studies), rate(alone.false_differences, studies)]
        for c, near, alone in zip(CURVATURES, found[:half], found[half:], strict=True)
    ]
    return table(header, rows)


def tuning_seeds(studies: int, workers: int) -> list[str]:
    """What more tuning seeds do for verdicts at the chosen rates alone."""
    seeds, curvatures = (3, 5, 8, 16), (0.1, 0.25, 0.5, 1.0)
    designs = [Design(curvature=c, tuning_seeds=n, neighbors=False) for n in seeds for c in curvatures]
    found = iter(tallies(designs, studies, workers))
    rows = [[n, *[rate(next(found).false_differences, studies) for _ in curvatures]] for n in seeds]
    return table(["tuning seeds", *[f"loss {c} SD a step" for c in curvatures]], rows)


def margin(studies: int, workers: int) -> list[str]:
    """Effects of exactly the margin: equivalent is false. Mixed families: both kinds of error at once."""
    edge = Design(effects=(2.0, -2.0, 2.0, -2.0), margin=2.0)
    mixed = replace(edge, effects=(0.0, 2.0, 0.0, -2.0))
    designs = [
        replace(base, curvature=c, neighbors=near)
        for base in (edge, mixed)
        for c in (0.0, 1.0)
        for near in (True, False)
    ]
    found = iter(tallies(designs, studies, workers))
    rows = []
    for name, read in (("all at the margin", "false_equivalences"), ("half equal, half at the margin", "any_false")):
        for c in (0.0, 1.0):
            rows.append([name, c, *[rate(getattr(next(found), read), studies) for _ in (True, False)]])
    return table(["family of 4", "loss a step (SD)", "with neighbors", "at the chosen rates alone"], rows)


def skewed(studies: int, workers: int) -> list[str]:
    """Equal means, unequal shapes: the starts' noise is skewed and the baseline's is normal."""
    seeds = (8, 12, 16)
    designs = [replace(PLAIN, noise=noise, looks=(n,), correlation=0.0) for noise in NOISES for n in seeds]
    full = [Design(noise=noise) for noise in NOISES]
    found = iter(tallies(designs, studies, workers))
    whole = iter(tallies(full, studies, workers))
    rows = [
        [
            noise,
            *[rate(next(found).false_differences, studies) for _ in seeds],
            rate(next(whole).false_differences, studies),
        ]
        for noise in NOISES
    ]
    return table(
        ["noise of the start", *[f"one comparison, n = {n}" for n in seeds], "whole procedure, 4 starts"], rows
    )


def power(studies: int, workers: int) -> list[str]:
    """What a family of 4 with three looks decides, by the true effect of all four."""
    effects = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    kinds = ((True, 1.0), (True, 2.0), (False, 1.0))
    designs = [Design(effects=(e,) * 4, margin=m, neighbors=near) for e in effects for near, m in kinds]
    found = iter(tallies(designs, studies, workers))
    rows = []
    for effect in effects:
        near, wide, alone = next(found), next(found), next(found)
        cells = [f"{100 * near.outcomes[kind]:.0f} %" for kind in ("better", "equivalent", "undecided")]
        cells += [f"{near.seeds:.1f}", f"{100 * wide.outcomes['equivalent']:.0f} %"]
        rows.append([effect, *cells, f"{100 * alone.outcomes['better']:.0f} %"])
    header = ["effect (SD)", "better", "equivalent", "undecided", "seeds used", "equivalent, margin 2 SD"]
    header += ["better, at the chosen rates alone"]
    return table(header, rows)


def coverage(studies: int, _: int) -> list[str]:
    """Share of 95 % intervals that hold the true mean of the differences."""
    laws = {
        "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
        "uniform": (lambda rng, shape: rng.uniform(-1, 1, size=shape), 0.0),
        "normal, one in ten 5 times as wide": (
            lambda rng, shape: rng.normal(size=shape) * np.where(rng.random(shape) < 0.1, 5.0, 1.0),
            0.0,
        ),
        "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
        "lognormal": (lambda rng, shape: rng.lognormal(size=shape), float(np.exp(0.5))),
    }
    rows = []
    for name, (draw, mean) in laws.items():
        for n in (6, 8, 10, 12):
            samples = draw(np.random.default_rng([n, len(name)]), (studies, n))
            flips = np.array([sign_flip_interval(sample, 0.05) for sample in samples])
            half = stats.t.isf(0.025, n - 1) * samples.std(axis=1, ddof=1) / np.sqrt(n)
            boot = bca(samples)
            rows.append([name, n, *[covered(ends, mean) for ends in (flips, around(samples.mean(axis=1), half), boot)]])
    return table(["differences", "n", "sign-flip", "Student t", "BCa bootstrap"], rows)


def around(center: np.ndarray, half: np.ndarray) -> np.ndarray:
    return np.stack([center - half, center + half], axis=1)


def bca(samples: np.ndarray) -> np.ndarray:
    ends = []
    for block in np.array_split(samples, max(1, len(samples) // 250)):
        rng = np.random.default_rng(len(samples))
        found = stats.bootstrap((block,), np.mean, axis=1, n_resamples=1999, method="BCa", rng=rng)
        ends.append(np.stack([found.confidence_interval.low, found.confidence_interval.high], axis=1))
    return np.concatenate(ends)


def covered(ends: np.ndarray, mean: float) -> str:
    return f"{100 * np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1])):.1f} %"


def real(studies: int, workers: int) -> list[str]:
    """A start against itself on real data: other seeds throughout, each side tuned on its own tuning seeds."""
    design = REAL
    slices = [range(first, min(first + 10, studies)) for first in range(0, studies, 10)]
    with ProcessPoolExecutor(workers) as pool:
        found = [outcome for part in pool.map(partial(real_studies, design), slices) for outcome in part]
    rows = []
    for index, name in enumerate(("with neighbors", "at the chosen rates alone", "at one fixed rate")):
        kinds = [kind for study in found for kind in study[index]]
        false = sum(any(kind in ("better", "worse") for kind in study[index]) for study in found)
        shares = [f"{100 * kinds.count(kind) / len(kinds):.0f} %" for kind in ("equivalent", "undecided")]
        rows.append([name, rate(false, len(found)), *shares])
    return table(["verdicts", f"false, of {len(found)} studies", "equivalent", "undecided"], rows)


REAL = {
    "task": "wine",
    "starts": ("he_normal", "xavier_uniform", "torch_default"),
    "lrs": (0.01, 0.03, 0.1, 0.3, 1.0),
    "tuning_seeds": 3,
    "looks": (8, 12),
    "margin": 0.05,
    "steps": 60,
}


def real_studies(design: dict, numbers: range) -> list[tuple[tuple[str, ...], ...]]:
    import torch

    from exnihilo.lab.engine import train
    from exnihilo.lab.records import Network, Optimizer, Run, Start
    from exnihilo.lab.tasks import task_named

    torch.set_num_threads(1)
    task, lrs, num_judging = task_named(design["task"]), design["lrs"], design["looks"][-1]

    def run(start: str, lr: float, seed: int) -> Run:
        return Run(
            task=task.name,
            network=Network(depth=1, width=8),
            start=Start(name=start),
            optimizer=Optimizer(name="momentum"),
            lr=lr,
            seed=seed,
            steps=design["steps"],
            batch_size=16,
            evaluations=1,
            measurements=1,
        )

    def trained(runs: list[Run]) -> dict[Run, object]:
        unique = list(dict.fromkeys(runs))
        blocks = [unique[first : first + 64] for first in range(0, len(unique), 64)]
        return {record.run: record for block in blocks for record in train(task, block)}

    def seeds(study: int, side: int, count: int, offset: int) -> range:
        first = 10_000 * study + 1_000 * side + offset
        return range(first, first + count)

    arms = [(study, start, side) for study in numbers for start in design["starts"] for side in (0, 1)]
    tuning = {
        (*arm, lr): [run(arm[1], lr, seed) for seed in seeds(arm[0], arm[2], design["tuning_seeds"], 500)]
        for arm in arms
        for lr in lrs
    }
    found = trained([run for runs in tuning.values() for run in runs])
    chosen = {
        arm: choose_rate({lr: [found[run].validation_score[-1] for run in tuning[*arm, lr]] for lr in lrs})[0]
        for arm in arms
    }
    judged = {
        (*arm, lr): [run(arm[1], lr, seed) for seed in seeds(arm[0], arm[2], num_judging, 0)]
        for arm in arms
        for lr in {*judged_rates(chosen[arm], lrs), 0.1}
    }
    found = trained([run for runs in judged.values() for run in runs])

    def pair(study: int, start: str, *, fixed: bool, near: bool) -> PairedOutcomes:
        sides = []
        for side in (0, 1):
            rate = 0.1 if fixed else chosen[study, start, side]
            rates = [rate, *[lr for lr in judged_rates(rate, lrs) if lr != rate and near]]
            # Seed numbers differ between the two sides on purpose; they are paired by their place.
            sides.append([tuple(final_score(found[run]) for run in judged[study, start, side, lr]) for lr in rates])
        plain = PairedOutcomes.of(sides[0][0], sides[1][0])
        return replace(plain, start_near=tuple(sides[0][1:]), baseline_near=tuple(sides[1][1:]))

    def outcomes(study: int, **options: bool) -> tuple[str, ...]:
        pairs = {start: pair(study, start, **options) for start in design["starts"]}
        verdicts = compare(pairs, margin=design["margin"], looks=design["looks"], worst=0.0)
        return tuple(verdict.outcome for verdict in verdicts)

    return [
        (
            outcomes(study, fixed=False, near=True),
            outcomes(study, fixed=False, near=False),
            outcomes(study, fixed=True, near=False),
        )
        for study in numbers
    ]


def planning(_: int, __: int) -> list[str]:
    """Seeds that a family needs, with one look and at the first of three."""
    families = {1: "one pair", 3: "3 starts", 7: "7 starts", 28: "all pairs of 8", 190: "all pairs of 20"}
    first = alpha_spent((8, 10, 12))[0]
    rows = [
        [f"{size} ({name})", seeds_needed_for_family(size), seeds_needed_for_family(size, first)]
        for size, name in families.items()
    ]
    return table(["comparisons", "seeds, one look", "seeds, first look of (8, 10, 12)"], rows)


SECTIONS = {
    "planning": planning,
    "null": null,
    "tuning": tuning_seeds,
    "margin": margin,
    "skewed": skewed,
    "power": power,
    "coverage": coverage,
    "real": real,
}


def write(name: str, lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), flags=re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{PAGE} has no markers {begin} and {end}")
    block = "\n".join([begin, *lines, end])
    PAGE.write_text(pattern.sub(lambda _: block, text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, help="studies of each row (default 2,000; 200 real ones)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS))
    parser.add_argument("--real", action="store_true", help="the real A/A studies, which train")
    parser.add_argument("--json", action="store_true", help="print the tables as JSON, and leave the page alone")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the page alone")
    options = parser.parse_args()
    names = options.only or (["real"] if options.real else [name for name in SECTIONS if name != "real"])
    tables: dict[str, list[str]] = {}
    for name in names:
        began = time.perf_counter()
        studies = options.studies or (200 if name == "real" else 2000)
        lines = tables[name] = SECTIONS[name](studies, options.workers)
        if options.json:
            continue
        print(f"\n{name}: {studies} studies a cell, {time.perf_counter() - began:.0f} s", *lines, sep="\n", flush=True)
        if not options.dry_run:
            write(name, lines)
    if options.json:
        print(json.dumps(tables, indent=2))


if __name__ == "__main__":
    main()
