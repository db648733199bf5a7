"""The floor of a classification: what can be known of a label without looking at the inputs."""

import math
from functools import cache

from exnihilo.lab.tasks import load, split, task_named


@cache
def class_shares(task: str) -> tuple[float, ...]:
    """The share of each class among the training rows of a classification, which no split changes.

    Of a sequence it is the share of each symbol among all rows.

    Example:
        >>> [round(share, 2) for share in class_shares("wine")]
        [0.33, 0.41, 0.26]
    """
    of = task_named(task)
    rows = load(of)
    targets = rows.targets.flatten() if of.kind == "sequence" else split(of, rows, seed=0).train.targets
    return tuple((targets.bincount(minlength=of.num_outputs).double() / len(targets)).tolist())


def prior_entropy(task: str) -> float:
    """Entropy of the class shares in nats: the lowest training loss of a network that ignores its inputs.

    Example:
        >>> round(prior_entropy("wine"), 3)
        1.084
    """
    return -sum(share * math.log(share) for share in class_shares(task) if share > 0.0)
