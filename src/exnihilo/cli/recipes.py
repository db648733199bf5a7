"""``exnihilo recipes``: what there is to plan with."""

from exnihilo.cli.shown import columns_of, console, fold, printed
from exnihilo.recipes.named import recipes


def ask_recipes() -> None:
    """Print each recipe with what it does."""
    to = console()
    known = recipes()
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {does.replace('``', '')}" for name, does in known.items()]
    printed(to, ["Recipes, for exnihilo plan MODEL --recipe NAME:"])
    printed(to, [piece for line in lines for piece in fold(line, columns_of(to))])
