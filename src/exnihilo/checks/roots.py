"""The smallest set of parameters whose new values free what does not learn.

Each candidate gets, on a copy, the values that it would be given anew, and some steps show which parameters then open.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.errors import ExnihiloError
from exnihilo.fills import Key
from exnihilo.plans.edits import layout_of
from exnihilo.plans.make import plan
from exnihilo.probes.openings import CLOSED_SHARE, chain_of
from exnihilo.probes.records import Fate, Learning, Opening
from exnihilo.probes.trial import Trial
from exnihilo.schemes.spec import from_text
from exnihilo.structure.reader import read
from exnihilo.structure.records import Structure

# Chains of steps that a search may take; each costs a few passes of a model that would not have learned.
_MAX_TRIES = 48
_STEPS = 4
# Of more candidates with one name but for its numbers, all are taken at once.
_ONE_BY_ONE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Parameters whose new values free others.

    Args:
        fate: Of the first of them.
        parameters: The smallest set found; each is needed, or each of many alike.
        schemes: New values for each of them.
        freed: The closed parameters that open then, themselves included where they do.
        step: The last opening step among those.
    """

    fate: Fate
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

    def of(self, fate: Fate) -> tuple[str, ...]:
        """The parameters of the roots with a fate."""
        return tuple(name for root in self.found if root.fate == fate for name in root.parameters)

    def blamed(self, opening: Opening) -> Fate:
        """What a closed parameter hangs on: the fate of the root that frees it, else its own."""
        for root in self.found:
            if opening.parameter in root.freed:
                return root.fate
        return _fate_of(opening)


def is_closed(opening: Opening, *fates: Fate) -> bool:
    """Whether a parameter, or a large part of its units, has one of these fates."""
    if opening.use == "table" and opening.fate == "opens":
        return False
    return opening.num_of(*fates) >= max(CLOSED_SHARE * opening.num_units, 1)


def is_whole(opening: Opening, *fates: Fate) -> bool:
    """Whether no unit of a parameter opens, and most have one of these fates."""
    return opening.fate in fates and not opening.num_of("opens")


def _fate_of(opening: Opening) -> Fate:
    """Of a saddle in front of ReLU, noise frees the units that it switches on, and the others look dead."""
    return "stuck" if opening.num_of("stuck") else "dead"


def is_dead_end(opening: Opening) -> bool:
    """Of a saddle no part is innocent; dead parts may be experts or units that other batches reach."""
    return is_closed(opening, "stuck") or is_whole(opening, "stuck", "dead")


def roots_of(make: Callable[[], Trial], learning: Learning) -> Roots:
    """The roots of all dead ends; empty where there is none."""
    closed = [opening for opening in learning.openings if is_dead_end(opening)]
    return _Search(make(), closed).roots() if closed else Roots()


class _Search:
    """Tries candidates one after the other; what freed something stays while the next are tried."""

    def __init__(self, trial: Trial, closed: Sequence[Opening]) -> None:
        self._trial, self._closed = trial, closed
        trial.evaluate()
        self._start = trial.start()
        self._laws = laws_for(trial)
        self._tries = 0

    def roots(self) -> Roots:
        left, found = {opening.parameter for opening in self._closed}, list[Root]()
        candidates = self._candidates()
        for group in _alike(candidates):
            members = [name for name in group if name in left]
            for names in [members] if len(members) > _ONE_BY_ONE else [[name] for name in members]:
                if not left.issuperset(names) or self._tries >= _MAX_TRIES:
                    continue
                freed, step = self._freed((), names)
                if freed & left:
                    found.append(self._root(names, freed, step))
                    left -= freed
        if left:
            together = self._together([name for name in candidates if name in left], _parameters(found))
            if together is not None:
                found.append(replace(together, freed=tuple(name for name in together.freed if name in left)))
                left -= set(together.freed)
        best = sorted(found, key=lambda root: -len(root.freed))
        return Roots(found=tuple(_needed(best)), unexplained=tuple(self._in_order(left)))

    def _together(self, candidates: Sequence[str], kept: Sequence[str]) -> Root | None:
        """All candidates that hold one value, less those that are not needed, beside the roots that were found."""
        equal = {opening.parameter for opening in self._closed if opening.all_equal is not None}
        chosen = [name for name in candidates if name in equal] or list(candidates)
        freed, step = self._freed(kept, chosen)
        if freed.isdisjoint(candidates):
            return None
        for name in list(reversed(self._in_order(set(chosen)))):
            fewer = [n for n in chosen if n != name]
            if not fewer or self._tries >= _MAX_TRIES:
                break
            still, later = self._freed(kept, fewer)
            if still >= freed:
                chosen, freed, step = fewer, still, later
        return self._root(self._in_order(set(chosen)), freed, step)

    def _candidates(self) -> dict[str, Any]:
        """The rank of each closed parameter that new values would change, in the order in which they are tried.

        What holds one value comes first. Of what is stuck maps come before vectors, of what is dead shifts come before
        the rest; within these the model's order holds.
        """
        uses = {"map": 0, "scale": 1, "shift": 2, "table": 3, "other": 1}
        rank = {
            opening.parameter: (
                opening.all_equal != 0.0,
                opening.all_equal is None and not self._part_equal(opening),
                int(opening.use != "shift") if _fate_of(opening) == "dead" else uses[opening.use],
            )
            for opening in self._closed
            if not torch.equal(self._drawn(opening.parameter), self._start[opening.parameter])
        }
        return dict(sorted(rank.items(), key=lambda entry: entry[1]))

    def _part_equal(self, opening: Opening) -> bool:
        """Whether the closed units of a parameter all hold one value."""
        value = self._start[opening.parameter]
        closed = [part for part in opening.parts if part.fate in {"stuck", "dead"}]
        units = [unit for part in closed for r in part.ranges for unit in range(*r)]
        if not opening.unit_dims:
            return True
        dim = opening.unit_dims[-1]
        if len(opening.unit_dims) > 1 or not units:
            return False
        chosen = value.index_select(dim, torch.tensor(units, device=value.device))
        return bool((chosen == chosen.flatten()[0]).all())

    def _in_order(self, names: Iterable[str]) -> list[str]:
        wanted = set(names)
        return [opening.parameter for opening in self._closed if opening.parameter in wanted]

    def _drawn(self, name: str) -> Tensor:
        return drawn(self._laws[name], self._trial.model, name, self._start[name])

    def _freed(self, kept: Sequence[str], names: Sequence[str]) -> tuple[frozenset[str], int]:
        """Which closed parameters open where some get new values, and the last step at which one does."""
        self._tries += 1
        self._trial.set(self._start)
        self._trial.set({name: self._drawn(name) for name in (*kept, *names)})
        chain = chain_of(self._trial, steps=_STEPS)
        freed = set[str]()
        step = 0
        for opening in self._closed:
            steps = chain.opened[opening.parameter]
            was_closed = opening.num_of("stuck", "dead")
            if int((steps > 0).sum()) >= opening.num_units - was_closed + max(was_closed // 2, 1):
                freed.add(opening.parameter)
                step = max(step, int(steps.max()))
        return frozenset(freed), step

    def _root(self, names: Sequence[str], freed: frozenset[str], step: int) -> Root:
        own = next(opening for opening in self._closed if opening.parameter == names[0])
        return Root(
            fate=_fate_of(own),
            parameters=tuple(names),
            schemes=tuple(self._laws[name] for name in names),
            freed=tuple(self._in_order(freed)),
            step=step,
        )


def _alike(candidates: Mapping[str, Any]) -> list[list[str]]:
    """Candidates of one rank whose names differ in their numbers alone, such as those of equal layers."""
    groups: dict[Any, list[str]] = {}
    for name, rank in candidates.items():
        groups.setdefault((rank, re.sub(r"\d+", "#", name)), []).append(name)
    return list(groups.values())


def _parameters(found: Iterable[Root]) -> list[str]:
    return [name for root in found for name in root.parameters]


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
    planned = planned_by(trial, "he")
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


def planned_by(trial: Trial, recipe: str) -> dict[str, str]:
    """The scheme that a recipe gives each parameter; empty where the model cannot be read, or the recipe refuses it."""
    structure = structure_of(trial)
    if structure is None:
        return {}
    try:
        rows = plan(
            trial.twin, recipe, structure=structure, keep=["role:UNKNOWN"] if _has_unknown(structure) else ()
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
