"""The one place that touches global random states: it puts them back after code that is not ours has run.

A model's forward may draw from PyTorch's, Python's or NumPy's generator (dropout, layers left out). It runs here from
the same states each time, and leaves the caller's as they were.
"""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def undisturbed() -> Generator[None]:
    """Run a block from fixed random states, and restore the states from before it."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the legacy state is what models draw from
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002  # the same
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # the same
