"""M1: zero initialization is not always best."""

from collections.abc import Iterable, Sequence
from statistics import mean, median

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast
from exnihilo.claims.clauses import (
    agreed,
    factor_by_clause,
    family,
    margin,
    num_holding,
    place,
    seeds_compared,
    somewhere,
)
from exnihilo.claims.networks import deep, shallow, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Cell, Evidence, Table, Value
from exnihilo.claims.tables import counted
from exnihilo.lab.records import Model, Network, RunRecord, Start
from exnihilo.lab.study import Place, Study

STUDY = "M1 zeros by depth"
ZERO, OTHER = Start(name="zeros"), Start(name="xavier_normal")
SHALLOW, DEEP = shallow(), deep()
# Reached by a network that has begun to learn: guessing by the class shares leaves 0.66 on the easiest of the tasks.
TARGET_LOSS = 0.5
# Steps are known to one twentieth of a run, which is how often the loss is taken.
MARGIN_STEPS_SHARE = 1 / 20
# The accuracies and the steps are a family each.
SHARE = 1 / 2
# Half of a network's hidden units, or more, are many.
MANY_DEAD = 0.5
BEST, DEAD, SLOW, POOR = "not always best", "dead neurons", "slow convergence", "poor in deep networks"


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero against Xavier in a shallow and in a deep ReLU network, each at its own rate."""
    return (
        preset.study(
            STUDY,
            "Is a zero start behind Xavier in a shallow and in a deep ReLU network?",
            seed=seed,
            networks=(SHALLOW, DEEP),
            starts=(OTHER,),
            baseline=ZERO,
            looks=(preset.one_look,),
            share=SHARE,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    accuracy, steps = _accuracy(found), _steps(found)
    dead = [_dead(found, spot) for spot in found.studies[STUDY].places]
    cells = (
        _some(BEST, [cell for cell, _ in accuracy], "Xavier's test accuracy is above that of zero"),
        _some(DEAD, dead, f"At least {100 * MANY_DEAD:.0f} % of the hidden units are dead after every zero run"),
        _some(SLOW, steps, f"Xavier reaches a training loss of {TARGET_LOSS:g} in fewer steps than zero"),
        _some(POOR, [cell for cell, net in accuracy if net == DEEP], "Xavier's test accuracy is above that of zero"),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, accuracy, steps),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(found), _places("Steps to the loss, and dead units, by place", (*steps, *dead))),
            figures=(
                figures.curves(
                    "m1-curves",
                    f"Training loss of a {short_label(DEEP)} network from zero and from Xavier",
                    {
                        (spot.task, start.label): found.judged(STUDY, spot, start)
                        for spot in _spots(found, DEEP)
                        for start in (ZERO, OTHER)
                    },
                ),
                figures.intervals(
                    "m1-accuracy",
                    "Xavier against zero in a shallow and in a deep ReLU network",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    [cell for cell, _ in accuracy],
                    x_title="test accuracy of Xavier minus that of zero",
                ),
            ),
        ),
    )


def _spots(found: Found, network: Network) -> list[Place]:
    return [spot for spot in found.studies[STUDY].places if spot.network == network]


def _some(clause: str, cells: Sequence[Cell], what: str) -> Cell:
    """One place is enough: each part of the statement says that it can happen."""
    says = [cell.supports for cell in cells]
    return Cell(
        where=place(clause, f"{len(cells)} places"),
        supports=somewhere(says),
        n=min((cell.n for cell in cells if cell.n is not None), default=None),
        finding=f"{what} in {num_holding(cells)} of {len(cells)} places; {says.count(None)} are open.",
    )


def _places(title: str, cells: Sequence[Cell]) -> Table:
    says = {True: "yes", False: "no", None: "open"}
    return Table(
        title=title,
        columns=("place", "holds", "what was seen"),
        rows=tuple((cell.where, says[cell.supports], cell.finding) for cell in cells),
    )


def _accuracy(found: Found) -> list[tuple[Cell, Network | Model]]:
    """Every comparison as a cell, with its network."""
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return [
        (
            cell_of(
                place(short_label(comparison.place.network), comparison.place.task),
                verdict,
                f"Xavier minus zero: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome}).",
                supports=supports[verdict.outcome],
            ),
            comparison.place.network,
        )
        for comparison, verdict in found.verdicts(STUDY)
    ]


def _dead(found: Found, spot: Place) -> Cell:
    zero, other = (list(map(_dead_share, found.judged(STUDY, spot, start))) for start in (ZERO, OTHER))
    return Cell(
        where=place(DEAD, spot.task, short_label(spot.network)),
        supports=agreed(share >= MANY_DEAD for share in zero),
        n=len(zero),
        finding=(
            f"After training, {100 * min(zero):.0f} to {100 * max(zero):.0f} % of the hidden units are dead from zero, "
            f"{100 * min(other):.0f} to {100 * max(other):.0f} % from Xavier."
        ),
    )


def _dead_share(record: RunRecord) -> float:
    """Of all hidden units, after the last step; every hidden layer has as many."""
    return mean(record.dead_units[-1])


def _steps(found: Found) -> list[Cell]:
    """Steps to the target loss; where neither side ever reached it nothing is told."""
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    spots = {place(SLOW, spot.task, short_label(spot.network)): spot for spot in found.studies[STUDY].places}
    pairs = {
        where: (found.judged(STUDY, spot, OTHER), found.judged(STUDY, spot, ZERO)) for where, spot in spots.items()
    }
    verdicts = contrast(
        found,
        pairs,
        metric="steps_to_train_loss",
        target=TARGET_LOSS,
        margin=found.studies[STUDY].steps * MARGIN_STEPS_SHARE,
        share=SHARE,
        num_seeds=found.preset.one_look,
    )
    cells: list[Cell] = []
    for where, verdict in verdicts.items():
        other, zero = (_num_reached(side) for side in pairs[where])
        cells.append(
            cell_of(
                where,
                verdict,
                f"From zero {zero} of {verdict.n} runs reach a training loss of {TARGET_LOSS:g}, from Xavier {other}; "
                f"zero takes {verdict.estimate:+.0f} steps more, a run that does not reach it counted as its last step "
                f"(Xavier is {verdict.outcome}).",
                supports=supports[verdict.outcome] if zero or other else None,
            )
        )
    return cells


def _num_reached(records: Iterable[RunRecord]) -> int:
    return sum(min(record.train_loss) <= TARGET_LOSS for record in records if not record.diverged)


def _finding(found: Found, accuracy: Sequence[tuple[Cell, Network | Model]], steps: Sequence[Cell]) -> str:
    counts = {network: [cell for cell, of in accuracy if of == network] for network in (SHALLOW, DEEP)}
    texts = {network: f"{num_holding(of)} of {len(of)}" for network, of in counts.items()}
    worst = 100 * max(cell.estimate for cell, _ in accuracy if cell.estimate is not None)
    shares = [_dead_share(record) for spot in found.studies[STUDY].places for record in found.judged(STUDY, spot, ZERO)]
    gap = f", by up to {worst:.0f} points of test accuracy" if worst > 0 else ""
    return (
        f"With ReLU the zero start ends behind Xavier in {texts[SHALLOW]} tasks with {SHALLOW.depth} hidden layers and "
        f"in {texts[DEEP]} with {DEEP.depth}{gap}. After training {100 * median(shares):.0f} % of its hidden units are "
        f"dead (median run), and it is slower to a training loss of {TARGET_LOSS:g} in {num_holding(steps)} of "
        f"{len(steps)} places."
    )


def _table(found: Found) -> Table:
    rows: list[tuple[Value, ...]] = []
    for spot in sorted(found.studies[STUDY].places, key=lambda spot: spot.network.depth):
        for start in (ZERO, OTHER):
            records = found.judged(STUDY, spot, start)
            rows.append(
                (
                    short_label(spot.network),
                    spot.task,
                    start.label,
                    mean(counted(record, "test_score") for record in records),
                    mean(counted(record, "train_loss") for record in records),
                    100 * mean(map(_dead_share, records)),
                    _num_reached(records),
                    len(records),
                )
            )
    return Table(
        title="After training, means over seeds at the tuned rate",
        columns=(
            "network",
            "task",
            "start",
            "test accuracy",
            "training loss",
            "dead units (%)",
            f"runs that reach loss {TARGET_LOSS:g}",
            "seeds",
        ),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch
from torch import nn

draw = torch.Generator().manual_seed(0)
inputs = torch.randn(64, 8, generator=draw)
target = inputs[:, :1] * inputs[:, 1:2]
net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
for parameter in net.parameters():
    nn.init.zeros_(parameter)
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(100):
    sgd.zero_grad()
    (net(inputs) - target).square().mean().backward()
    sgd.step()
print("hidden units that ever fire after 100 steps:", int((net[:4](inputs) > 0).any(0).sum()), "of 32")
"""

CLAIM = Claim(
    id="M1",
    title="Not always best",
    statement=(
        "Zero initialization is not always best: it can leave dead neurons, converge slowly, and do poorly in deep "
        "networks."
    ),
    basis="measured",
    rule=(
        f"Xavier against zero in {short_label(SHALLOW)} and {short_label(DEEP)} networks, each at its own tuned rate, "
        f"{seeds_compared()}. Each part says that something can happen: one place (a network on a task) supports "
        "it, none of them refutes it, and else it is open. 'Not always best' (all places) and 'poor in deep networks' "
        f"(the deep ones): Xavier is better by test accuracy; worse or equivalent (within {margin()}) is no such "
        f"place. 'Slow convergence': Xavier is better by the steps to a training loss of {TARGET_LOSS:g}, censored at "
        f"the last step; worse or equivalent (within {100 * MARGIN_STEPS_SHARE:g} % of the run) is no such place, and "
        f"nothing is told where no run of either gets there. Two families, each by {family(SHARE)}. 'Dead neurons': "
        f"at least {100 * MANY_DEAD:.0f} % of the hidden units are dead at the end of every zero run; a place where "
        "that holds in none is no such place, and one where it holds in some is open. That describes these runs and "
        "is no test."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
