"""T7: training loss of all-zero networks by learning rate."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast, factor_of
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Cell, Evidence, Table, Value
from exnihilo.lab.outcomes import PairedOutcomes
from exnihilo.lab.records import Network, RunRecord, Start, Verdict
from exnihilo.lab.study import Place, Study
from exnihilo.lab.verdict import compare

RATES, SWEEP, BESIDE = "T7 zero at the two rates", "T7 zero at every rate", "T7 the other starts"
ZERO = Start(name="zeros")
OTHERS = tuple(Start(name=name) for name in ("small_normal", "xavier_normal", "he_normal"))
# The article names no activation; these two answer differently: ReLU is dead at zero, sigmoid is not.
NETWORKS = (Network(), Network(activation="sigmoid"))
# What is claimed: the final training loss at two rates.
LOW_RATE, HIGH_RATE = 0.001, 0.01
CLAIMED = {LOW_RATE: 0.023, HIGH_RATE: 0.018}
# The claim's own difference: what is smaller than that is not the effect that is claimed.
MARGIN = round(CLAIMED[LOW_RATE] - CLAIMED[HIGH_RATE], 6)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero at the claim's two rates, zero at its own best rate of a wide grid, and the other starts on that grid."""
    wide = tuple(sorted({LOW_RATE, *preset.lrs, 1.0}))
    return (
        preset.study(
            RATES,
            "Does a ten times larger rate end at a lower training loss from zero?",
            seed=seed,
            networks=NETWORKS,
            starts=(ZERO,),
            metric="train_loss",
            policy="grid",
            lrs=(LOW_RATE, HIGH_RATE),
            looks=preset.looks[:1],
        ),
        preset.study(
            SWEEP,
            "How low does the training loss get from zero at any rate?",
            seed=seed,
            networks=NETWORKS,
            starts=(ZERO,),
            metric="train_loss",
            lrs=wide,
            extend=0,
        ),
        preset.study(
            BESIDE,
            "How does the training loss of the usual starts depend on the rate?",
            seed=seed,
            networks=NETWORKS[:1],
            starts=OTHERS,
            metric="train_loss",
            lrs=wide,
            looks=(1,),  # what is shown are the tuning runs, which every rate has
            extend=0,
        ),
    )


def read(found: Found) -> Reading:
    """Two clauses for each network and task: the larger rate ends lower, and a loss as low as claimed is reached."""
    cells = (*_rate_cells(found), *_loss_cells(found))
    swept = {record.run: record for study in (SWEEP, BESIDE) for record in found.runs(study)}
    relu = [record for record in swept.values() if record.run.network == NETWORKS[0]]
    zeros = [record for record in swept.values() if record.run.start == ZERO]
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, cells),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(found),),
            figures=(
                figures.sweep(
                    "t7-starts",
                    "Final training loss by learning rate, ReLU",
                    relu,
                    y_title="final training loss, log scale",
                    scale="log",
                    reference=CLAIMED[HIGH_RATE],
                ),
                figures.sweep(
                    "t7-activations",
                    "Final training loss from zero by learning rate",
                    zeros,
                    y_title="final training loss, log scale",
                    scale="log",
                    series=lambda record: f"zeros, {record.run.network.activation}",
                    reference=CLAIMED[HIGH_RATE],
                ),
            ),
        ),
    )


def _where(clause: str, place: Place) -> str:
    return f"{clause} · {place.network.activation} · {place.task}"


def _final(record: RunRecord) -> float:
    return tables.counted(record, "train_loss")


def _at(found: Found, place: Place, rate: float) -> tuple[RunRecord, ...]:
    return found.judged(RATES, place, ZERO, rate)


def _rate_cells(found: Found) -> tuple[Cell, ...]:
    places = {_where("larger rate lower", place): place for place in found.studies[RATES].places}
    verdicts = contrast(
        found,
        {where: (_at(found, place, HIGH_RATE), _at(found, place, LOW_RATE)) for where, place in places.items()},
        metric="train_loss",
        margin=MARGIN,
        share=0.5,
    )
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return tuple(
        cell_of(
            where,
            verdict,
            f"From {LOW_RATE:g} to {HIGH_RATE:g} the final loss {'rises' if verdict.estimate < 0 else 'falls'} by "
            f"{abs(verdict.estimate):.4f} ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for where, verdict in verdicts.items()
    )


def _loss_cells(found: Found) -> tuple[Cell, ...]:
    """At zero's own best rate: a final loss at or below the higher of the two claimed ones supports."""
    places = {_where("loss as low as claimed", place): place for place in found.studies[SWEEP].places}
    cells: list[Cell] = []
    for where, verdict in _against_claimed(found, places).items():
        place = places[where]
        losses = [_final(record) for record in found.judged(SWEEP, place, ZERO)]
        cells.append(
            cell_of(
                where,
                verdict,
                f"At its best rate of {found.rate(SWEEP, place, ZERO):g} the final loss is {median(losses):.3f}, "
                f"claimed is {CLAIMED[LOW_RATE]:g} ({verdict.outcome}).",
                supports={"better": True, "equivalent": True, "worse": False, "undecided": None}[verdict.outcome],
            )
        )
    return tuple(cells)


def _against_claimed(found: Found, places: Mapping[str, Place]) -> Mapping[str, Verdict]:
    """Zero's final losses on fresh seeds against the claimed number, half of the claim's alpha."""
    size, metric = found.preset.looks[0], found.studies[SWEEP].judged_by
    pairs: dict[str, PairedOutcomes] = {}
    for where, place in places.items():
        losses = [metric.of(record) for record in found.judged(SWEEP, place, ZERO)][:size]
        pairs[where] = PairedOutcomes.of(losses, [CLAIMED[LOW_RATE]] * len(losses))
    worst = metric.worst_of(found.studies[SWEEP].steps)
    verdicts = compare(pairs, margin=MARGIN, alpha=ALPHA / 2, higher_is_better=False, worst=worst)
    return dict(zip(places, verdicts, strict=True))


def _finding(found: Found, cells: Sequence[Cell]) -> str:
    counts = {
        clause: [cell.supports for cell in cells if cell.where.startswith(clause)]
        for clause in ("larger rate lower", "loss as low as claimed")
    }
    lower, reached = counts.values()
    lowest = {
        network.activation: min(_final(record) for record in found.runs(SWEEP) if record.run.network == network)
        for network in NETWORKS
    }
    ends = " and ".join(f"{loss:.3f} with {name}" for name, loss in lowest.items())
    return (
        f"The larger rate ends clearly lower in {lower.count(True)} of {len(lower)} places (network and task), and a "
        f"loss as low as {CLAIMED[LOW_RATE]:g} is reached in {reached.count(True)} of {len(reached)}, at the best of "
        f"all rates. The lowest loss of any all-zero run at any rate is {ends}."
    )


def _table(found: Found) -> Table:
    rows: list[tuple[Value, ...]] = []
    for place in found.studies[RATES].places:
        at_rates = (mean(_final(record) for record in _at(found, place, rate)) for rate in (LOW_RATE, HIGH_RATE))
        best = [_final(record) for record in found.judged(SWEEP, place, ZERO)]
        rows.append((place.task, place.network.activation, *at_rates, found.rate(SWEEP, place, ZERO), mean(best)))
    return Table(
        title=f"Final training loss of all-zero networks, mean over seeds; {tables.how_counted(['train_loss'])}",
        columns=("task", "activation", f"at {LOW_RATE:g}", f"at {HIGH_RATE:g}", "best rate", "at the best rate"),
        rows=tuple(rows),
    )


CLAIM = Claim(
    id="T7",
    title="Learning rate",
    statement=(
        f"From zero, a larger learning rate ends at a lower training loss: {CLAIMED[LOW_RATE]:g} at a rate of "
        f"{LOW_RATE:g}, {CLAIMED[HIGH_RATE]:g} at {HIGH_RATE:g}."
    ),
    basis="measured",
    rule=(
        "All-zero networks with ReLU and with sigmoid in each task, on fresh seeds (exact sign-flip, Holm, alpha "
        f"{ALPHA:g}, half for each clause). Paired by seed, the final training loss at {HIGH_RATE:g} is lower than at "
        f"{LOW_RATE:g}: supports; higher, or equivalent within the {MARGIN:g} that is claimed: refutes. At the best "
        f"of all rates the loss is below, or within {MARGIN:g} of, the claimed {CLAIMED[LOW_RATE]:g}: supports; "
        "above: refutes."
    ),
    read=read,
    studies=studies,
)
