"""Where the numbers come from: one draw of torch's generator, or a key and nothing else."""

import random
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key

init = xn.init
Draw = Callable[..., Tensor]
DRAWS: dict[str, tuple[Draw, tuple[int, ...]]] = {
    "uniform_": (init.uniform_, (16, 16)),
    "normal_": (init.normal_, (16, 16)),
    "trunc_normal_": (init.trunc_normal_, (16, 16)),
    "truncated_normal_": (init.truncated_normal_, (16, 16)),
    "rademacher_": (init.rademacher_, (16, 16)),
    "xavier_uniform_": (init.xavier_uniform_, (16, 16)),
    "xavier_normal_": (init.xavier_normal_, (16, 16)),
    "kaiming_uniform_": (init.kaiming_uniform_, (16, 16)),
    "kaiming_normal_": (init.kaiming_normal_, (16, 16)),
    "lecun_uniform_": (init.lecun_uniform_, (16, 16)),
    "lecun_normal_": (init.lecun_normal_, (16, 16)),
    "variance_scaling_": (init.variance_scaling_, (16, 16)),
    "orthogonal_": (init.orthogonal_, (16, 16)),
    "delta_orthogonal_": (init.delta_orthogonal_, (8, 8, 3)),
    "sparse_": (lambda w, **source: init.sparse_(w, 0.5, **source), (16, 16)),
}
PATTERNS: dict[str, Callable[[Tensor], Tensor]] = {
    "constant_": lambda w: init.constant_(w, 0.5),
    "ones_": init.ones_,
    "zeros_": init.zeros_,
    "eye_": init.eye_,
    "identity_": init.identity_,
    "repeated_identity_": init.repeated_identity_,
    "hadamard_": init.hadamard_,
    "dirac_": lambda w: init.dirac_(w.unsqueeze(-1)),
}


def states() -> list[object]:
    return [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002  # compared


def one_seed(generator: torch.Generator | None = None) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


@pytest.mark.parametrize("name", DRAWS)
def test_without_a_key_the_default_generator_advances_by_one_draw_and_its_number_is_the_seed(name: str) -> None:
    draw, shape = DRAWS[name]
    with torch.random.fork_rng():
        torch.manual_seed(11)
        drawn = draw(torch.empty(shape))
        after = torch.get_rng_state()
        torch.manual_seed(11)
        seed = one_seed()
        assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(drawn, draw(torch.empty(shape), key=Key(seed, "")))


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_advances_by_one_draw_and_the_default_one_stays(name: str) -> None:
    draw, shape = DRAWS[name]
    before = states()
    ours, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    drawn = draw(torch.empty(shape), generator=ours)
    seed = one_seed(theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())
    assert torch.equal(drawn, draw(torch.empty(shape), key=Key(seed, "")))
    assert not torch.equal(drawn, draw(torch.empty(shape), generator=ours))
    assert states() == before


@pytest.mark.parametrize("name", DRAWS)
def test_with_a_key_no_state_moves_and_the_key_alone_decides(name: str) -> None:
    draw, shape = DRAWS[name]
    before = states()
    drawn = draw(torch.empty(shape), key=Key(1, "a"))
    assert torch.equal(drawn, draw(torch.empty(shape), key=Key(1, "a")))
    assert not torch.equal(drawn, draw(torch.empty(shape), key=Key(1, "b")))
    assert states() == before


@pytest.mark.parametrize("name", PATTERNS)
def test_what_is_not_random_draws_nothing(name: str) -> None:
    before = states()
    PATTERNS[name](torch.empty(8, 8))
    assert states() == before


@pytest.mark.parametrize("name", DRAWS)
def test_where_nothing_can_be_written_nothing_is_drawn(name: str) -> None:
    draw, shape = DRAWS[name]
    before = states()
    draw(torch.empty(shape, device="meta"))
    if name not in ("kaiming_uniform_", "kaiming_normal_"):
        draw(torch.empty(0, *shape[1:]))
    assert states() == before


@pytest.mark.parametrize("name", DRAWS)
def test_a_key_and_a_generator_at_once_are_refused(name: str) -> None:
    draw, shape = DRAWS[name]
    tensor, generator = torch.zeros(shape), torch.Generator()
    before = generator.get_state()
    with pytest.raises(InvalidValueError, match="Both key and generator were given"):
        draw(tensor, key=Key(0, "w"), generator=generator)
    assert not tensor.any()
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", DRAWS)
def test_a_key_that_is_none_is_refused(name: str) -> None:
    draw, shape = DRAWS[name]
    with pytest.raises(InvalidValueError, match="key is 3 of type int; it must be a Key"):
        draw(torch.zeros(shape), key=3)


def test_a_key_is_no_positional_argument() -> None:
    with pytest.raises(TypeError, match="positional"):
        init.normal_(torch.zeros(3), 0.0, 1.0, None, Key(0, "w"))  # pyright: ignore[reportCallIssue]


def test_manual_seed_makes_a_module_the_same_twice() -> None:
    def built() -> list[Tensor]:
        torch.manual_seed(7)
        return [init.kaiming_uniform_(nn.Linear(8, 8).weight.detach()) for _ in range(2)]

    with torch.random.fork_rng():
        first, second = built(), built()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(*first)


def test_threads_with_generators_of_their_own_do_not_meet() -> None:
    def draws(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return [init.normal_(torch.empty(1), generator=generator).item() for _ in range(4000)]

    alone = [draws(seed) for seed in range(4)]
    together: dict[int, list[float]] = {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: draws(s)})) for s in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they would meet if they could
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [together[seed] for seed in range(4)] == alone


def test_the_first_draw_may_happen_in_inference_mode() -> None:
    def first() -> None:
        with torch.inference_mode():
            init.normal_(torch.empty(4), generator=torch.Generator())
        init.normal_(torch.empty(4), generator=torch.Generator())
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=first)  # a thread that never drew
    thread.start()
    thread.join()
    assert done == [True]
