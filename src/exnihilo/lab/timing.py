"""CPU time of alternatives, taken in turns, so that what slows the machine down slows all of them alike."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

from exnihilo.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """CPU seconds of one call, by alternative: one number a block, blocks in order."""

    seconds: Mapping[str, tuple[float, ...]]

    @property
    def num_blocks(self) -> int:
        """Blocks, each of which holds every alternative once."""
        return len(next(iter(self.seconds.values())))

    def median(self, name: str) -> float:
        """Median over the blocks."""
        return median(self.seconds[name])


def take_turns(alternatives: Mapping[str, Callable[[], object]], *, blocks: int = 40, calls: int = 20) -> Timing:
    """Time alternatives against each other on one thread.

    Rule:
        A round calls each alternative once, A B C; the next one goes backwards, C B A, so that a drift of the machine
        cancels out. A block is ``calls`` rounds, and its number is the fastest call of each alternative: what else the
        machine does only ever adds, and the fastest scatters less than the median. A first block warms up and is not
        kept. The clock is the CPU time of this process: other processes do not count.

    Args:
        alternatives: What is called, by name; at least one.
        blocks: Blocks that are kept, at least 1.
        calls: Calls of each alternative in a block, at least 1.

    Raises:
        InvalidValueError: Nothing to call, or a number below 1.

    Example:
        >>> timing = take_turns({"nothing": lambda: None, "sum": lambda: sum(range(9999))}, blocks=3, calls=5)
        >>> timing.num_blocks, timing.median("sum") > timing.median("nothing")
        (3, True)
    """
    if not alternatives or blocks < 1 or calls < 1:
        raise InvalidValueError(
            f"take_turns got {len(alternatives)} alternatives, {blocks} blocks and {calls} calls; each must be "
            "positive.",
            fix='take_turns({"zero": step}, blocks=40, calls=20)',
        )
    with _one_thread():
        _block(alternatives, calls)
        timed = [_block(alternatives, calls) for _ in range(blocks)]
    return Timing(seconds={name: tuple(block[name] for block in timed) for name in alternatives})


def _block(alternatives: Mapping[str, Callable[[], object]], calls: int) -> dict[str, float]:
    """CPU seconds of the fastest call of each alternative."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    order = list(alternatives.items())
    for round_number in range(calls):
        for name, call in order if round_number % 2 else reversed(order):
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    return {name: min(values) for name, values in seconds.items()}


@contextmanager
def _one_thread() -> Generator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
