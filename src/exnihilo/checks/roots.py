"""The smallest set of parameters whose new values free what does not learn.

Each candidate gets, on a copy, the values that it would be given anew, and some steps show which parameters then open.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from exnihilo.errors import ExnihiloError
from exnihilo.fills import Key
from exnihilo.plans.edits import layout_of
from exnihilo.plans.make import plan
from exnihilo.probes.fates import CLOSED_SHARE
from exnihilo.probes.openings import chain_of
from exnihilo.probes.records import Fate, Learning, Opening
from exnihilo.probes.trial import Trial
from exnihilo.schemes.spec import from_text
from exnihilo.structure.reader import read
from exnihilo.structure.records import Structure

# Chains of steps that a search may take; each costs a few passes of a model that would not have learned.
_MAX_TRIES = 48
_STEPS = 4
_FATES: tuple[Fate, ...] = ("stuck", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Parameters whose new values free others.

    Args:
        parameters: The smallest set found; each is needed.
        schemes: New values for each of them.
        freed: The closed parameters that open then, themselves included where they do.
        step: The last opening step among those.
    """

    parameters: tuple[str, ...]
    schemes: tuple[str, ...]
    freed: tuple[str, ...]
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Why parameters do not learn.

    Args:
        found: Roots, the one that frees most first.
        unexplained: Closed parameters that no candidate freed.
    """

    found: tuple[Root, ...] = ()
    unexplained: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that hangs on these roots, themselves first, and what is unexplained."""
        own = [name for root in self.found for name in root.parameters]
        freed = [name for root in self.found for name in root.freed]
        return tuple(dict.fromkeys([*own, *freed, *self.unexplained]))


def is_closed(opening: Opening, *fates: Fate) -> bool:
    """Whether a parameter, or a large part of its units, has one of these fates."""
    if opening.use == "table" and opening.fate == "opens":
        return False
    return opening.num_of(*fates) >= max(CLOSED_SHARE * opening.num_units, 1)


def is_whole(opening: Opening, *fates: Fate) -> bool:
    """Whether no unit of a parameter opens, and most have one of these fates."""
    return opening.fate in fates and not opening.num_of("opens")


def dead_ends(learning: Learning) -> tuple[Opening, ...]:
    """The parameters that are stuck, and those that are dead as a whole.

    Of a saddle no part is innocent; dead parts may be experts or units that other batches reach.
    """
    return tuple(o for o in learning.openings if is_closed(o, "stuck") or is_whole(o, "dead"))


def roots_of(make: Callable[[], Trial], learning: Learning) -> tuple[Roots, Roots]:
    """The roots of what is stuck, and of what is dead: each by what becomes of the root itself.

    They are looked for together, since what hangs on a dead map may look stuck.
    """
    closed = dead_ends(learning)
    if not closed:
        return Roots(), Roots()
    roots = _Search(make, closed, _FATES).roots()
    fates = {opening.parameter: opening.fate for opening in closed}
    dead = [root for root in roots.found if fates[root.parameters[0]] == "dead"]
    stuck = [root for root in roots.found if root not in dead]
    unexplained = {
        fate: tuple(n for n in roots.unexplained if (fates[n] == "dead") == (fate == "dead")) for fate in _FATES
    }
    return (
        Roots(found=tuple(stuck), unexplained=unexplained["stuck"]),
        Roots(found=tuple(dead), unexplained=unexplained["dead"]),
    )


@dataclass
class _Search:
    make: Callable[[], Trial]
    closed: Sequence[Opening]
    fates: tuple[Fate, ...]
    tries: int = 0
    tried: dict[tuple[str, ...], tuple[frozenset[str], int]] = field(
        default_factory=dict[tuple[str, ...], tuple[frozenset[str], int]]
    )

    def __post_init__(self) -> None:
        self.trial = self.make()
        self.trial.evaluate()
        self.start = self.trial.start()
        self.laws = laws_for(self.trial)
        self.names = {opening.parameter for opening in self.closed}

    def roots(self) -> Roots:
        candidates = self._candidates()
        left, found = set(self.names), list[Root]()
        for name in candidates:
            if name not in left or self.tries >= _MAX_TRIES:
                continue
            freed, step = self._freed((name,))
            if freed & left:
                found.append(self._root((name,), freed, step))
                left -= freed
        if left and not found:
            together = self._together(candidates)
            if together is not None:
                found.append(together)
                left -= set(together.freed)
        best = sorted(found, key=lambda root: -len(root.freed))
        return Roots(found=tuple(_needed(best)), unexplained=tuple(n for n in self._in_order(left)))

    def _together(self, candidates: Sequence[str]) -> Root | None:
        """All candidates that hold one value, less those that are not needed."""
        equal = {opening.parameter for opening in self.closed if opening.all_equal is not None}
        chosen = [name for name in candidates if name in equal] or list(candidates)
        freed, step = self._freed(tuple(chosen))
        if not freed:
            return None
        for name in list(reversed(self._in_order(set(chosen)))):
            fewer = tuple(n for n in chosen if n != name)
            if not fewer or self.tries >= _MAX_TRIES:
                break
            still, later = self._freed(fewer)
            if still >= freed:
                chosen, freed, step = list(fewer), still, later
        return self._root(tuple(self._in_order(set(chosen))), freed, step)

    def _candidates(self) -> list[str]:
        """What holds one value first, maps before vectors; within these the model's order."""
        uses = {"map": 0, "scale": 1, "shift": 2, "table": 3, "other": 1}
        rank = {
            opening.parameter: (
                opening.all_equal != 0.0,
                opening.all_equal is None and not self._part_equal(opening),
                opening.use != "shift" if opening.fate == "dead" else uses[opening.use],
            )
            for opening in self.closed
        }
        return sorted(rank, key=lambda name: rank[name])

    def _part_equal(self, opening: Opening) -> bool:
        """Whether the closed units of a parameter all hold one value."""
        value = self.start[opening.parameter]
        units = [unit for part in opening.parts if part.fate in self.fates for r in part.ranges for unit in range(*r)]
        if not opening.unit_dims:
            return True
        dim = opening.unit_dims[-1]
        if len(opening.unit_dims) > 1 or not units:
            return False
        chosen = value.index_select(dim, torch.tensor(units, device=value.device))
        return bool((chosen == chosen.flatten()[0]).all())

    def _in_order(self, names: Iterable[str]) -> list[str]:
        wanted = set(names)
        return [opening.parameter for opening in self.closed if opening.parameter in wanted]

    def _freed(self, names: tuple[str, ...]) -> tuple[frozenset[str], int]:
        """Which closed parameters open where some get new values, and the last step at which one does."""
        if names in self.tried:
            return self.tried[names]
        new = {name: drawn(self.laws[name], self.trial.model, name, self.start[name]) for name in names}
        if any(torch.equal(new[name], self.start[name]) for name in names):
            return frozenset(), 0  # what a parameter would be given is what it holds: it is no cause
        self.tries += 1
        self.trial.set(self.start)
        self.trial.set(new)
        chain = chain_of(self.trial, steps=_STEPS)
        freed = set[str]()
        step = 0
        for opening in self.closed:
            steps = chain.opened[opening.parameter]
            opened = steps > 0
            was_closed = opening.num_of(*self.fates)
            if int(opened.sum()) >= opening.num_units - was_closed + max(was_closed // 2, 1):
                freed.add(opening.parameter)
                step = max(step, int(steps.max()))
        self.tried[names] = (frozenset(freed), step)
        return self.tried[names]

    def _root(self, names: tuple[str, ...], freed: frozenset[str], step: int) -> Root:
        return Root(
            parameters=names,
            schemes=tuple(self.laws[name] for name in names),
            freed=tuple(self._in_order(freed)),
            step=step,
        )


def _needed(found: Sequence[Root]) -> list[Root]:
    """The roots, without those whose parameters earlier ones free already."""
    kept: list[Root] = []
    covered = set[str]()
    for root in found:
        if not set(root.freed) <= covered:
            kept.append(root)
            covered |= set(root.freed)
    return kept


def laws_for(trial: Trial) -> dict[str, str]:
    """The law that each trainable parameter would be given anew: what ``he`` gives it, else by how it is used."""
    planned = _planned(trial)
    laws: dict[str, str] = {}
    for name, parameter in trial.parameters.items():
        use = trial.promoting.uses.get(name, "other")
        scheme = planned.get(name)
        if scheme is None or (scheme == "zeros" and use not in {"shift", "other"}):
            scheme = {"map": "lecun_normal", "table": "normal(std=0.02)", "scale": "ones", "shift": "zeros"}.get(use)
        if scheme is None:
            scheme = "lecun_normal" if parameter.dim() > 1 else "normal(std=0.02)"
        laws[name] = scheme
    return laws


def _planned(trial: Trial) -> dict[str, str]:
    structure = structure_of(trial)
    if structure is None:
        return {}
    try:
        rows = plan(
            trial.twin, "he", structure=structure, keep=["role:UNKNOWN"] if _has_unknown(structure) else ()
        ).rows
    except ExnihiloError:
        return {}
    return {row.parameter: row.scheme for row in rows if row.scheme is not None}


def _has_unknown(structure: Structure) -> bool:
    return any(parameter.role.value == "UNKNOWN" for parameter in structure.parameters)


def structure_of(trial: Trial) -> Structure | None:
    """The structure of a trial's copy, whose hooks are silent, where its loss calls it in a way that can be read."""
    if trial.example is None:
        return None
    args, kwargs = trial.example
    if args and kwargs:
        return None
    try:
        return read(trial.twin, args or kwargs)
    except ExnihiloError:
        return None


def drawn(scheme: str, model: nn.Module, name: str, like: Tensor) -> Tensor:
    """New values of a law for a parameter, in the dtype and on the device of the old ones."""
    values = from_text(scheme).sample(layout_of(model, name, tuple(like.shape)), Key(0, name))
    return values.reshape(like.shape).to(like)
