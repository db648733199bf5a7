"""Colors that keep apart for every kind of color vision, on paper and on a dark screen.

A color is a token with a light and a dark value. Charts carry the light value; the page swaps it for the token's CSS
variable (static SVG) or for its dark value (interactive charts). The eight series colors stand at least 3:1 against
their background, and stay apart when color blindness is simulated (tested); dash and shape say the same as the color.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from exnihilo.claims.records import Figure
from exnihilo.report.numbers import shown


@dataclass(frozen=True, slots=True)
class Token:
    """A color by its role, with its value on a light and on a dark background."""

    name: str
    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class Style:
    """How one series is drawn everywhere in a report."""

    color: Token
    dash: tuple[int, ...]
    shape: str


SERIES = (
    Token("series-1", "#0b4fd0", "#59b4ff"),
    Token("series-2", "#c48800", "#ead52e"),
    Token("series-3", "#1ea866", "#3a9a66"),
    Token("series-4", "#b772b4", "#c95cab"),
    Token("series-5", "#b54726", "#f0701f"),
    Token("series-6", "#4d6760", "#dab0bd"),
    Token("series-7", "#000b63", "#7f72ff"),
    Token("series-8", "#2e8ae6", "#deffc9"),
)

# From a small to a large value of an ordered series, such as depth.
RAMP = (
    Token("ramp-1", "#440154", "#4273a8"),
    Token("ramp-2", "#46307e", "#287d8e"),
    Token("ramp-3", "#3d4d8a", "#1f968b"),
    Token("ramp-4", "#31688e", "#29af7f"),
    Token("ramp-5", "#277f8e", "#55c667"),
    Token("ramp-6", "#1f9a8a", "#95d840"),
    Token("ramp-7", "#2aa876", "#dce319"),
)

INK = Token("ink", "#1b1f27", "#e9ecf1")
MUTED = Token("muted", "#5a6270", "#a6aebb")
GRID = Token("grid", "#e6e7ea", "#2b313b")
CARD = Token("card", "#fffffe", "#181c22")
GROUND = Token("ground", "#fffffd", "#181c23")
TOKENS = (*SERIES, *RAMP, INK, MUTED, GRID, CARD, GROUND)

_DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2))
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")

# The starts, activations and outcomes one meets most keep their color from one report to the next.
_PREFERRED: Mapping[str, int] = MappingProxyType(
    {
        "zeros": 4,
        "he_normal": 0,
        "xavier_normal": 2,
        "zeros_noise": 1,
        "normal": 3,
        "torch_default": 5,
        "zero_head": 7,
        "zero_residual": 6,
        "relu": 0,
        "tanh": 2,
        "sigmoid": 4,
        "softplus": 1,
        "better": 2,
        "worse": 4,
        "equivalent": 0,
        "undecided": 5,
        "supports": 2,
        "refutes": 4,
        "open": 5,
    }
)


def series_names(figure: Figure) -> tuple[str, ...]:
    """Names of a figure's nominal series, in order of first appearance; empty where color is a number or ordered.

    Example:
        >>> from exnihilo.claims.records import Axis
        >>> axis = Axis(field="lr", title="learning rate")
        >>> rows = ({"lr": 0.1, "start": "zeros"}, {"lr": 0.3, "start": "he_normal"}, {"lr": 1.0, "start": "zeros"})
        >>> start = Axis(field="start", title="start", kind="nominal")
        >>> figure = Figure(name="f", title="", caption="", mark="line", x=axis, y=axis, color=start, rows=rows)
        >>> series_names(figure)
        ('zeros', 'he_normal')
    """
    if figure.color is None or figure.color.kind != "nominal":
        return ()
    field = figure.color.field
    return tuple(dict.fromkeys(shown(row.get(field)) for row in figure.rows))


def series_styles(figures: Iterable[Figure]) -> Mapping[str, Style]:
    """One style for each series name over all figures of a report.

    Names that meet in a figure get different styles; a name keeps its style in every figure. The common starts,
    activations and outcomes have a preferred color; the others take the first that none of the names they meet has.

    Example:
        >>> dict(series_styles([]))
        {}
    """
    groups = [series_names(figure) for figure in figures]
    neighbors: dict[str, set[str]] = {}
    for group in groups:
        for name in group:
            neighbors.setdefault(name, set()).update(other for other in group if other != name)
    # Preferred names choose first: otherwise a stranger met earlier could take their color.
    order = sorted(neighbors, key=lambda name: _stem(name) not in _PREFERRED)
    slots: dict[str, int] = {}
    for name in order:
        taken = {slots[other] for other in neighbors[name] if other in slots}
        slots[name] = _free_slot(_PREFERRED.get(_stem(name)), taken)
    return MappingProxyType({name: _style(slots[name]) for name in neighbors})


def ramp(count: int) -> tuple[Style, ...]:
    """Styles of an ordered series of ``count`` values, spread over the ramp.

    Example:
        >>> [style.color.name for style in ramp(3)]
        ['ramp-1', 'ramp-4', 'ramp-7']
    """
    last = len(RAMP) - 1
    spread = [round(i * last / max(count - 1, 1)) for i in range(count)]
    return tuple(
        Style(color=RAMP[place], dash=_DASHES[i % 2 if count > len(RAMP) else 0], shape="circle")
        for i, place in enumerate(spread)
    )


def _stem(name: str) -> str:
    """``normal(0.01)`` is a ``normal``."""
    return name.split("(", 1)[0].strip()


def _free_slot(preferred: int | None, taken: set[int]) -> int:
    # A relative of a preferred name, such as normal(0.1) beside normal(0.01), keeps the color and changes the dash.
    relatives = [] if preferred is None else [preferred + turn * len(SERIES) for turn in range(len(_DASHES))]
    candidates = [*relatives, *range(len(SERIES) * len(_DASHES))]
    return next((slot for slot in candidates if slot not in taken), len(taken))


def _style(slot: int) -> Style:
    turn, color = divmod(slot, len(SERIES))
    return Style(
        color=SERIES[color],
        dash=_DASHES[turn % len(_DASHES)],
        shape=_SHAPES[(color + turn) % len(_SHAPES)],
    )
