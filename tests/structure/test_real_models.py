"""A dozen real models: residual outputs as the oracles state them, the same when every submodule is renamed.

``benchmarks/structure.py`` reads all of ``benchmarks/models.json``.
"""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1]))

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries warn of is not ours to mend

# The libraries that the models come from; torchvision only imports once its missing operators are defined.
NEEDED = ("transformers", "timm", "peft")
NAMES = (
    *("hf:gpt2", "hf:llama", "hf:gemma2", "hf:mixtral", "hf:bert", "hf:t5", "hf:mamba", "hf:falcon", "hf:albert"),
    *("torchvision:resnet18", "torchvision:densenet121", "timm:test_resnet", "peft:llama+q_proj,v_proj"),
    *("plain:diffusion_unet", "plain:diffusion_transformer"),
)


@pytest.fixture(scope="module")
def rows():
    """A row of the benchmark for each name, on first use."""
    for package in NEEDED:
        if sys.modules.get(package) is None and not _installed(package):
            pytest.skip(f"{package} is not installed")
    import structure  # benchmarks/structure.py

    specs = {spec.name: spec for spec in structure.listed()}
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = structure.measure(specs[name], argparse.Namespace(renamed=True))
        return kept[name]

    return of


def _installed(package):
    from importlib.util import find_spec

    return find_spec(package) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_real_model_is_read_and_planned(rows, name):
    row = rows(name)
    assert row.error == ""
    assert row.planned in ("ok", "no branch", "refused")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "torchvision:densenet121"])
def test_its_residual_outputs_are_those_of_the_oracle(rows, name):
    row = rows(name)
    assert row.oracle
    assert (row.missed, row.extra) == ([], [])
    assert row.true > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_when_every_submodule_has_a_random_name(rows, name):
    assert rows(name).renamed == "same"
