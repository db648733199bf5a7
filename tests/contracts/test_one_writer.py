"""Only plans/writing.py writes parameters of a model that it did not make itself, and fuse what it folds into them.

The functions of init are called with the very tensor that they shall write.
"""

import ast

import imports
import pytest

# What may write: writing, fuse, and the rooms whose tensors are their own. The lab trains buffers that it made; fills
# and schemes fill tensors before they return them; the structure and the probes work on copies.
WRITERS = {"exnihilo.plans.writing", "exnihilo.gates.fuse"}
OWN_TENSORS = {"lab", "claims", "fills", "schemes"}
GIVEN_TENSORS = {"init"}

# What else is written in place, and is no parameter: a random number that a run of the reader made.
ALLOWED = {
    "exnihilo.structure.recording": ["fill_()"],
    # Buffers that a copy's closures wrote in the model itself get their old values back.
    "exnihilo.structure.copying": ["copy_()"],
    # A mask that would drop units at random drops none.
    "exnihilo.probes.promotion": ["fill_()"],
    # The sum of a branch, an activation of a copy's run, gets the weight of its shortcut.
    "exnihilo.probes.profile": ["add_()"],
    # While a factory is recorded, its own writes are carried out: numbers later, other values as it writes them. What
    # remains makes a view of a storage.
    "exnihilo.construction.memory": ["set_()", "fill_()", "set_()"],
    "exnihilo.construction.operations": ["copy_()"],
    "exnihilo.construction.recorder": ["copy_()", "resize_()"],
    # A trial writes in its own copy's parameters, and puts the copy's buffers back before each pass.
    "exnihilo.probes.trial": ["copy_()", "copy_()"],
}

# Methods of PyTorch that write a tensor in place end in an underscore; these do not, and write as well.
OTHER_WRITES = {"load_state_dict", "set_data"}
# Methods that end so and write no values.
HARMLESS = {"requires_grad_", "share_memory_", "retain_grad_", "zero_grad_"}


def writes(source):
    """Each in-place call, each assignment to ``.data`` and each use of torch.nn.init, as ``line: what``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            in_place = name.endswith("_") and not name.startswith("_") and name not in HARMLESS
            if in_place or name in OTHER_WRITES:
                found.append(f"{node.lineno}: {name}()")
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if is_update(node) else []
        for target in targets:
            written = target.value if isinstance(target, ast.Subscript) else target
            if isinstance(written, ast.Attribute) and written.attr == "data":
                found.append(f"{node.lineno}: .data")
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch."):
            found += [f"{node.lineno}: out=" for keyword in node.keywords if keyword.arg == "out"]
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("nn.init.", "torch.nn.init.")):
            found.append(f"{node.lineno}: nn.init")
    return found


def is_update(node):
    return isinstance(node, ast.AugAssign | ast.AnnAssign)


ELSEWHERE = OWN_TENSORS | GIVEN_TENSORS
OTHERS = [name for name in imports.modules() if name not in WRITERS and imports.room(name) not in ELSEWHERE]


@pytest.mark.parametrize("module", OTHERS)
def test_no_other_module_writes_a_parameter(module):
    found = [what.partition(" ")[2] for what in writes(imports.modules()[module].read_text())]
    assert found == ALLOWED.get(module, [])


def test_the_modules_that_work_on_models_are_among_those_looked_at():
    assert {
        "exnihilo.plans.make",
        "exnihilo.plans.apply",
        "exnihilo.plans.survival",
        "exnihilo.structure.reader",
    } <= set(OTHERS)


def test_what_a_plan_assigns_is_copied_in_one_place():
    assert [what.partition(" ")[2] for what in writes(imports.modules()["exnihilo.plans.writing"].read_text())] == [
        "copy_()"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "parameter.copy_(values)",
        "model.weight.data = values",
        "model.weight.data[0] = 1",
        "model.weight.data += 1",
        "model[0].bias.zero_()",
        "nn.init.zeros_(model.weight)",
        "torch.add(a, b, out=model.weight)",
        "model.load_state_dict(state)",
    ],
)
def test_a_write_is_found(line):
    assert writes(line) != []


@pytest.mark.parametrize(
    "line", ["x.requires_grad_()", "values = parameter.data", "self._write(parameter)", "x.add(y)"]
)
def test_what_writes_nothing_is_not_reported(line):
    assert writes(line) == []
