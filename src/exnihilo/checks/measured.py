"""All that was measured of a model, for the rules to judge."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exnihilo.checks.records import Edit, Remedy
from exnihilo.checks.roots import Roots, is_dead_end, is_whole
from exnihilo.probes.records import AttentionSignal, Fate, Learning, Opening, PaddingRow, Samples, Signals
from exnihilo.probes.update import Update

NONE = Roots()
NO_SAMPLES = Samples()
# Of an attention's values less than this share differs between places that are alike; of the first attention's more
# than that one must, and there must be places enough.
_ALIKE = 1e-4
_APART = 1e-2
_PLACES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the probes found.

    Args:
        learning: When each parameter opens, and which units stay twins.
        roots: Root causes of what is stuck or dead.
        redraws: New values that a parameter would be given, as a remedy of its own, by its name; made where asked for.
        signals: What passed in one instrumented pass; None where a number was not finite.
        later: What passes after some steps; None where nothing had collapsed before them.
        by_chance: Parameters that the model reads under other random numbers than those of the other probes.
        samples: What each sample's output depends on.
        padding: Rows of tables that stand for padding.
        closed_branches: What starts every residual branch at zero; None where it was not asked for, or there is none.
        update: What the user's optimizer does first; None where there is none.
        uninitialized: Parameters that a construction leaves unwritten.
        constructed: The model was constructed anew to look for those.
    """

    learning: Learning
    roots: Roots = NONE
    redraws: Mapping[str, Remedy] = field(default_factory=dict[str, Remedy])
    signals: Signals | None = None
    later: Signals | None = None
    by_chance: frozenset[str] = frozenset()
    samples: Samples = NO_SAMPLES
    padding: tuple[PaddingRow, ...] = ()
    closed_branches: Remedy | None = None
    update: Update | None = None
    uninitialized: tuple[str, ...] = ()
    constructed: bool = False

    def dead_ends(self, fate: Fate) -> list[Opening]:
        """The closed parameters that hang on roots with a fate, or have it themselves where no root is known."""
        return [o for o in self.learning.openings if is_dead_end(o) and self.roots.blamed(o) == fate]

    def redrawn(self, name: str) -> Remedy | None:
        """The remedy that draws a parameter anew."""
        return self.redraws.get(name)

    def redrawn_all(self, names: Sequence[str]) -> Remedy | None:
        """The remedy that draws several parameters anew."""
        known = [self.redraws[name] for name in names if name in self.redraws]
        if not known:
            return None
        edits = tuple(edit for remedy in known for edit in remedy.edits)
        line = "; ".join(remedy.line for remedy in known[:3]) if len(known) <= 3 else "exnihilo.fix(diagnosis, model)"
        return Remedy(line=line, edits=edits)

    def rescaled(self, name: str, std: float, line: str) -> Remedy:
        """The remedy that draws a parameter with another standard deviation; the line scales what is there."""
        return Remedy(line=line, edits=(Edit(parameter=name, scheme=f"normal(std={std:.4g})"),))

    @property
    def resting(self) -> frozenset[str]:
        """Behind a router, parameters of experts that no place of the batch is sent to, while their like is reached."""
        if self.signals is None or not self.signals.routers:
            return frozenset()
        numbered = {o.parameter: re.subn(r"\d+", "#", o.parameter) for o in self.learning.openings}
        living = {numbered[o.parameter] for o in self.learning.openings if o.step is not None}
        closed = [o.parameter for o in self.learning.openings if o.step is None]
        return frozenset(name for name in closed if numbered[name][1] and numbered[name] in living)

    @property
    def alike(self) -> tuple[AttentionSignal, ...]:
        """Attentions whose places became alike on the way, and still are after some steps."""
        if self.signals is None or self.later is None or len(self.signals.attentions) != len(self.later.attentions):
            return ()
        pairs = zip(self.signals.attentions, self.later.attentions, strict=True)
        told = [(a, a.apart, b.apart) for a, b in pairs if a.apart is not None and a.places >= _PLACES]
        if not told or told[0][1] < _APART:
            return ()
        return tuple(a for a, now, then in told if now < _ALIKE and then is not None and then < _ALIKE and a.query)

    @property
    def lost_in_rounding(self) -> tuple[str, ...]:
        """Maps from the first of those attentions on whose gradient is nothing but rounding."""
        orders = {o.parameter: o.order for o in self.learning.openings}
        first = min((orders.get(a.query, -1) for a in self.alike), default=None)
        if first is None:
            return ()
        maps = [o for o in self.learning.openings if o.use == "map" and is_whole(o, "invariant", "undecided")]
        return tuple(o.parameter for o in maps if o.order >= first)

    @property
    def influence(self) -> dict[str, float]:
        """By how much a step of a thousandth of its size along its gradient's signs would change the loss, about."""
        found: dict[str, float] = {}
        for opening in self.learning.openings:
            numel = 1
            for size in opening.shape:
                numel *= size
            found[opening.parameter] = 1e-3 * opening.size * opening.gradient * numel
        return found
