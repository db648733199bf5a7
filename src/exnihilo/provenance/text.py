"""What a rebuild found, as plain text. Needs no torch."""

from collections.abc import Callable, Sequence

from exnihilo.plans.text import scheme_shown
from exnihilo.provenance.records import Compared, Rebuilt
from exnihilo.structure.folding import folded

_ORIGINS = {
    "assigned": "assigned by the plan",
    "kept": "kept as the factory makes them",
    "buffer": "buffers, as the factory makes them",
}


def rebuilt_lines(rebuilt: Rebuilt) -> str:
    """The answer first, then how many tensors of each origin are equal, then each pattern of those that are not."""
    stored = [entry for entry in rebuilt.tensors if entry.stored not in (None, "equal")]
    lines = [
        f"{rebuilt.recipe} for {rebuilt.model} under seed {rebuilt.seed}: {_answer(rebuilt)}",
        f"  fingerprint  {rebuilt.rebuilt}",
        *([] if rebuilt.recorded == rebuilt.rebuilt else [f"  recorded     {rebuilt.recorded}"]),
        *(_counted(origin, rebuilt.tensors) for origin in _ORIGINS if _of(origin, rebuilt.tensors)),
    ]
    if any(entry.stored for entry in rebuilt.tensors):
        equal = f"{len(rebuilt.tensors) - len(stored):,} of {len(rebuilt.tensors):,} equal"
        lines.append(f"  {equal}  in the checkpoint{_farthest(stored)}")
    lines += _patterns([entry for entry in rebuilt.tensors if not entry.is_equal], _differs)
    lines += _patterns(stored, lambda entry: f"in the checkpoint: {entry.stored}")
    lines += [
        f"  {pattern}  in the checkpoint, not in the model" for pattern, _, _ in folded(rebuilt.surplus, str, bool)
    ]
    return "\n".join([*lines, *_hints(rebuilt)])


def _answer(rebuilt: Rebuilt) -> str:
    if rebuilt.is_exact:
        return "rebuilt bit for bit"
    if rebuilt.recorded == rebuilt.rebuilt:
        return "rebuilt bit for bit, and the checkpoint differs"
    count = sum(not entry.is_equal for entry in rebuilt.tensors)
    return f"{count} of {len(rebuilt.tensors)} tensors {'differs' if count == 1 else 'differ'}"


def _of(origin: str, tensors: Sequence[Compared]) -> list[Compared]:
    return [entry for entry in tensors if entry.origin == origin]


def _counted(origin: str, tensors: Sequence[Compared]) -> str:
    own = _of(origin, tensors)
    return f"  {sum(entry.is_equal for entry in own):,} of {len(own):,} equal  {_ORIGINS[origin]}"


def _patterns(entries: Sequence[Compared], said: Callable[[Compared], str]) -> list[str]:
    return [f"  {pattern}  {said(entry)}" for pattern, entry, _ in folded(entries, lambda entry: entry.names[0], said)]


def _farthest(stored: Sequence[Compared]) -> str:
    """How far off a checkpoint's values are, at the worst of them."""
    distances = [entry.distance for entry in stored if entry.distance is not None]
    return f"; values are off by {max(distances):.3g} at most" if distances else ""


def _differs(entry: Compared) -> str:
    law = scheme_shown(entry.scheme) if entry.scheme else entry.origin
    if entry.recorded is None:
        return f"{law}: not in the manifest"
    return f"{law}: {'not in the model' if entry.rebuilt is None else 'differs'}"


def _hints(rebuilt: Rebuilt) -> list[str]:
    """What may lie behind a difference, by what differs."""
    differing = {entry.origin for entry in rebuilt.tensors if not entry.is_equal}
    hints: list[str] = []
    if differing - {"assigned"}:
        hints.append(
            "  Kept parameters and buffers follow from the factory alone: it must make the values of the run, "
            "such as by torch.manual_seed in it."
        )
    if "assigned" in differing and rebuilt.recorded_on != rebuilt.rebuilt_on:
        hints.append(
            f"  Recorded with {rebuilt.recorded_on}; rebuilt with {rebuilt.rebuilt_on}. Laws that factor matrices "
            "(orthogonal, delta_orthogonal, mimetic) agree there to about 1e-6 only, all others bit for bit."
        )
    return hints
