"""Alternatives are timed in turns, and the clock sees what each of them does."""

import pytest
import torch

from exnihilo.errors import InvalidValueError
from exnihilo.lab.timing import take_turns


def test_alternatives_take_turns_and_every_second_round_goes_backwards() -> None:
    called: list[str] = []
    take_turns({name: lambda name=name: called.append(name) for name in "abc"}, blocks=2, calls=2)
    assert "".join(called) == "cbaabc" * 3  # a block to warm up, and two that are kept


def test_the_longer_call_takes_the_longer_time() -> None:
    timing = take_turns({"short": lambda: sum(range(1000)), "long": lambda: sum(range(20_000))}, blocks=5, calls=5)
    assert timing.num_blocks == 5
    assert 8 < timing.median("long") / timing.median("short") < 50


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    take_turns({"look": lambda: seen.append(torch.get_num_threads())}, blocks=1, calls=1)
    assert set(seen) == {1} and torch.get_num_threads() == before


@pytest.mark.parametrize("changes", [{"blocks": 0}, {"calls": 0}])
def test_nothing_to_time_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="each must be positive"):
        take_turns({"nothing": lambda: None}, **changes)
    with pytest.raises(InvalidValueError, match="got 0 alternatives"):
        take_turns({})
