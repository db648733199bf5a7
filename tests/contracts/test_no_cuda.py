"""The lab needs a CPU; gigabytes of CUDA packages must not come along. Triton is none, and tested without a GPU."""

import os
from importlib.metadata import distributions

import pytest


@pytest.mark.skipif(not os.environ.get("CI"), reason="a developer's machine may have a GPU; CI (CI=true) has none")
def test_no_cuda_package_is_installed():
    names = {(distribution.metadata["Name"] or "").lower() for distribution in distributions()}
    assert "torch" in names
    cuda = sorted(name for name in names if name.startswith(("nvidia-", "cuda-", "pytorch-triton")))
    assert cuda == []
