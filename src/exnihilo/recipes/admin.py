"""Transformers with norms behind the sums, whose shortcuts weigh more the more stands in front of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from exnihilo.errors import RecipeError, UnknownNameError
from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import gates_on, value_of
from exnihilo.recipes.laws import require_branches
from exnihilo.recipes.layers import require_post_norm
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import Xavier
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Branch, Structure

Growth = Literal["log", "linear", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Shortcuts scaled so that each branch adds its share to what is in front of it, and no more.

    Rule:
        ``x = norm(ω x + F(x))``. With a ``profile``, the variances of what branches give out in a first pass:
        ``ω**2`` is 1 plus those of all branches in front on the same stream. Without one, for ``n`` branches:
        ``ω**2 = (n + 1) / ln(n + 1) - 1`` lets the output change with the log of the depth, ``ω**2 = n`` not at all,
        ``ω**2 = 1`` with the depth. Maps are Xavier's. ``apply`` puts a trained number, ``1/ω``, behind each branch,
        which a norm cannot tell from ``ω`` on the shortcut.

    Promise:
        ``norm(ω x + F(x))``, up to the norm's epsilon. With a profile a branch of variance ``v`` makes the share
        ``v / (ω**2 + v)`` of its sum, as it would of a sum of all branches so far without norms between.

    Fails when:
        A norm stands elsewhere than behind the sum, or a branch has no place for its number: refused. The profile is
        that of other values than are written: measure it behind ``xavier(distribution=normal)`` with the same seed.

    Args:
        growth: Of the output's change with depth: ``"log"``, ``"constant"`` or ``"linear"``. Default ``"log"``, that of
            the authors' later code. With a profile it is not looked at.
        profile: The variance of what each branch gives out, from ``exnihilo.profile_branches(model, batch)``. Default
            empty: variances of 1, by a closed form.

    Raises:
        UnknownNameError: There is no such ``growth``.
        InvalidValueError: A variance is negative or not finite.
        RecipeError: There is no residual branch, norms stand elsewhere, or there are not as many variances as branches.

    Example:
        >>> round(Admin().omega(24), 4)
        2.6013

    References:
        Liu, Liu, Gao, Chen, Han (2020), Understanding the Difficulty of Training Transformers, section 4; the closed
        forms are those of the authors' package for it.

    Differs:
        One number a branch, where the authors have one a channel. The stream counts 1 behind each norm, where their
        code measures it too.
    """

    name: ClassVar[str] = "admin"
    growth: Growth = "log"
    profile: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.growth not in get_args(Growth):
            raise UnknownNameError.of("growth", self.growth, get_args(Growth))
        for variance in self.profile:
            require_not_negative("admin", "profile", variance, 0.0)

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
        omegas = self._profiled(structure) if self.profile else self._closed(structure)

        def law(branch: Branch) -> Assignment:
            omega = omegas[branch.index]
            return value_of(1.0 / omega, f"the shortcut counts {omega:.4g} times as much as the branch")

        return gates_on(structure, self.name, list(structure.branches), law)

    def _closed(self, structure: Structure) -> dict[int, float]:
        return dict.fromkeys(range(len(structure.branches)), self.omega(len(structure.branches)))

    def _profiled(self, structure: Structure) -> dict[int, float]:
        """The weight of each branch's shortcut, by what stands in front of it."""
        if len(self.profile) != len(structure.branches):
            raise RecipeError(
                f"Recipe 'admin' has a profile of {len(self.profile)} branches, and {structure.model} has"
                f" {len(structure.branches)}.",
                fix="profile=exnihilo.profile_branches(model, batch), of this very model",
            )
        in_front: dict[int | None, float] = {None: 1.0}  # the stream itself, behind a norm
        omegas: dict[int, float] = {}
        for branch, variance in zip(structure.branches, self.profile, strict=True):
            omegas[branch.index] = math.sqrt(in_front[branch.after])
            in_front[branch.index] = in_front[branch.after] + variance
        return omegas
