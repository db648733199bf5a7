"""Recipes: laws for a whole model, from its structure to one assignment for each parameter.

Calling the room lists it: ``exnihilo.recipes()`` has one line for each recipe by name.
"""

import sys as _sys
import types as _types

from exnihilo.recipes.records import Assignment, Recipe

__all__ = ["Assignment", "Recipe"]


class _Room(_types.ModuleType):
    """A module that can be called: as an attribute of the package, room and verb have one name."""

    def __call__(self) -> dict[str, str]:
        from exnihilo.recipes.named import recipes

        return recipes()


_sys.modules[__name__].__class__ = _Room
