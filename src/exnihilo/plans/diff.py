"""The verb ``diff``: what differs between two plans."""

from exnihilo.plans.records import Change, Difference, Plan, Row

# Of each row, what two plans may say differently; layout and fingerprint follow from these.
_FIELDS = ("role", "action", "scheme", "expected_std", "reason", "shape", "dtype", "tied_to", "frozen")


def diff(a: Plan, b: Plan) -> Difference:
    """What the second plan says otherwise than the first, parameter by parameter.

    Args:
        a: The plan before.
        b: The plan after.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from exnihilo.plans.make import plan
        >>> model, example = nn.Sequential(nn.Linear(4, 2, bias=False)), torch.zeros(1, 4)
        >>> print(diff(plan(model, "zeros", example=example), plan(model, "constant(value=2)", example=example)))
        ~ 0.weight: scheme zeros → Constant(value=2)
    """
    before, after = a.by_name, b.by_name
    return Difference(
        added=tuple(row for name, row in after.items() if name not in before),
        removed=tuple(row for name, row in before.items() if name not in after),
        changed=tuple(change for name, row in before.items() if name in after for change in _changes(row, after[name])),
    )


def _changes(before: Row, after: Row) -> list[Change]:
    said = [(field, getattr(before, field), getattr(after, field)) for field in _FIELDS]
    return [
        Change(parameter=before.parameter, field=field, before=_words(old), after=_words(new))
        for field, old, new in said
        if old != new
    ]


def _words(value: object) -> str:
    return "none" if value is None else repr(value) if isinstance(value, float) else str(value)
