"""A plan from a few edits: new values for some parameters, all others kept."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from exnihilo.errors import LayoutError, UnknownNameError
from exnihilo.layouts import Layout
from exnihilo.plans.live import dtype_name, fingerprint, live_parameters, require_separate, ties
from exnihilo.plans.records import Plan, Row
from exnihilo.schemes.spec import from_text
from exnihilo.structure.records import Role, Structure
from exnihilo.structure.weights import guessed_layout


def plan_of_edits(
    model: nn.Module, edits: Mapping[str, str], *, reason: str, structure: Structure | None = None
) -> Plan:
    """A complete plan that writes some parameters and keeps all others.

    Args:
        model: Any module; nothing is written to it.
        edits: The text of a scheme by canonical parameter name. A tied tensor is meant by any of its names.
        reason: Why, in one line; each written row says it.
        structure: What ``read`` returned, for roles and layouts. Default None: roles are unknown, and layouts are those
            of the modules.

    Raises:
        UnknownNameError: The model has no such parameter, or there is no such scheme.
        LayoutError: A scheme does not fit a parameter's layout.

    Example:
        >>> made = plan_of_edits(nn.Linear(4, 8), {"bias": "zeros"}, reason="no shift at the start")
        >>> [(row.parameter, row.action) for row in made.rows]
        [('weight', 'keep'), ('bias', 'assign')]
    """
    live = live_parameters(model)
    require_separate(live)
    for name in edits:
        if name not in live:
            raise UnknownNameError.of("parameter", name, live)
    tied = ties(live)
    owners = {tied[name] or name: scheme for name, scheme in edits.items()}
    read = structure.by_name if structure is not None else {}
    rows: list[Row] = []
    for name, parameter in live.items():
        shape, dtype = tuple(parameter.shape), dtype_name(parameter)
        known = read.get(name)
        facts: dict[str, Any] = {
            "parameter": name,
            "role": known.role if known is not None else Role.UNKNOWN,
            "shape": shape,
            "dtype": dtype,
            "tied_to": tied[name],
            "frozen": not parameter.requires_grad,
            "layout": known.layout if known is not None else layout_of(model, name, shape),
            "fingerprint": fingerprint(name, shape, dtype, tied[name], frozen=not parameter.requires_grad),
        }
        if tied[name] is not None:
            rows.append(Row(action="tied", reason=f"the same tensor as {tied[name]}", **facts))
        elif name in owners:
            scheme = from_text(owners[name])
            promise = scheme.expected_std(facts["layout"])
            rows.append(Row(action="assign", scheme=owners[name], expected_std=promise, reason=reason, **facts))
        else:
            rows.append(Row(action="keep", reason="not part of the edit", **facts))
    return Plan(recipe="edits", model=type(model).__name__, rows=tuple(rows))


def layout_of(model: nn.Module, name: str, shape: tuple[int, ...]) -> Layout:
    """The layout that a parameter's module gives it; PyTorch's usual order where the module is not known."""
    try:
        return Layout.of(model, name)
    except (LayoutError, UnknownNameError):
        return guessed_layout(shape)
