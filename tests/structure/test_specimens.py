"""The zoo itself is right: every model runs, renamed as it was, and its truth names parameters that exist."""

import pytest
import torch
from specimen import UNJUDGED, rename
from zoo import ZOO

from exnihilo.structure.names import canonical_names
from exnihilo.structure.records import Role


def names_of(model):
    return set(canonical_names(model).values())


def run(specimen, model, seed=0):
    example = specimen.example()
    with torch.random.fork_rng(devices=[]), torch.compiler.set_stance("force_eager"):
        torch.manual_seed(seed)
        if isinstance(example, dict):
            return model(**example)
        return model(*example) if isinstance(example, tuple) else model(example)


def first_tensor(output):
    while not isinstance(output, torch.Tensor):
        values = (
            output if isinstance(output, tuple) else (output if isinstance(output, dict) else vars(output)).values()
        )
        output = next(iter(values))
    return output


each = pytest.mark.parametrize("specimen", ZOO, ids=[specimen.name for specimen in ZOO])


def test_the_zoo_is_large_and_no_name_is_given_twice():
    assert len(ZOO) >= 44
    assert len({specimen.name for specimen in ZOO}) == len(ZOO)


@each
def test_every_name_in_a_truth_is_a_parameter(specimen):
    known = names_of(specimen.model())
    for branches in (specimen.branches, *specimen.otherwise):
        for branch in branches:
            for said in (branch.outputs, branch.biases, branch.maps, branch.scales, branch.modulated_by):
                assert said is UNJUDGED or said <= known
            assert branch.parent in (None, UNJUDGED) or 0 <= branch.parent < len(branches)
    for said in ("roles", "slices", "fans", "activations", "offsets", "follows", "ties"):
        assert set(getattr(specimen, said)) <= known
    assert specimen.unused | specimen.detached | specimen.frozen <= known
    assert set(specimen.roles.values()) <= set(Role)


@each
def test_every_model_runs_and_a_gradient_reaches_what_is_neither_frozen_nor_detached_nor_unused(specimen):
    model = specimen.model()
    output = run(specimen, model)
    total = _sum(output)
    if total.requires_grad:
        total.backward()
    canonical = canonical_names(model)
    for path, parameter in model.named_parameters():
        name = canonical[path]
        assert parameter.requires_grad == (name not in specimen.frozen)
        reached = parameter.grad is not None
        assert reached == (name not in specimen.frozen | specimen.detached | specimen.unused), name


@each
def test_a_renamed_model_computes_the_same_and_has_no_old_module_name(specimen):
    model, other = specimen.model(), specimen.model()
    old = rename(other)
    new = [name for name, _ in other.named_parameters(remove_duplicate=False)]
    assert list(old) == new
    assert torch.equal(first_tensor(run(specimen, model)), first_tensor(run(specimen, other)))


def _sum(output):
    if isinstance(output, torch.Tensor):
        return output.float().sum() if output.is_floating_point() else torch.zeros(())
    if isinstance(output, dict):
        return sum((_sum(value) for value in output.values()), torch.zeros(()))
    if isinstance(output, list | tuple):
        return sum((_sum(value) for value in output), torch.zeros(()))
    return _sum(vars(output)) if hasattr(output, "__dict__") else torch.zeros(())
