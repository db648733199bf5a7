"""The floor of a classification: what can be known of a label without looking at the inputs."""

import math
from functools import cache

from exnihilo.lab.tasks import load, split, task_named


@cache
def class_shares(task: str) -> tuple[float, ...]:
    """The share of each class among the training rows of a classification; no split changes it.

    Example:
        >>> [round(share, 2) for share in class_shares("wine")]
        [0.33, 0.41, 0.26]
    """
    of = task_named(task)
    targets = split(of, load(of), seed=0).train.targets
    return tuple((targets.bincount(minlength=of.num_outputs).double() / len(targets)).tolist())


def prior_entropy(task: str) -> float:
    """Entropy of the class shares in nats: the lowest training loss of a network that ignores its inputs.

    Example:
        >>> round(prior_entropy("wine"), 3)
        1.084
    """
    return -sum(share * math.log(share) for share in class_shares(task) if share > 0.0)
