"""Transformers with norms behind the sums, whose shortcuts weigh more the more stands in front of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from exnihilo.errors import UnknownNameError
from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import gates_on, value_of
from exnihilo.recipes.laws import require_branches
from exnihilo.recipes.layers import require_post_norm
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import Xavier
from exnihilo.structure.records import Branch, Structure

Growth = Literal["log", "linear", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Shortcuts scaled so that each branch adds its share to what is in front of it, and no more.

    Rule:
        ``x = norm(ω x + F(x))`` for ``n`` branches: ``ω**2 = (n + 1) / ln(n + 1) - 1`` lets the output change with the
        log of the depth, ``ω**2 = n`` not at all, ``ω**2 = 1`` with the depth. Maps are Xavier's. ``apply`` puts a
        trained number, ``1/ω``, behind each branch, which a norm cannot tell from ``ω`` on the shortcut.

    Promise:
        ``norm(ω x + F(x))``, up to the norm's epsilon.

    Fails when:
        A norm stands elsewhere than behind the sum, or a branch has no place for its number: refused.

    Args:
        growth: Of the output's change with depth: ``"log"``, ``"constant"`` or ``"linear"``. Default ``"log"``, that of
            the authors' later code.

    Raises:
        UnknownNameError: There is no such ``growth``.
        RecipeError: There is no residual branch, or norms stand elsewhere.

    Example:
        >>> round(Admin().omega(24), 4)
        2.6013

    References:
        Liu, Liu, Gao, Chen, Han (2020), Understanding the Difficulty of Training Transformers, section 4; the closed
        forms are those of the authors' package for it.

    Differs:
        One number a branch, where the authors have one a channel. The paper measures each branch's variance in a first
        pass; here it is that of branches with variance 1.
    """

    name: ClassVar[str] = "admin"
    growth: Growth = "log"

    def __post_init__(self) -> None:
        if self.growth not in get_args(Growth):
            raise UnknownNameError.of("growth", self.growth, get_args(Growth))

    def omega(self, branches: int) -> float:
        """The weight of the shortcut for so many branches."""
        squares = {"log": (branches + 1) / math.log(branches + 1) - 1, "constant": float(branches), "linear": 1.0}
        return math.sqrt(squares[self.growth])

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Xavier's law."""
        require_branches(structure, self.name)
        require_post_norm(structure, self.name)
        return Xavier(distribution="normal").assign(structure)

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """A number behind each branch."""
        share = 1.0 / self.omega(len(structure.branches))

        def law(_branch: Branch) -> Assignment:
            return value_of(share, f"the shortcut counts {1 / share:.4g} times as much as the branch")

        return gates_on(structure, self.name, list(structure.branches), law)
