"""Which numbers of its generators a factory would have drawn, where it gives them seeds and states."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Stretch:
    """The draws between two times that a generator was put somewhere.

    Args:
        start: Where a seed or a state last put the generator; None of where the global one stood before.
        first: How many draws lie between that and the first of these.
        end: The same for one behind the last.
    """

    start: Hashable
    first: int = 0
    end: int = 0

    def repeats(self, other: "Stretch") -> bool:
        """Draws numbers that another stretch draws too."""
        return self is not other and self.start == other.start and self.first < other.end and other.first < self.end


@dataclass(slots=True)
class Stream:
    """Where the generators would stand: nothing is drawn, and each stays where it was put.

    Example:
        >>> stream = Stream()
        >>> for number, seed in ((1, b"a"), (2, b"b"), (3, b"a")):
        ...     stream.put(b"", seed)
        ...     stream.drawn(number)
        >>> stream.by_draw[3].repeats(stream.by_draw[1]), stream.by_draw[3].repeats(stream.by_draw[2])
        (True, False)

    Attributes:
        by_draw: The stretch of each draw, by its number.
    """

    by_draw: dict[int, Stretch] = field(default_factory=dict)
    _stretch: Stretch = field(default_factory=lambda: Stretch(None))
    # States that were handed out, and where the generator would have stood: they are held, so that none takes an id.
    _states: dict[int, tuple[object, Hashable, int]] = field(default_factory=dict)

    # Generators are held too, for the same reason.
    _own: dict[tuple[int, Hashable], tuple[object, Stretch]] = field(default_factory=dict)

    def drawn(self, number: int) -> None:
        """Note the next draw of the global generator."""
        self.by_draw[number] = self._stretch
        self._stretch.end += 1

    def drawn_by(self, number: int, generator: object, place: int, held: Hashable) -> None:
        """Note the next draw of another generator, which lies at a place and whose state holds something."""
        _, stretch = self._own.setdefault((place, held), (generator, Stretch(held)))
        self.by_draw[number] = stretch
        stretch.end += 1

    def taken(self, state: object, held: Hashable) -> None:
        """Note that a state of the global generator is handed out, and what it holds."""
        self._found(held)
        self._states[id(state)] = state, self._stretch.start, self._stretch.end

    def put(self, before: Hashable, after: Hashable, state: object = None) -> None:
        """Note that the global generator is put somewhere.

        Args:
            before: What its state held.
            after: What it holds now.
            state: By which it was put there; None by a seed.
        """
        self._found(before)
        _, start, place = self._states.get(id(state), (state, after, 0))
        self._stretch = Stretch(start, place, place)

    def _found(self, held: Hashable) -> None:
        """Where the generator stood before it was first put anywhere is looked up only now."""
        if self._stretch.start is None:
            self._stretch.start = held
