"""Generated data sets: one fixed set of rows each, drawn from keys, so that they are the same everywhere.

Legend: N rows, F inputs, W teacher units, C classes.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from exnihilo.fills import Key, normal, uniform

Inputs = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]

# The seed of the data sets themselves: a run's seed varies the split, never the rows.
DATA_SEED = 2015

# 1,500 rows of 6 inputs: a small network reaches about 90 %, a linear one 66 %, so that starts have room to differ.
TEACHER_ROWS, TEACHER_INPUTS, TEACHER_WIDTH, TEACHER_CLASSES = 1500, 6, 16, 4
SPIRAL_ARMS, SPIRAL_ROWS_PER_ARM, SPIRAL_TURNS, SPIRAL_NOISE = 3, 300, 0.75, 0.15
LINEAR_ROWS, LINEAR_INPUTS, LINEAR_NOISE = 600, 10, 0.1


def teacher_student() -> tuple[Inputs, Targets]:
    """Classes given by a random network: ``argmax(V relu(W x))``, each logit centered over the rows.

    ``x`` is standard normal of ``TEACHER_INPUTS`` numbers, ``W`` (``TEACHER_WIDTH`` units) and ``V`` are normal with
    std ``1 / sqrt(fan_in)``. Centering keeps any class from taking nearly all rows.

    Returns:
        Inputs [N, F] and classes [N].

    Example:
        >>> inputs, classes = teacher_student()
        >>> inputs.shape, np.unique(classes).tolist()
        ((1500, 6), [0, 1, 2, 3])
    """
    inputs = _normal("teacher_student/inputs", TEACHER_ROWS, TEACHER_INPUTS)
    hidden = _normal("teacher_student/hidden", TEACHER_WIDTH, TEACHER_INPUTS) / math.sqrt(TEACHER_INPUTS)
    head = _normal("teacher_student/head", TEACHER_CLASSES, TEACHER_WIDTH) / math.sqrt(TEACHER_WIDTH)
    logits = np.maximum(inputs @ hidden.T, 0.0) @ head.T
    classes = np.argmax(logits - logits.mean(axis=0), axis=1)
    return inputs.astype(np.float32), classes.astype(np.int64)


def spirals() -> tuple[Inputs, Targets]:
    """Three interleaved arms in the plane: radius ``t``, angle ``2 pi (arm / 3 + SPIRAL_TURNS t)`` plus noise.

    ``t`` is uniform in [0.1, 1); the angle's noise is normal with std ``SPIRAL_NOISE`` radians.

    Returns:
        Inputs [N, 2] and the arm of each row [N].

    Example:
        >>> inputs, arms = spirals()
        >>> inputs.shape, np.bincount(arms).tolist()
        ((900, 2), [300, 300, 300])
    """
    num_rows = SPIRAL_ARMS * SPIRAL_ROWS_PER_ARM
    arms = np.arange(num_rows) % SPIRAL_ARMS
    radius = 0.1 + 0.9 * uniform(Key(DATA_SEED, "spirals/radius"), num_rows).numpy().astype(np.float64)
    noise = SPIRAL_NOISE * _normal("spirals/angle", num_rows, 1)[:, 0]
    angle = 2.0 * math.pi * (arms / SPIRAL_ARMS + SPIRAL_TURNS * radius) + noise
    inputs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return inputs.astype(np.float32), arms.astype(np.int64)


def deep_linear() -> tuple[Inputs, Targets]:
    """A linear teacher with one output: ``y = a^T x + LINEAR_NOISE * noise``, everything standard normal.

    Returns:
        Inputs [N, F] and targets [N, 1].

    Example:
        >>> inputs, targets = deep_linear()
        >>> inputs.shape, targets.shape
        ((600, 10), (600, 1))
    """
    inputs = _normal("deep_linear/inputs", LINEAR_ROWS, LINEAR_INPUTS)
    teacher = _normal("deep_linear/teacher", LINEAR_INPUTS, 1)
    targets = inputs @ teacher + LINEAR_NOISE * _normal("deep_linear/noise", LINEAR_ROWS, 1)
    return inputs.astype(np.float32), targets.astype(np.float32)


def _normal(name: str, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Standard normal numbers under the data set's key, in float64 so that classes do not hang on a last bit."""
    return normal(Key(DATA_SEED, name), rows * columns).numpy().astype(np.float64).reshape(rows, columns)


GENERATED: Mapping[str, Callable[[], tuple[Inputs, Targets]]] = {
    "teacher_student": teacher_student,
    "spirals": spirals,
    "deep_linear": deep_linear,
}
