"""Runs done, runs per second and time left, on standard error: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from exnihilo.lab.driver import Progress

SECONDS_BETWEEN_LINES = 10.0
# The first runs wait for the worker processes to start: before this share is trained, their speed foretells nothing.
TELLING_SHARE = 0.02


def progress_text(progress: Progress, expected: int) -> str:
    """Speed and time left, such as ``52 runs/s, about 3 min left``.

    Args:
        progress: From the driver.
        expected: Runs that are expected in all, found ones included; what is known to wait may exceed it.

    Example:
        >>> progress_text(Progress(num_trained=100, num_found=20, num_waiting=60, seconds=10.0), expected=420)
        '10 runs/s, about 30 s left'
    """
    if not progress.num_trained:
        return "starting"
    rate = progress.num_trained / max(progress.seconds, 1e-9)
    speed = f"{rate:.{0 if rate >= 10 else 1}f} runs/s"
    num_left = total_of(progress, expected) - progress.num_found - progress.num_trained
    if progress.num_trained < TELLING_SHARE * num_left:
        return speed
    return f"{speed}, about {time_shown(num_left / rate)} left"


def total_of(progress: Progress, expected: int) -> int:
    """Runs in all, as far as is known; a study that is done early needs fewer."""
    known = progress.num_found + progress.num_trained + progress.num_waiting
    return max(known, expected) if progress.num_waiting else known


def time_shown(seconds: float) -> str:
    """A time in the largest unit that tells enough.

    Example:
        >>> [time_shown(seconds) for seconds in (0.4, 42.0, 200.0, 9000.0)]
        ['1 s', '42 s', '3 min', '2.5 h']
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Where progress is shown, and what is said meanwhile.

    Args:
        show: Takes the driver's progress.
        say: Prints above the bar.
    """

    show: Callable[[Progress], None]
    say: Callable[[RenderableType], None]


@contextmanager
def progress_shown(expected: int) -> Generator[Display]:
    """Show progress while the block runs.

    Args:
        expected: Runs that are expected in all.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Display(show=_lines(console, expected), say=partial(console.print, no_wrap=True, overflow="ellipsis"))
        return
    columns = (TextColumn("runs"), BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=expected)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.num_found + progress.num_trained,
                total=total_of(progress, expected),
                description=progress_text(progress, expected),
            )

        yield Display(show=show, say=partial(bar.console.print, no_wrap=True, overflow="ellipsis"))


def _lines(console: Console, expected: int) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            done = progress.num_found + progress.num_trained
            counted = f"{done:,} of about {total_of(progress, expected):,} runs"
            console.print(f"{counted}, {progress_text(progress, expected)}", highlight=False)

    return show
