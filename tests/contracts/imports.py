"""The imports of the package, read from its syntax trees: nothing is imported to learn them."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "exnihilo"
FRONT_PAGE = "exnihilo"


def modules():
    """Path of each module by its dotted name; packages without their ``__init__``."""
    names = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def room(module):
    """The folder or single file under the package that a module lies in; the package itself is ``""``."""
    return module.split(".")[1] if "." in module else ""


def imported_names(source, module, *, is_package=False, at_import=False):
    """Every dotted name that a module imports, at any depth of its code, type-checking blocks included.

    With ``at_import``, only what importing the module brings in: neither function bodies nor type-checking blocks.
    """
    found = set()
    for node in walked(ast.parse(source), at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") if is_package else module.split(".")[:-1]
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


def walked(node, at_import):
    """The node and all below it; with ``at_import``, without what does not run when the module is imported."""
    yield node
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        )
        if not (at_import and later):
            yield from walked(child, at_import)


def edges(*, at_import=False):
    """For each module, the modules of this package that it imports, and the top-level names of all others."""
    known = modules()
    inside, outside = {}, {}
    for module, path in known.items():
        names = imported_names(path.read_text(), module, is_package=path.name == "__init__.py", at_import=at_import)
        inside[module] = {name for name in names if name in known and name != module}
        outside[module] = {name.split(".")[0] for name in names if name.split(".")[0] != "exnihilo"}
    return inside, outside


def reached(start, inside):
    """All modules that importing ``start`` brings in, the packages above each included."""
    seen, waiting = set(), {start}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        if module == FRONT_PAGE:  # its re-exports are imported on first use; test_front_page.py sees that they are
            continue
        parts = module.split(".")
        above = {".".join(parts[:i]) for i in range(1, len(parts))}
        waiting |= (inside[module] | above) - seen
    return seen
