"""A reading agrees with the truth about every model of the zoo, leaves the model as it was, and needs no names."""

import random

import pytest
import torch
from specimen import UNJUDGED, rename
from zoo import ZOO

from exnihilo.structure.names import canonical_names
from exnihilo.structure.reader import read
from exnihilo.structure.records import Role

each = pytest.mark.parametrize("specimen", ZOO, ids=[specimen.name for specimen in ZOO])


def told(truth, branch):
    """What the reading says about a branch, where the truth says something; outputs always."""
    said = {
        "outputs": frozenset(branch.outputs),
        "shortcut": branch.shortcut,
        "norm": branch.norm,
        "parent": branch.parent,
        "biases": frozenset(branch.output_biases),
        "maps": frozenset(branch.maps),
        "scales": frozenset(branch.scales),
        "modulated_by": frozenset(branch.modulated_by),
        "ends_in": branch.ends_in,
        "drop_path": branch.drop_path,
    }
    return {key: value for key, value in said.items() if getattr(truth, key) is not UNJUDGED}


def true_of(truth):
    keys = ("outputs", "shortcut", "norm", "parent", "biases", "maps", "scales", "modulated_by", "ends_in", "drop_path")
    return {key: getattr(truth, key) for key in keys if getattr(truth, key) is not UNJUDGED}


def pairs(specimen, structure):
    """The truth and the reading as comparable lists: of several truths, the one that was read, else the first."""
    compared = [compare(truth, structure.branches) for truth in (specimen.branches, *specimen.otherwise)]
    return next((pair for pair in compared if pair[0] == pair[1]), compared[0])


def compare(truth, branches):
    if len(truth) != len(branches):
        return [sorted(one.outputs) for one in truth], [sorted(one.outputs) for one in branches]
    return [true_of(one) for one in truth], [told(one, branch) for one, branch in zip(truth, branches, strict=True)]


@pytest.fixture(scope="module")
def structures():
    """Each specimen's structure, read once."""
    kept = {}

    def of(specimen):
        if specimen.name not in kept:
            kept[specimen.name] = read(specimen.model(), specimen.example())
        return kept[specimen.name]

    return of


@each
def test_the_residual_branches_are_exactly_the_true_ones(specimen, structures):
    expected, found = pairs(specimen, structures(specimen))
    assert found == expected


@each
def test_roles_slices_and_ties_are_the_true_ones(specimen, structures):
    parameters = structures(specimen).by_name
    assert {name: str(parameters[name].role) for name in specimen.roles} == specimen.roles
    slices = {name: {str(part.role): part.ranges for part in parameters[name].slices} for name in specimen.slices}
    assert slices == specimen.slices
    assert {name: one.tied_to for name, one in parameters.items() if one.tied_to} == specimen.ties


@each
def test_every_parameter_that_is_used_has_a_role(specimen, structures):
    parameters = structures(specimen).parameters
    assert [one.name for one in parameters if one.role is Role.UNKNOWN and one.used] == []


@each
def test_layouts_activations_and_what_goes_with_what_are_the_true_ones(specimen, structures):
    parameters = structures(specimen).by_name
    for name, (fan_in, fan_out) in specimen.fans.items():
        layout = parameters[name].layout
        assert (name, layout.fan_in) == (name, fan_in if fan_in is not None else layout.fan_in)
        assert (name, layout.fan_out) == (name, fan_out if fan_out is not None else layout.fan_out)
    assert {name: parameters[name].activation for name in specimen.activations} == specimen.activations
    assert {name: parameters[name].offset for name in specimen.offsets} == specimen.offsets
    assert {name: parameters[name].follows for name in specimen.follows} == specimen.follows


@each
def test_unused_detached_and_frozen_parameters_are_the_true_ones(specimen, structures):
    parameters = structures(specimen).parameters
    owners = [one for one in parameters if one.tied_to is None]
    assert {one.name for one in owners if not one.used} == specimen.unused
    assert {one.name for one in owners if one.detached} == specimen.detached
    assert {one.name for one in owners if one.frozen} == specimen.frozen


@each
def test_every_parameter_is_in_the_structure_once(specimen, structures):
    paths = canonical_names(specimen.model())
    assert [one.path for one in structures(specimen).parameters] == list(paths)
    assert [one.name for one in structures(specimen).parameters] == list(paths.values())


def state(model):
    """All of a model that a reading could disturb, and the random states around it."""
    hooks = [
        (name, {key: list(value) for key, value in vars(module).items() if "hooks" in key and isinstance(value, dict)})
        for name, module in model.named_modules(remove_duplicate=False)
    ]
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {
        "tensors": [(name, id(one), one._version, one.device, one.requires_grad) for name, one in tensors],
        "grads": [(name, id(one.grad)) for name, one in tensors],
        "attributes": [(name, sorted(vars(module))) for name, module in model.named_modules()],
        "modes": [module.training for module in model.modules()],
        "hooks": hooks,
        "random": random.getstate(),
        "graph": [one.grad_fn for _, one in tensors],
        "grad mode": torch.is_grad_enabled(),
    }


@each
def test_the_model_and_the_random_states_are_left_as_they_were(specimen):
    model, example = specimen.model(), specimen.example()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before, values = state(model), [one.detach().clone() for one in [*model.parameters(), *model.buffers()]]
    drawn = torch.get_rng_state()
    read(model, example)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert state(model) == before
    after = [*model.parameters(), *model.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(after, values, strict=True))
    assert all(bool((one.grad == 0.5).all()) for one in model.parameters())


@each
def test_with_every_submodule_renamed_branches_and_roles_are_the_same(specimen, structures):
    model = specimen.model()
    rename(model)
    renamed, plain = read(model, specimen.example()), structures(specimen)
    old = {new.name: was.name for new, was in zip(renamed.parameters, plain.parameters, strict=True)}

    def facts(structure, name_of):
        branches = [
            (
                *(
                    tuple(name_of(name) for name in part)
                    for part in (
                        branch.outputs,
                        branch.maps,
                        branch.members,
                        branch.output_biases,
                        branch.scales,
                        branch.modulated_by,
                        branch.shortcut_members,
                    )
                ),
                (branch.shortcut, branch.norm, branch.parent, branch.ends_in, branch.drop_path),
            )
            for branch in structure.branches
        ]
        roles = [(name_of(one.name), one.role, one.slices, one.layout, one.activation) for one in structure.parameters]
        return branches, roles

    assert facts(renamed, old.__getitem__) == facts(plain, lambda name: name)


@each
def test_with_its_outputs_at_zero_no_member_of_a_branch_matters(specimen, structures):
    """The reading checked by running the model: all branches shut, other values of their members change nothing."""
    structure = structures(specimen)
    shut = {name for branch in structure.branches for name in (*branch.outputs, *branch.output_biases)}
    open_ = [branch for branch in structure.branches if branch.outputs]
    members = {name for branch in open_ for name in branch.members} - shut
    # What lies on an unshut path too, or makes gates and routes for several, still matters.
    kept = {name for branch in structure.branches if not branch.outputs for name in branch.members}
    kept |= {name for branch in structure.branches for name in branch.shortcut_members}
    kept |= {one.name for one in structure.with_role(Role.EMBEDDING, Role.POSITION)}
    model = specimen.model().eval()
    canonical = canonical_names(model)
    offsets = {one.name: one.offset for one in structure.parameters}

    def outputs(move):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for path, parameter in model.named_parameters():
                name = canonical[path]
                if name in shut:
                    parameter.data.fill_(-offsets[name])
                elif move and name in members - kept:
                    parameter.data.normal_()
            return [one.detach() for one in tensors_of(call(model, specimen.example()))]

    if not members - kept:
        pytest.skip("no branch that a parameter can shut")
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(outputs(False), outputs(True), strict=True))


def call(model, example):
    with torch.compiler.set_stance("force_eager"):
        if isinstance(example, dict):
            return model(**example)
        return model(*example) if isinstance(example, tuple) else model(example)


def tensors_of(output):
    if isinstance(output, torch.Tensor):
        return [output.float()]
    if isinstance(output, dict):
        return [one for value in output.values() for one in tensors_of(value)]
    if isinstance(output, list | tuple):
        return [one for value in output for one in tensors_of(value)]
    return tensors_of(vars(output)) if hasattr(output, "__dict__") else []
