"""The optimizer's parameter groups that a plan asks for."""

import math
from typing import Any

from torch import nn

from exnihilo.errors import InvalidValueError
from exnihilo.plans.live import live_parameters, require_current
from exnihilo.plans.records import Plan, Row
from exnihilo.structure.records import Role

# What decay would pull away from where it must stay: a scale that is neutral at 1, a shift that has no size to hold.
_NEVER_DECAY = frozenset({Role.BIAS, Role.NORM_SCALE, Role.NORM_SHIFT, Role.BRANCH_SCALE, Role.SCALE})


def param_groups(plan: Plan, model: nn.Module, lr: float, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Groups for a ``torch.optim`` optimizer: each trained parameter once, by the rate and the decay it is to have.

    Rates are ``lr`` times what the recipe gives the parameter (a tenth for Fixup's numbers, one over the width's growth
    for muP's hidden maps). Biases, norms, scales and gates do not decay, nor does what the recipe exempts.

    Args:
        plan: That was applied to the model.
        model: Parameters are told by what they are in the plan, never by their names' spelling.
        lr: Of a parameter to which the recipe gives no other. Positive.
        weight_decay: Of what decays. Default 0.

    Returns:
        Dicts with ``params``, ``lr``, ``weight_decay`` and ``name``, the largest group first; frozen parameters are in
        none.

    Raises:
        InvalidValueError: ``lr`` is not positive, or ``weight_decay`` is negative, or one is not finite.
        StalePlanError: The model's parameters are not those of the plan: it was not applied, or the model changed.

    Example:
        >>> import torch
        >>> from exnihilo import apply, plan
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> made = plan(model, "he", example=torch.zeros(1, 4))
        >>> _ = apply(made, model, seed=0)
        >>> groups = param_groups(made, model, lr=1e-3, weight_decay=0.1)
        >>> [(group["name"], group["weight_decay"]) for group in groups]
        [('rate 1, decay', 0.1), ('rate 1, no decay', 0.0)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    for name, given, least in (("lr", lr, "positive"), ("weight_decay", weight_decay, "0 or more")):
        if not math.isfinite(given) or given < 0 or (name == "lr" and given == 0):
            raise InvalidValueError(f"param_groups.{name} is {given}; it must be {least}.", fix=f"{name}=1e-3")
    live = live_parameters(model)
    constants = {gate.name for gate in plan.gates if not gate.trains}
    require_current([row for row in plan.rows if row.parameter not in constants], model, live)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for row in plan.rows:
        if row.tied_to is None and not row.frozen and row.parameter not in constants:
            groups.setdefault((row.rate, _decays(row)), []).append(live[row.parameter])
    made = [
        {
            "params": params,
            "lr": lr * rate,
            "weight_decay": weight_decay if decays else 0.0,
            "name": f"rate {rate:.4g}, {'decay' if decays else 'no decay'}",
        }
        for (rate, decays), params in groups.items()
    ]
    return sorted(made, key=lambda group: -sum(p.numel() for p in group["params"]))


def _decays(row: Row) -> bool:
    return row.decay and row.role not in _NEVER_DECAY
