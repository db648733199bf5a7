"""Which parameters would hold entries of one draw: a plan draws each parameter by itself."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from exnihilo.construction.laws import Content, Draw, Drawn, Thinned
from exnihilo.construction.regions import Region

# The draws of a tensor, each with the bytes that it fills, counted from the tensor's first.
Draws = tuple[tuple[Region, Draw], ...]


def draws_of(parts: Sequence[tuple[Region, Content]], whole: Region) -> Draws:
    """The draws of a tensor's parts, as ``Storage.parts`` gives them."""
    return tuple(
        (Region(region.start - whole.start, region.dims), draw)
        for region, content in parts
        if isinstance(content, Drawn)
        for draw in _draws(content)
    )


def _draws(content: Drawn) -> tuple[Draw, ...]:
    """What was drawn for some entries: their values, and of a column with zeros the places of these."""
    return (content.draw, content.law.places) if isinstance(content.law, Thinned) else (content.draw,)


def is_drawn_once(draws: Draws) -> bool:
    """No entry of a draw is found at two places of the tensor."""
    by_number: dict[int, list[tuple[Region, Draw]]] = {}
    for region, draw in draws:
        by_number.setdefault(draw.number, []).append((region, draw))
    return all(
        len(found) == 1
        or _are_at_home(found)
        or all(first.is_apart(second) for (_, first), (_, second) in combinations(found, 2))
        for found in by_number.values()
    )


def _are_at_home(found: Sequence[tuple[Region, Draw]]) -> bool:
    """Parts of a draw that lie where they lay in it, and perhaps beneath them the draw itself."""
    (below, first), *_ = found
    is_whole = first.place is None and not first.is_reordered
    above = found[1:] if is_whole else found
    is_beneath = not is_whole or all(below.covers(region) for region, _ in above)
    return is_beneath and all(draw.place == region and not draw.is_reordered for region, draw in above)


def copied_from(draws: Draws, earlier: Mapping[str, Draws]) -> str | None:
    """The name of the tensor that holds the same draws at the same places, with the same made of them; None of none."""
    return next((name for name, others in earlier.items() if draws and others == draws and _is_told(draws)), None)


def entangled_with(draws: Draws, earlier: Mapping[str, Draws]) -> str | None:
    """The name of a tensor that holds some of the same entries; None where there is none."""
    for name, others in earlier.items():
        if not all(mine.is_apart(other) for _, mine in draws for _, other in others):
            return name
    return None


def _is_told(draws: Draws) -> bool:
    return not any(draw.is_reordered or draw.made is None for _, draw in draws)
