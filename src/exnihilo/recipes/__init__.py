"""Recipes: laws for a whole model, from its structure to one assignment for each parameter."""

from exnihilo.recipes.records import Assignment, Recipe

__all__ = ["Assignment", "Recipe"]
