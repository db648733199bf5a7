"""C1: what is said for and against the zero start in the comparison of methods."""

from collections.abc import Iterable, Sequence
from math import isfinite

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude
from exnihilo.claims.clauses import (
    SEPARATOR,
    agreed,
    factor_by_clause,
    family,
    listed,
    margin,
    num_holding,
    of_clause,
    place,
    seeds_shown,
    somewhere,
)
from exnihilo.claims.d2 import is_known
from exnihilo.claims.gradients import DECADES, UNDERFLOW, fall, is_dead, vanishes
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.claims.tables import counted
from exnihilo.lab.records import Model, Network, RunRecord, Start
from exnihilo.lab.study import Place, Study

TRAINED = "C1 zeros by activation"
DEEP = "C1 gradients by depth"
ZERO = Start(name="zeros")
OTHER = Start(name="xavier_normal")
# The right ones: with f(0) and f'(0) both other than 0, a zero network moves.
ACTIVATIONS = ("sigmoid", "softplus")
DEEP_ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus")
DEPTHS = (2, 4, 8)
DEEP_FROM = 4
DEEP_STEPS, DEEP_LR = 100, 0.1
WORKS, SYMMETRY, VANISHING = "can work", "symmetry", "vanishing gradients"


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero against Xavier with activations that are not zero at zero; and gradients of zero networks by depth."""
    return (
        preset.study(
            TRAINED,
            "With the right activation, does an all-zero start reach the test accuracy of Xavier?",
            seed=seed,
            networks=[Network(activation=name) for name in ACTIVATIONS],
            starts=(ZERO,),
            baseline=OTHER,
        ),
        preset.study(
            DEEP,
            "How large is the gradient of the lowest map of an all-zero network while it trains?",
            seed=seed,
            networks=[Network(depth=depth, width=16, activation=name) for name in DEEP_ACTIVATIONS for depth in DEPTHS],
            starts=(ZERO,),
            policy="grid",
            lrs=(DEEP_LR,),
            looks=(preset.shown_seeds,),
            steps=DEEP_STEPS,
            measurements=DEEP_STEPS // 10,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    works = _works(found)
    cells = (_some_work(works), *_symmetry(found), *_vanishing(found))
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, works),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_accuracies(found),),
            figures=(
                figures.intervals(
                    "c1-can-work",
                    "Zero against Xavier, where the activation is not zero at zero",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    works,
                    x_title="test accuracy of zero minus that of Xavier",
                ),
                _gradients(found),
            ),
        ),
    )


def _works(found: Found) -> list[Cell]:
    """Every place, and whether zero keeps up there."""
    supports = {"better": True, "equivalent": True, "worse": False, "undecided": None}
    return [
        cell_of(
            place(WORKS, comparison.place.task, comparison.place.network.activation),
            verdict,
            f"Zero minus Xavier: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(TRAINED)
    ]


def _some_work(works: Sequence[Cell]) -> Cell:
    """One place where zero keeps up is enough: the statement is that it can."""
    return Cell(
        where=place(WORKS, "after training"),
        supports=somewhere(cell.supports for cell in works),
        n=min((cell.n for cell in works if cell.n is not None), default=None),
        finding=f"Zero is equivalent to Xavier, or better, in {num_holding(works)} of {len(works)} places.",
    )


def _symmetry(found: Found) -> list[Cell]:
    cells: list[Cell] = []
    for name in ACTIVATIONS:
        records = [record for spot in _places(found, TRAINED, name) for record in found.judged(TRAINED, spot, ZERO)]
        widths = [width for record in records for width in record.effective_width_relative[-1]]
        cells.append(
            Cell(
                where=place(SYMMETRY, name),
                supports=False if max(widths) > 1 else True if is_known(records) else None,
                n=len(records),
                finding=(
                    f"After training, at most {max(widths)} of the {records[0].run.network.width} units of a hidden "
                    f"layer differ, over {len(records)} zero runs{'' if is_known(records) else '; NaN hides some'}."
                ),
            )
        )
    return cells


def _vanishing(found: Found) -> list[Cell]:
    return [
        Cell(
            where=place(VANISHING, f"{spot.depth} layers", name),
            supports=agreed(map(vanishes, records)),
            n=len(records),
            finding=_told(records),
        )
        for name in DEEP_ACTIVATIONS
        for spot in _networks(found, name)
        for records in (_deep_runs(found, spot),)
    ]


def _told(records: Sequence[RunRecord]) -> str:
    num_dead = sum(map(is_dead, records))
    if num_dead:
        return f"No map has any gradient at any measured step in {num_dead} of {len(records)} runs: none to vanish."
    falls = [value for record in records if isfinite(value := fall(record))]
    if not falls:
        return "The gradient cannot be told: it is not finite, or the head's is zero."
    return f"The gradient falls by {min(falls):.1f} to {max(falls):.1f} decades from the head to the lowest map."


def _finding(cells: Sequence[Cell], works: Sequence[Cell]) -> str:
    symmetry, vanishing = (of_clause(cells, clause) for clause in (SYMMETRY, VANISHING))
    held = [" ".join(cell.where.split(SEPARATOR)[1:]) for cell in works if cell.supports]
    lags = [-100 * cell.estimate for cell in works if cell.estimate is not None and cell.supports is False]
    behind = f"; elsewhere it is up to {max(lags):.0f} points of test accuracy behind" if lags else ""
    return (
        f"The zero start keeps up with Xavier in {len(held)} of {len(works)} places ({listed(held)}){behind}. "
        f"All units of a layer stay one and the same with {num_holding(symmetry)} of {len(symmetry)} activations. The "
        f"gradient falls by more than {DECADES:g} decades on its way down in {num_holding(vanishing)} of "
        f"{len(vanishing)} deep networks, and does not in {sum(cell.supports is False for cell in vanishing)}."
    )


def _places(found: Found, study: str, activation: str) -> list[Place]:
    return [spot for spot in found.studies[study].places if spot.network.activation == activation]


def _networks(found: Found, activation: str) -> list[Network | Model]:
    networks = found.studies[DEEP].networks
    return [net for net in networks if net.activation == activation and net.depth >= DEEP_FROM]


def _deep_runs(found: Found, network: Network | Model) -> list[RunRecord]:
    spots = [spot for spot in found.studies[DEEP].places if spot.network == network]
    return [record for spot in spots for record in found.judged(DEEP, spot, ZERO)]


def _steps(record: RunRecord) -> range:
    return range(len(record.measurement_steps))


def _accuracies(found: Found) -> Table:
    rows: list[tuple[Value, ...]] = []
    for spot in found.studies[TRAINED].places:
        zero, other = (found.judged(TRAINED, spot, start) for start in (ZERO, OTHER))
        rows.append(
            (
                spot.network.activation,
                spot.task,
                _mean(counted(record, "test_score") for record in zero),
                _mean(counted(record, "test_score") for record in other),
                max(width for record in zero for width in record.effective_width_relative[-1]),
                len(zero),
            )
        )
    return Table(
        title=f"Tuned zero and Xavier networks of 2 hidden layers with {Network().width} units",
        columns=(
            "activation",
            "task",
            "test accuracy from zero",
            "test accuracy from Xavier",
            "most different units in a layer after zero",
            "seeds",
        ),
        rows=tuple(rows),
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _gradients(found: Found) -> Figure:
    rows: list[dict[str, Value]] = []
    for network in found.studies[DEEP].networks:
        records = _deep_runs(found, network)
        for index in _steps(records[0]):
            norms = [norm for record in records if isfinite(norm := record.gradient_norm[index][0])]
            if not norms:
                continue
            rows.append(
                {
                    "activation": network.activation,
                    "depth": f"{network.depth} hidden layers",
                    "step": records[0].measurement_steps[index],
                    "norm": _mean(norms),
                    "low": min(norms),
                    "high": max(norms),
                }
            )
    return Figure(
        name="c1-lowest-gradient",
        title="Gradient of the lowest map of an all-zero network while it trains",
        caption=(
            f"Mean over {found.preset.shown_seeds} seeds in each of {len(found.studies[DEEP].tasks)} tasks at rate "
            f"{DEEP_LR:g}; "
            "bands reach from the lowest to the highest run; runs that diverged are left out. A line at 0 is exactly 0."
        ),
        mark="line",
        x=figures.STEP,
        y=Axis(field="norm", title="gradient norm of the lowest map", scale="symlog"),
        color=Axis(field="depth", title="depth", kind="nominal"),
        facet=Axis(field="activation", title="activation", kind="nominal"),
        rows=tuple(rows),
    )


CLAIM = Claim(
    id="C1",
    title="Zero, among the methods",
    statement=(
        "For zero initialization: it is simple and can work with the right activation. Against it: the units stay "
        "symmetric, and gradients vanish in deep networks."
    ),
    basis="measured",
    rule=(
        f"'Can work': zero against Xavier, each at its own tuned rate, with {listed(ACTIVATIONS)} in each task, all "
        f"comparisons one family ({family()}); one place where it is better or equivalent (within {margin()}) supports "
        "it, worse in every place refutes it, else it is open. 'Symmetry': supported by an activation with which all "
        "units of every hidden layer of every zero run end as one (relative distance 1e-6), refuted if some differ, "
        f"open where NaN hides it. 'Vanishing gradients', for {DEEP_FROM} or more hidden layers at rate {DEEP_LR:g}, "
        f"{seeds_shown()} a task: supported if after {DEEP_STEPS} steps the lowest map's gradient is more than "
        f"{DECADES:g} decades below the head's in every run (an underflow counts as {UNDERFLOW:g}); refuted if in "
        "every run it is not, or no map has any gradient at all, which is none rather than a small one; else open. "
        "This part describes these runs and is no test. That zero is simple is claim D1."
    ),
    read=read,
    studies=studies,
)
