"""What holds for every test: one thread, and a search that can be repeated."""

import os

import torch
from hypothesis import settings

# Tests run several at a time, a process each; thread pools on the same cores would slow each other down.
torch.set_num_threads(1)

# Hypothesis tries new examples at a developer's desk and always the same ones in CI, where a red run must stay red.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
