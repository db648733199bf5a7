"""A module is one thought: short enough to read at once, with its public names stated."""

import ast

import imports
import pytest

# House limits: a module aims at 350 lines; one over 400 holds two thoughts. A package's front page only re-exports.
MAX_LINES = 400
MAX_INIT_LINES = 90


def public_names(source):
    """The public names that a module's own statements bind, and those of its ``__all__`` (None where it has none)."""
    bound, stated = set(), None
    body = ast.parse(source).body
    # What is imported for type checkers alone is public too: the name is found on first use.
    for node in [*body, *(inner for outer in body if isinstance(outer, ast.If) for inner in outer.body)]:
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            if "__all__" in names:
                stated = ast.literal_eval(node.value)
                continue
            bound |= names
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == "__all__":
            stated = [*(stated or ()), *ast.literal_eval(node.value)]
    public = {name for name in bound if not name.startswith("_")} | ({"__version__"} & bound)
    return public, stated


@pytest.mark.parametrize("module", imports.modules())
def test_a_module_is_not_too_long(module):
    path = imports.modules()[module]
    limit = MAX_INIT_LINES if path.name == "__init__.py" else MAX_LINES
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("module", [name for name, path in imports.modules().items() if path.name == "__init__.py"])
def test_a_package_states_exactly_its_public_names(module):
    public, stated = public_names(imports.modules()[module].read_text())
    assert public == set(stated or ())
    assert len(stated or ()) == len(set(stated or ()))


def test_a_public_name_that_is_not_stated_is_found():
    public, stated = public_names("from a import b, _c\nD = 1\n__all__ = ['b']\n")
    assert (public, stated) == ({"b", "D"}, ["b"])


@pytest.mark.parametrize("module", imports.modules())
def test_annotations_are_not_postponed(module):
    assert "from __future__ import annotations" not in imports.modules()[module].read_text()
