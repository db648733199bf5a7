"""D4: zero initialization serves as a baseline for other methods, and is commonly used."""

from collections.abc import Mapping, Sequence
from statistics import median

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, factor_of
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.prior import class_shares, prior_entropy
from exnihilo.claims.records import Axis, Cell, Evidence, Figure
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Study

STUDY = "D4 the floor"
ZERO = Start(name="zeros")
OTHERS = (Start(name="small_normal"), Start(name="xavier_normal"), Start(name="he_normal"))
# How near to the entropy of the class shares the loss must end, in nats: small batches pull a bias about.
TOLERANCE = 0.01
COMMON = "commonly used"

Groups = Mapping[str, Sequence[RunRecord]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The usual starts against all zeros, each at its own learning rate."""
    return (
        preset.study(
            STUDY,
            "What does an all-zero network reach, and do other starts reach more?",
            seed=seed,
            networks=(Network(),),
            starts=OTHERS,
            baseline=ZERO,
        ),
    )


def is_floor(record: RunRecord) -> bool:
    """Whether a run ended as the class shares, with one and the same answer to every input."""
    excess = record.train_loss[-1] - prior_entropy(record.run.task)
    return abs(excess) <= TOLERANCE and all(share == 1.0 for share in record.dead_units[-1])


def read(found: Found) -> Reading:
    """Zero is a floor where it ends as the class shares and each other start ends above it."""
    zero = {place.task: found.judged(STUDY, place, ZERO) for place in found.studies[STUDY].places}
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    floors = tuple(_floor(task, records) for task, records in zero.items())
    above = tuple(
        cell_of(
            f"above it · {comparison.place.task} · {comparison.start.label}",
            verdict,
            f"{100 * verdict.estimate:+.1f} points of test accuracy over zero ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(STUDY)
    )
    common = Cell(where=COMMON, supports=None, finding="How common it is was not counted: no run can tell.")
    cells = (*floors, *above, common)
    return Reading(
        verdict=conclude(cells),
        finding=f"{_ends(floors, zero)} {_gains(above)} {common.finding}",
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                tables.judged_means(
                    found,
                    (STUDY,),
                    "Where each start ends, mean over seeds",
                    {
                        "training loss": "train_loss",
                        "entropy of the class shares": lambda record: prior_entropy(record.run.task),
                        "test accuracy": "test_score",
                        "share of the largest class": lambda record: max(class_shares(record.run.task)),
                    },
                ),
            ),
            figures=(
                _losses(found),
                figures.intervals(
                    "d4-above-the-floor",
                    "Test accuracy of the usual starts minus that of zero",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    above,
                    x_title="difference of test accuracy",
                ),
            ),
        ),
    )


def _floor(task: str, records: Sequence[RunRecord]) -> Cell:
    at_floor = sum(map(is_floor, records))
    low, high = _range([tables.counted(record, "train_loss") for record in records])
    return Cell(
        where=f"floor · {task}",
        supports=at_floor == len(records),
        n=len(records),
        finding=(
            f"{at_floor} of {len(records)} runs end as the class shares: training loss {low:.3f} to {high:.3f}, "
            f"entropy {prior_entropy(task):.3f}."
        ),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _ends(floors: Sequence[Cell], zero: Groups) -> str:
    held = sum(cell.supports is True for cell in floors)
    low, high = _range(
        [100 * median(tables.counted(record, "test_score") for record in records) for records in zero.values()]
    )
    return (
        f"In {held} of {len(floors)} tasks every tuned all-zero network ends with one answer to all inputs and a loss "
        f"within {TOLERANCE:g} nats of the entropy of the class shares; its test accuracy is {low:.0f} to {high:.0f} "
        "%, depending on the task."
    )


def _gains(above: Sequence[Cell]) -> str:
    won = sum(cell.supports is True for cell in above)
    low, high = _range([100 * cell.estimate for cell in above if cell.estimate is not None])
    return f"Other starts are better in {won} of {len(above)} comparisons ({low:+.0f} to {high:+.0f} points)."


def _losses(found: Found) -> Figure:
    rows: list[dict[str, str | float]] = []
    for _, place, start in tables.places_and_starts(found, (STUDY,)):
        records = found.judged(STUDY, place, start)
        ratios = [tables.counted(record, "train_loss") / prior_entropy(place.task) for record in records]
        low, high = _range(ratios)
        rows.append({"task": place.task, "start": start.label, "ratio": median(ratios), "low": low, "high": high})
    n = found.preset.looks[0]
    return Figure(
        name="d4-floor",
        title="Final training loss in units of the entropy of the class shares",
        caption=(
            f"Median of at least {n} seeds, whiskers from lowest to highest; 1 is guessing by the class shares; "
            f"{tables.how_counted(['train_loss'])}."
        ),
        mark="interval",
        x=Axis(field="ratio", title="training loss / entropy of the class shares", scale="log"),
        y=Axis(field="start", title="start", kind="nominal"),
        color=figures.START,
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple(rows),
        reference=1.0,
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 90).unsqueeze(1)
y = (x[:, 0] > 0.8).long()  # 27 of 90 rows
net = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
for parameter in net.parameters():
    torch.nn.init.zeros_(parameter)
sgd = torch.optim.SGD(net.parameters(), lr=0.5)
for _ in range(100):
    sgd.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    sgd.step()
shares = y.bincount() / len(y)
print("loss", loss.item(), "entropy", -(shares * shares.log()).sum().item(), "answers", net(x).argmax(1).unique())
"""

CLAIM = Claim(
    id="D4",
    title="Zero as a baseline",
    statement="Zero initialization serves as a baseline that other methods are compared with, and is commonly used.",
    basis="measured",
    rule=(
        "A baseline is a floor. In each task, at its own tuned rate, all-zero ReLU networks support the claim if every "
        f"judged run ends within {TOLERANCE:g} nats of the entropy of the class shares with one answer to all inputs "
        "(every hidden unit constant), and refute it if not. Each of "
        f"{len(OTHERS)} other starts, tuned too, supports it where its test accuracy is better than zero's, and "
        "refutes it where it is worse or equivalent (exact sign-flip, paired fresh seeds, all comparisons one family, "
        f"Holm, alpha {ALPHA:g}). How commonly it is used stays open."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
