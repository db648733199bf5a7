"""The verb ``manifest``: what a start follows from and what it came to, in one record."""

import platform

import torch
from torch import nn

from exnihilo.fills import FILLS_VERSION, Key
from exnihilo.plans.live import live_parameters, require_current
from exnihilo.plans.records import Plan
from exnihilo.provenance.fingerprint import fingerprint
from exnihilo.provenance.records import Manifest
from exnihilo.version import __version__


def manifest(model: nn.Module, plan: Plan, seed: int) -> Manifest:
    """The manifest of a model as it is right after a plan was applied to it.

    It records what the model holds, and takes plan and seed on trust: ``rebuild`` proves that they lead there.

    Args:
        model: Before anything else writes to it, freezes or casts it. Where it is sharded, every process calls this.
        plan: That was applied.
        seed: Under which it was.

    Raises:
        StalePlanError: The model's parameters are not those of the plan.
        InvalidValueError: The seed is out of range; or as ``fingerprint`` does.

    Example:
        >>> import exnihilo as xn
        >>> model = nn.Linear(4, 2)
        >>> plan = xn.plan(model, "he", example=torch.zeros(1, 4))
        >>> _ = xn.apply(plan, model, seed=0)
        >>> made = manifest(model, plan, seed=0)
        >>> made.fingerprint == xn.fingerprint(model)
        True
    """
    Key(seed, plan.model)  # refuses a seed out of range
    constants = {gate.name for gate in plan.gates if not gate.trains}
    require_current([row for row in plan.rows if row.parameter not in constants], model, live_parameters(model))
    return Manifest(
        exnihilo=__version__,
        fills_version=FILLS_VERSION,
        seed=seed,
        plan=plan,
        fingerprint=fingerprint(model),
        torch=torch.__version__,
        platform=platform_here(),
    )


def platform_here() -> str:
    """Such as ``"Linux x86_64 AVX2"``: what the last bit of a matrix factorization may depend on."""
    return f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
