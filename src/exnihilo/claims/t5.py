"""T5: test accuracy of zero and of small random weights."""

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Evidence, Table
from exnihilo.lab.records import Network, Start
from exnihilo.lab.study import Study

STUDY = "T5 test accuracy"
ZERO = Start(name="zeros")
RANDOM = Start(name="small_normal")
OTHERS = (Start(name="xavier_normal"), Start(name="he_normal"))


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero and the usual starts against small random weights, each at its own learning rate."""
    return (
        preset.study(
            STUDY,
            "Does an all-zero start reach a higher test accuracy than small random weights?",
            seed=seed,
            networks=(Network(),),
            starts=(ZERO, *OTHERS),
            baseline=RANDOM,
        ),
    )


def read(found: Found) -> Reading:
    """A cell of zero against small random supports the claim where zero is better, and refutes it where it is not."""
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    cells = tuple(
        cell_of(
            comparison.cell.task,
            verdict,
            f"zero minus small random: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome})",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(STUDY)
        if comparison.start == ZERO
    )
    rows: list[tuple[str | float, ...]] = []
    for place in found.studies[STUDY].cells:
        for start in found.studies[STUDY].arms:
            scores = [record.test_score for record in found.judged(STUDY, place, start)]
            rows.append((place.task, start.label, found.rate(STUDY, place, start), sum(scores) / len(scores), len(scores)))
    groups = {
        (place.task, start.label): found.judged(STUDY, place, start)
        for place in found.studies[STUDY].cells
        for start in found.studies[STUDY].arms
    }
    worst = min(cell.estimate for cell in cells if cell.estimate is not None)
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"Tuned, the all-zero network is up to {-100 * worst:.0f} points of test accuracy away from small random "
            "weights: it predicts one class for every input."
        ),
        evidence=Evidence(
            cells=cells,
            tables=(
                Table(
                    title="Test accuracy, mean over seeds",
                    columns=("task", "start", "tuned rate", "test accuracy", "seeds"),
                    rows=tuple(rows),
                ),
            ),
            figures=(
                figures.intervals(
                    "t5-test-accuracy",
                    "Zero stays at the accuracy of guessing one class",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    cells,
                    x_title="test accuracy of zero minus that of small random weights",
                ),
                figures.curves(
                    "t5-curves",
                    "Validation accuracy while training",
                    groups,
                    values="validation_score",
                    y_title="validation accuracy",
                ),
            ),
        ),
    )


CLAIM = Claim(
    id="T5",
    title="Test accuracy",
    statement="Zero initialization reaches a higher test accuracy (89 %) than small random weights (83 %).",
    basis="measured",
    rule=(
        "Each start at its own tuned rate; zero against small random weights N(0, 0.01²) on fresh seeds in each task, "
        "all comparisons one family (exact sign-flip, Holm, alpha 0.05). Better supports the claim; worse or "
        "equivalent (within 2 points) refutes it."
    ),
    read=read,
    studies=studies,
)
