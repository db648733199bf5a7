"""What each start of a study came to by itself: its rate, its mean, its failures."""

import math
from dataclasses import dataclass

from exnihilo.lab.records import Start
from exnihilo.lab.schedule import Records, by_run, tunings_of
from exnihilo.lab.study import Place, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A start in a place at its rate, over its judging seeds.

    Args:
        place: The place.
        start: The start.
        lr: The chosen learning rate, or one of a grid.
        at_edge: The rate is the last of a grid that may grow no more: a better one may lie beyond.
        mean: Mean of the study's metric, a run without a finite number counted as the worst.
        n: Judging runs.
        num_diverged: Those that diverged.
        num_unmoved: Those whose weights never moved.
    """

    place: Place
    start: Start
    lr: float
    at_edge: bool
    mean: float
    n: int
    num_diverged: int
    num_unmoved: int


def arms_of(study: Study, records: Records) -> tuple[Arm, ...]:
    """The arms of a study that is done, place by place."""
    found = by_run(records)
    if study.policy == "grid":
        places = [(place, start, lr, False) for place in study.places for start in study.arms for lr in study.lrs]
    else:
        places = [
            (tuning.place, start, lr, start in tuning.at_edge)
            for tuning in tunings_of(study, found)
            for start, lr in tuning.chosen.items()
        ]
    metric, worst = study.judged_by, study.judged_by.worst_of(study.steps)
    arms: list[Arm] = []
    for place, start, lr, at_edge in places:
        runs = [study.run(place, start, lr, study.judging_seed(index)) for index in range(study.looks[-1])]
        judged = [found[run] for run in runs if run in found]
        values = [metric.of(record, study.target) for record in judged]
        arms.append(
            Arm(
                place=place,
                start=start,
                lr=lr,
                at_edge=at_edge,
                mean=math.fsum(value if math.isfinite(value) else worst for value in values) / max(1, len(values)),
                n=len(judged),
                num_diverged=sum(record.diverged for record in judged),
                num_unmoved=sum(not record.moved and not record.diverged for record in judged),
            )
        )
    return tuple(arms)
