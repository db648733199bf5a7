"""All that was measured of a model, for the rules to judge."""

from dataclasses import dataclass

from exnihilo.checks.records import Remedy
from exnihilo.checks.roots import Roots
from exnihilo.probes.records import Learning

NONE = Roots()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the probes found.

    Args:
        learning: When each parameter opens, and which units stay twins.
        stuck: Root causes of what is stuck.
        dead: Root causes of what is dead.
        remedies: Edits that free what hangs on roots, by the roots' parameters.
        twins_remedy: What tells twins apart.
    """

    learning: Learning
    stuck: Roots = NONE
    dead: Roots = NONE
    remedies: tuple[tuple[tuple[str, ...], Remedy], ...] = ()
    twins_remedy: Remedy | None = None

    def remedy_of(self, roots: Roots) -> Remedy | None:
        """The remedy for some roots."""
        names = tuple(name for root in roots.found for name in root.parameters)
        return next((remedy for of, remedy in self.remedies if of == names), None)
