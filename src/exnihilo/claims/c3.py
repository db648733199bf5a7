"""C3: what is said for and against Xavier's start in the comparison of methods."""

from collections.abc import Sequence
from math import isfinite
from statistics import median

from exnihilo.claims import figures
from exnihilo.claims.balance import Balance, balances
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
    seeds_compared,
    seeds_shown,
    somewhere,
)
from exnihilo.claims.networks import deep, shallow, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.lab.records import Model, Network, Start
from exnihilo.lab.study import Study, judging_seed

XAVIER = Start(name="xavier_normal")
# The starts whose gain fits: He's for ReLU; that of sigmoid is 4, as its slope at zero is 0.25: a std of 1 on 16 units.
HE, WIDE = Start(name="he_normal"), Start(name="normal", value=1.0)
AGAINST_HE, AGAINST_WIDE = "C3 Xavier against He", "C3 Xavier against wide weights"
# The two studies are a family each.
SHARE = 1 / 2

ACTIVATIONS = ("tanh", "linear", "relu", "gelu", "selu", "sigmoid")
DERIVED_FOR = "tanh"  # odd, with slope 1 at zero, as Xavier's derivation assumes
MIXED = "tanh+relu+sigmoid"
DEPTHS = (2, 8, 16)
DEEP_FROM = 8
WIDTH = 32
MEASURED_STARTS = (XAVIER, HE, Start(name="lecun_normal"))
# The gradient is balanced where it grows or shrinks by less than this factor from the last hidden layer to the lowest.
BALANCED_WITHIN = 10.0
BALANCED, SERVES, FAILS, VARIED = (
    "balanced gradients",
    "shallow and deep networks",
    "fails with some activations",
    "fails where activations vary",
)


def measure(preset: Preset, seed: int) -> tuple[Balance, ...]:
    """The balance of Xavier, He and LeCun at the start, over activations and depths."""
    return balances(
        (*ACTIVATIONS, MIXED),
        DEPTHS,
        MEASURED_STARTS,
        tasks=preset.tasks,
        seeds=[judging_seed(seed, index) for index in range(preset.shown_seeds)],
        width=WIDTH,
    )


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Xavier against starts whose gain fits the activation, tuned."""
    return (
        preset.study(
            AGAINST_HE,
            "Does Xavier reach He's test accuracy in shallow and deep tanh networks and in a deep ReLU network?",
            seed=seed,
            networks=(shallow("tanh"), deep("tanh"), deep("relu")),
            starts=(XAVIER,),
            baseline=HE,
            looks=(preset.one_look,),
            share=SHARE,
        ),
        preset.study(
            AGAINST_WIDE,
            "Does Xavier reach the test accuracy of N(0, 1) in a deep sigmoid network?",
            seed=seed,
            networks=(deep("sigmoid"),),
            starts=(XAVIER,),
            baseline=WIDE,
            looks=(preset.one_look,),
            share=SHARE,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    measured: tuple[Balance, ...] = found.measured
    cells = (
        *(_balance_cell(BALANCED, measured, name, depth, says=True) for name in ACTIVATIONS for depth in DEPTHS),
        *(cell for cell, network in _trained(found, SERVES) if network.activation == DERIVED_FOR),
        _fails([cell for cell, network in _trained(found, FAILS) if network.activation != DERIVED_FOR]),
        *(_balance_cell(VARIED, measured, MIXED, depth, says=False) for depth in DEPTHS if depth >= DEEP_FROM),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, measured),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(measured),),
            figures=(
                _heatmap(found, measured),
                figures.intervals(
                    "c3-trained",
                    "Xavier against a start whose gain fits the activation",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    [cell for cell, _ in _trained(found, "trained")],
                    x_title="test accuracy of Xavier minus that of the fitting start",
                ),
            ),
        ),
    )


def _of(measured: Sequence[Balance], activation: str, depth: int, start: Start) -> list[float]:
    return [b.ratio for b in measured if (b.activation, b.depth, b.start) == (activation, depth, start)]


def _is_balanced(ratio: float) -> bool:
    return 1.0 / BALANCED_WITHIN <= ratio <= BALANCED_WITHIN


def _balance_cell(clause: str, measured: Sequence[Balance], activation: str, depth: int, *, says: bool) -> Cell:
    """Whether Xavier is balanced there, or not, as the clause ``says``: in all tasks and seeds."""
    ratios = _of(measured, activation, depth, XAVIER)
    return Cell(
        where=place(clause, activation, f"{depth} layers"),
        supports=agreed(_is_balanced(ratio) is says for ratio in ratios),
        n=len(ratios),
        finding=(
            f"At the start the gradient at the lowest hidden layer is {median(ratios):.2g} of that at the last one "
            f"(median of {len(ratios)}, from {min(ratios):.2g} to {max(ratios):.2g})."
        ),
    )


def _trained(found: Found, clause: str) -> list[tuple[Cell, Network | Model]]:
    """Every trained comparison as a cell that says whether Xavier keeps up, with its network."""
    supports = {"better": True, "equivalent": True, "worse": False, "undecided": None}
    return [
        (
            cell_of(
                place(clause, short_label(comparison.place.network), comparison.place.task),
                verdict,
                f"Xavier minus {comparison.baseline.label}: {100 * verdict.estimate:+.1f} points of test accuracy "
                f"({verdict.outcome}).",
                supports=supports[verdict.outcome],
            ),
            comparison.place.network,
        )
        for study in (AGAINST_HE, AGAINST_WIDE)
        for comparison, verdict in found.verdicts(study)
    ]


def _fails(trained: Sequence[Cell]) -> Cell:
    """One place where Xavier is worse is enough; that there is none takes a decision in each."""
    lost = [" ".join(cell.where.split(SEPARATOR)[1:]) for cell in trained if cell.supports is False]
    return Cell(
        where=place(FAILS, "after training"),
        supports=somewhere(None if cell.supports is None else not cell.supports for cell in trained),
        n=min((cell.n for cell in trained if cell.n is not None), default=None),
        finding=(
            f"Xavier is worse than a start whose gain fits in {len(lost)} of {len(trained)} places: {listed(lost)}."
        ),
    )


def _finding(cells: Sequence[Cell], measured: Sequence[Balance]) -> str:
    deepest = max(DEPTHS)
    times = [
        f"times {median(_of(measured, name, deepest, XAVIER)):.1g} with {name}" for name in ("tanh", "relu", "sigmoid")
    ]
    serves, [fails] = of_clause(cells, SERVES), of_clause(cells, FAILS)
    return (
        f"Before training, a network of {deepest} hidden layers that starts by Xavier hands the gradient of its last "
        f"layer down to the lowest one {listed(times)}. Trained with {DERIVED_FOR}, Xavier keeps up with He in "
        f"{num_holding(serves)} of {len(serves)} places and is worse in {sum(c.supports is False for c in serves)}; "
        f"with ReLU and sigmoid in deep networks: {fails.finding}"
    )


def _table(measured: Sequence[Balance]) -> Table:
    return Table(
        title="Gradient at the lowest hidden layer over that at the last one, at the start (median)",
        columns=("activation", "hidden layers", *(start.label for start in MEASURED_STARTS)),
        rows=tuple(
            (name, depth, *(median(_of(measured, name, depth, start)) for start in MEASURED_STARTS))
            for name in (*ACTIVATIONS, MIXED)
            for depth in DEPTHS
        ),
    )


def _heatmap(found: Found, measured: Sequence[Balance]) -> Figure:
    rows = [
        {"activation": name, "depth": depth, "start": start.label, "ratio": value if isfinite(value) else None}
        for start in MEASURED_STARTS
        for name in (*ACTIVATIONS, MIXED)
        for depth in DEPTHS
        for value in (median(_of(measured, name, depth, start)),)
    ]
    return Figure(
        name="c3-balance",
        title="How much of the last layer's gradient reaches the lowest layer",
        caption=(
            f"Before the first step; median over {found.preset.shown_seeds} seeds in each of {len(found.preset.tasks)} "
            f"tasks, {WIDTH} units a layer. 1 is balanced; {MIXED} takes its activations in turn."
        ),
        mark="heatmap",
        x=Axis(field="depth", title="hidden layers", kind="ordinal"),
        y=Axis(field="activation", title="activation", kind="nominal"),
        color=Axis(field="ratio", title="gradient, lowest over last", scale="log"),
        facet=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

for name, act in {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}.items():
    draw = torch.Generator().manual_seed(0)
    first = signal = torch.randn(64, 32, generator=draw, requires_grad=True)
    for _ in range(16):
        weight = torch.empty(32, 32)
        torch.nn.init.xavier_normal_(weight, generator=draw)
        last = signal @ weight
        signal = act(last)
    target = torch.randn(64, 32, generator=draw)
    low, high = torch.autograd.grad((signal * target).sum(), (first, last))
    print(f"{name:8} gradient after 16 Xavier layers: {(low.norm() / high.norm()).item():.1e}")
"""

CLAIM = Claim(
    id="C3",
    title="Xavier, among the methods",
    statement=(
        "For Xavier initialization: it balances the scale of the gradients, in shallow and deep networks. Against it: "
        "it fails with some activations, and where the nonlinearity varies from layer to layer."
    ),
    basis="measured",
    rule=(
        "'Balanced' before the first step: the loss's gradient at the lowest hidden layer is between "
        f"1/{BALANCED_WITHIN:g} and {BALANCED_WITHIN:g} times that at the last one, for "
        f"{listed(ACTIVATIONS, len(ACTIVATIONS))} at {listed(list(map(str, DEPTHS)))} hidden layers; supported if so "
        f"on every task and each of {seeds_shown()}, refuted if so on none, else open: a description of the start "
        "itself and no test. 'Fails where activations vary': by the same measure, supported if "
        f"{MIXED} in turn is out of balance at {DEEP_FROM} or more layers on every task and seed, refuted if on none, "
        f"else open. 'Shallow and deep': tuned, Xavier against He with {DERIVED_FOR}, for which its rule is derived; "
        f"better or equivalent (within {margin()} of test accuracy) supports it, worse refutes it, undecided leaves it "
        "open. 'Fails with some': supported by one place in deep networks where Xavier is worse than a start whose "
        "gain fits (He for ReLU, N(0, 1) for sigmoid), refuted where it is better or equivalent in all, else open. Two "
        f"families, each by {family(SHARE)}, {seeds_compared()}."
    ),
    read=read,
    studies=studies,
    measure=measure,
    snippet=SNIPPET,
)
