"""Routers that send everything to the same experts.

Finds:
    A router whose places, 32 or more, nearly all choose the same experts: the load's effective number of experts is
    within a twentieth of the least that it can be.

Why it is bad:
    The other experts get no gradient, and the few in use take it all; without a balancing loss that only grows.

What it misses:
    A load that is uneven, yet spread; routers that choose otherwise than by ``topk`` or ``max``.

When it is innocent:
    On a batch whose places are nearly the same.

How to fix:
    Draw the router smaller, or start its bias at zero: scores about equal spread places evenly.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.probes.records import RouterSignal

CODE = "router-balance"
_PLACES = 32
_SHARE = 0.05


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for all such routers."""
    routers = measured.signals.routers if measured.signals is not None else ()
    stuck = [router for router in routers if router.places >= _PLACES and _is_stuck(router)]
    if not stuck:
        return ()
    first = stuck[0]
    known = {o.parameter for o in measured.learning.openings}
    weights = list(dict.fromkeys(router.parameter for router in stuck))
    shifts = [shift for name in weights if (shift := f"{name.rpartition('.')[0]}.bias") in known]
    names = (*weights, *shifts)
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=names,
            num_roots=len(names),
            evidence=f"{first.effective:.2f} of {first.experts} experts in use by {first.places:,} places that choose"
            f" {first.chosen} each",
            cause="its scores differ more between experts than between places",
            remedy=measured.redrawn_all(names),
        ),
    )


def _is_stuck(router: RouterSignal) -> bool:
    return router.effective < router.chosen + _SHARE * (router.experts - router.chosen)
