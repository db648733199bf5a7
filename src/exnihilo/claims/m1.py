"""M1: zero initialization is not always best."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast
from exnihilo.claims.clauses import factor_by_clause, num_holding, of_clause, place
from exnihilo.claims.networks import deep, shallow, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Cell, Evidence, Table, Value
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Cell as Place
from exnihilo.lab.study import Study

STUDY = "M1 zeros by depth"
ZERO, OTHER = Start(name="zeros"), Start(name="xavier_normal")
SHALLOW, DEEP = shallow(), deep()
LOOKS = (12,)
# Reached by a network that has begun to learn: guessing by the class shares leaves 0.66 on the easiest of the tasks.
TARGET_LOSS = 0.5
# Steps are known to one twentieth of a run, which is how often the loss is taken.
MARGIN_STEPS_SHARE = 1 / 20
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
            looks=LOOKS,
            share=0.5,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    cells = (*_accuracy(found), *(_dead(found, network) for network in (SHALLOW, DEEP)), *_steps(found))
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, cells),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(found),),
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
                    (*of_clause(cells, BEST), *of_clause(cells, POOR)),
                    x_title="test accuracy of Xavier minus that of zero",
                ),
            ),
        ),
    )


def _spots(found: Found, network: Network) -> list[Place]:
    return [spot for spot in found.studies[STUDY].cells if spot.network == network]


def _accuracy(found: Found) -> list[Cell]:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return [
        cell_of(
            place(POOR if comparison.cell.network == DEEP else BEST, comparison.cell.task),
            verdict,
            f"Xavier minus zero: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(STUDY)
    ]


def _dead(found: Found, network: Network) -> Cell:
    zero, other = (
        [share for spot in _spots(found, network) for share in map(_dead_share, found.judged(STUDY, spot, start))]
        for start in (ZERO, OTHER)
    )
    many = [share >= MANY_DEAD for share in zero]
    return Cell(
        where=place(DEAD, short_label(network)),
        supports=True if all(many) else None if any(many) else False,
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
    spots = {place(SLOW, spot.task, short_label(spot.network)): spot for spot in found.studies[STUDY].cells}
    pairs = {
        where: (found.judged(STUDY, spot, OTHER), found.judged(STUDY, spot, ZERO)) for where, spot in spots.items()
    }
    verdicts = contrast(
        found,
        pairs,
        metric="steps_to_train_loss",
        target=TARGET_LOSS,
        margin=found.studies[STUDY].steps * MARGIN_STEPS_SHARE,
        share=0.5,
        num_seeds=LOOKS[0],
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


def _finding(found: Found, cells: Sequence[Cell]) -> str:
    counts = {clause: of_clause(cells, clause) for clause in (BEST, POOR, SLOW)}
    texts: Mapping[str, str] = {name: f"{num_holding(of)} of {len(of)}" for name, of in counts.items()}
    worst = 100 * max(cell.estimate for cell in (*counts[BEST], *counts[POOR]) if cell.estimate is not None)
    shares = [_dead_share(record) for spot in found.studies[STUDY].cells for record in found.judged(STUDY, spot, ZERO)]
    gap = f", by up to {worst:.0f} points of test accuracy" if worst > 0 else ""
    return (
        f"With ReLU the zero start ends behind Xavier in {texts[BEST]} tasks with {SHALLOW.depth} hidden layers and in "
        f"{texts[POOR]} with {DEEP.depth}{gap}. After training {100 * median(shares):.0f} % of its hidden units are "
        f"dead (median run), and it is slower to a training loss of {TARGET_LOSS:g} in {texts[SLOW]} places."
    )


def _table(found: Found) -> Table:
    rows: list[tuple[Value, ...]] = []
    for spot in sorted(found.studies[STUDY].cells, key=lambda spot: spot.network.depth):
        for start in (ZERO, OTHER):
            records = found.judged(STUDY, spot, start)
            rows.append(
                (
                    short_label(spot.network),
                    spot.task,
                    start.label,
                    mean(record.test_score for record in records),
                    mean(record.train_loss[-1] for record in records),
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
        f"{LOOKS[0]} fresh seeds. 'Not always best' and 'poor in deep networks': test accuracy; Xavier better "
        "supports, worse or equivalent (within 2 points) refutes. 'Slow convergence': steps to a training loss of "
        f"{TARGET_LOSS:g}, censored at the last step; Xavier better supports, worse or equivalent (within a twentieth "
        "of the run) refutes, and nothing is told where no run of either gets there. Two families, each at alpha "
        f"0.025 (exact sign-flip, Holm). 'Dead neurons': supported where at least {100 * MANY_DEAD:.0f} % of the "
        "hidden units are dead at the end of every zero run, refuted where that holds in none."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
