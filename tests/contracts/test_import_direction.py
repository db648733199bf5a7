"""Rooms import downwards only, as docs/design.md says, and what shows records needs no torch."""

import re
import subprocess
import sys

import imports
import pytest

# Rooms that everyone may import: they import nothing of the package but each other.
EVERYWHERE = {"errors", "version"}


def allowed_edges(design):
    """The edges that the design page allows: ``from room -> set of rooms``, "everything" as None."""
    text = design[design.index("May import") :].split("\n\n")[0]
    allowed = {}
    for source, targets in re.findall(r"`(\w+) → ([^`]+)`", text):
        allowed[source] = None if targets == "everything" else set(re.findall(r"\w+", targets)) - {"only"}
    return allowed


def violations(allowed, inside):
    """Each import that goes where it may not, as text."""
    found = []
    for module, targets in inside.items():
        for target in targets:
            source_room, target_room = imports.room(module), imports.room(target)
            if source_room == "":  # the front page re-exports from every room
                continue
            if target_room in {"", source_room} | EVERYWHERE or (
                source_room in allowed and allowed[source_room] is None
            ):
                continue
            may = allowed.get(source_room, set())
            is_records = "records" in may and target.endswith(".records")
            # `from exnihilo.lab.records import X` also names the package that holds the records.
            is_above_records = "records" in may and any(t.startswith(f"{target}.records") for t in targets)
            if target_room not in may and not is_records and not is_above_records:
                found.append(f"{module} imports {target}")
    return found


@pytest.fixture(scope="module")
def allowed():
    return allowed_edges((imports.ROOT / "docs" / "design.md").read_text())


def test_the_design_page_names_every_room(allowed):
    rooms = {imports.room(module) for module in imports.modules()} - {""}
    named = set(allowed) | {target for targets in allowed.values() for target in targets or ()}
    assert rooms <= named | EVERYWHERE


def test_every_import_goes_where_the_design_page_allows(allowed):
    assert violations(allowed, imports.edges()[0]) == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("exnihilo.lab.engine", "exnihilo.claims.records"),
        ("exnihilo.schemes.normal", "exnihilo.lab.records"),
        ("exnihilo.report.page", "exnihilo.lab.engine"),
        ("exnihilo.fills.draws", "exnihilo.layouts"),
        ("exnihilo.errors", "exnihilo.cli"),
    ],
)
def test_an_import_upwards_is_found(module, target, allowed):
    assert violations(allowed, {module: {target}}) == [f"{module} imports {target}"]


def test_allowed_imports_are_not_reported(allowed):
    inside = {
        "exnihilo.cli": {"exnihilo.lab.engine", "exnihilo.report"},
        "exnihilo.report.page": {"exnihilo.lab.records", "exnihilo.lab", "exnihilo.errors"},
        "exnihilo.lab.engine": {"exnihilo.fills", "exnihilo.lab.records"},
    }
    assert violations(allowed, inside) == []


def test_an_import_inside_a_function_is_read_too():
    source = "def f():\n    from ..claims import records\n"
    assert "exnihilo.claims.records" in imports.imported_names(source, "exnihilo.lab.engine")


def test_what_runs_later_is_not_brought_in_by_an_import():
    source = "if TYPE_CHECKING:\n    import a\ndef f():\n    import b\nclass C:\n    import c\n"
    assert imports.imported_names(source, "exnihilo.layouts", at_import=True) == {"c"}


def test_records_and_report_bring_in_no_torch():
    inside, outside = imports.edges(at_import=True)
    showing = [name for name in inside if name.endswith(".records") or imports.room(name) == "report"]
    assert len(showing) > 2
    for start in showing:
        for module in imports.reached(start, inside):
            assert "torch" not in outside[module], f"{start} reaches {module}, which imports torch"


def test_records_and_report_are_importable_where_torch_is_not():
    names = [name for name in imports.modules() if name.endswith(".records") or imports.room(name) == "report"]
    program = f"import sys, importlib; sys.modules['torch'] = None; [importlib.import_module(n) for n in {names}]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
