"""Plans: what becomes of each parameter of a model, as a table to review, compare, save and apply.

The verbs are in ``plans.make``, ``plans.apply``, ``plans.survival``, ``plans.diff`` and ``plans.files``.
"""

from exnihilo.plans.records import (
    PLAN_VERSION,
    Action,
    Applied,
    Change,
    Difference,
    Overwritten,
    Plan,
    Row,
    Survival,
    Written,
)

__all__ = ["PLAN_VERSION", "Action", "Applied", "Change", "Difference", "Overwritten", "Plan", "Row", "Survival"]
__all__ += ["Written"]
