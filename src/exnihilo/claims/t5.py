"""T5: test accuracy of zero and of small random weights."""

from collections.abc import Mapping, Sequence
from statistics import mean

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, factor_of
from exnihilo.claims.presets import ALPHA, PRESETS, Preset
from exnihilo.claims.records import Evidence
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Study

STUDY, OTHERS = "T5 test accuracy", "T5 the other starts"
ZERO, RANDOM = Start(name="zeros"), Start(name="small_normal")
BESIDE = tuple(Start(name=name) for name in ("xavier_normal", "he_normal", "torch_default"))


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero against small random weights; the other schemes run beside them and are not judged."""
    network = (Network(),)
    return (
        preset.study(
            STUDY,
            "Does an all-zero start reach a higher test accuracy than small random weights?",
            seed=seed,
            networks=network,
            starts=(ZERO,),
            baseline=RANDOM,
        ),
        preset.study(
            OTHERS,
            "What do the usual starts reach?",
            seed=seed,
            networks=network,
            starts=BESIDE,
            looks=(preset.shown_seeds,),
        ),
    )


def read(found: Found) -> Reading:
    """A cell of zero against small random supports the claim where zero is better, and refutes it where it is not."""
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    cells = tuple(
        cell_of(
            comparison.place.task,
            verdict,
            f"Zero minus small random: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(STUDY)
    )
    groups = {
        (place.task, start.label): found.judged(study, place, start)
        for study, place, start in tables.places_and_starts(found, (STUDY, OTHERS))
    }
    differences = sorted(100 * cell.estimate for cell in cells if cell.estimate is not None)
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"On test data the tuned all-zero network is right in {_span(groups, ZERO)} of the cases, small random "
            f"weights in {_span(groups, RANDOM)}, depending on the task: a difference of {differences[0]:+.0f} to "
            f"{differences[-1]:+.0f} points. {tables.unmoved(groups, ZERO)}"
        ),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                tables.judged_means(
                    found,
                    (STUDY, OTHERS),
                    "Test accuracy, mean over seeds",
                    {"test accuracy": "test_score"},
                ),
            ),
            figures=(
                figures.intervals(
                    "t5-test-accuracy",
                    "Test accuracy of zero minus that of small random weights",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    cells,
                    x_title="difference of test accuracy",
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


def _span(groups: Mapping[tuple[str, str], Sequence[RunRecord]], start: Start) -> str:
    """The lowest and the highest mean accuracy of a start over the tasks."""
    means = sorted(
        100 * mean(tables.counted(record, "test_score") for record in records)
        for (_, label), records in groups.items()
        if label == start.label
    )
    return f"{means[0]:.0f} to {means[-1]:.0f} %"


CLAIM = Claim(
    id="T5",
    title="Test accuracy",
    statement="Zero initialization reaches a higher test accuracy (89 %) than small random weights (83 %).",
    basis="measured",
    rule=(
        "Each start at its own tuned rate; zero against small random weights N(0, 0.01²) on paired fresh seeds in each "
        f"task, all comparisons one family (exact sign-flip, Holm, alpha {ALPHA:g}). Better supports the claim; worse "
        f"or equivalent (within {100 * PRESETS['quick'].margin:g} points) refutes it."
    ),
    read=read,
    studies=studies,
)
