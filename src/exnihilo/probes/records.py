"""What was measured, as plain values."""

from dataclasses import dataclass

from exnihilo.structure.records import Shortcut


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchIdentity:
    """What one residual branch adds at the start.

    Args:
        index: The branch's place in the order of execution.
        name: The branch's name.
        shortcut: What its output equals where nothing is added: its input, or the projection of it.
        exact: The sum equals the shortcut bit for bit, on every element of the example.
        deviation: Largest absolute difference between the sum and the shortcut.
        relative: That difference over the shortcut's root mean square; NaN where the shortcut is zero.
    """

    index: int
    name: str
    shortcut: Shortcut
    exact: bool
    deviation: float
    relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """For each residual branch whether it is exactly the identity (or its projection) at the start.

    It holds for the example that it was measured on. ``print`` shows it.
    """

    model: str
    branches: tuple[BranchIdentity, ...]

    @property
    def exact(self) -> bool:
        """Every branch, and at least one, is exactly its shortcut."""
        return bool(self.branches) and all(branch.exact for branch in self.branches)

    @property
    def deviation(self) -> float:
        """The largest deviation of all branches; 0 where there are none."""
        return max((branch.deviation for branch in self.branches), default=0.0)

    def __str__(self) -> str:
        exact = sum(branch.exact for branch in self.branches)
        lines = [f"{self.model}: {exact} of {len(self.branches)} residual branches are exactly their shortcut"]
        for branch in self.branches:
            if not branch.exact:
                lines.append(
                    f"  {branch.index:>4}  {branch.name}  deviates by {branch.deviation:.3g}"
                    f" ({branch.relative:.3g} of the shortcut's root mean square)"
                )
        return "\n".join(lines)
