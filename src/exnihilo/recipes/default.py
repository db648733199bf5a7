"""Everything stays as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import keep, owners
from exnihilo.recipes.records import Assignment
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """Keeps every parameter: the values that the model's own constructor gave it.

    Rule:
        Every parameter: keep. The table to start from when only a few parameters shall change, by ``overrides``.

    Promise:
        Nothing is written.

    Fails when:
        The model is on the meta device and was then made with ``to_empty``: its memory holds anything.

    Example:
        >>> Default().name
        'default'
    """

    name: ClassVar[str] = "default"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Keep for each parameter."""
        return {parameter.name: keep("as the model made it") for parameter in owners(structure)}
