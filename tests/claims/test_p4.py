"""The verdict on P4 follows how the medians grow with depth."""

import math

import pytest
import torch
from worlds import SMALL

from exnihilo.claims.claim import Found
from exnihilo.claims.published.chains import DEPTHS, NEAR_ONE, STANDARD, Escapes, measure, steps_to_escape
from exnihilo.claims.published.escape_time import CLAIM

BUDGET = 100_000


def escapes(start, depth, steps, *, apart=0.02):
    """Chains around a median, and resampled medians a little apart from it, up and down."""
    chains = tuple(min(max(round(steps * factor), 0), BUDGET + 1) for factor in (0.5, 1.0, 1.0, 1.0, 2.0))
    resampled = tuple(steps * math.exp(apart * math.sin(13 * index + 78 * depth * index)) for index in range(40))
    steps_at = {0.1: chains, 0.3: (BUDGET + 1,) * 5}
    return Escapes(start=start, depth=depth, steps=steps_at, budget=BUDGET, resampled=resampled)


def answer(law, near=lambda depth: 5, **changes):
    outcome = (
        *(escapes(STANDARD, depth, law(depth), **changes) for depth in DEPTHS),
        *(escapes(NEAR_ONE, depth, near(depth)) for depth in DEPTHS),
    )
    return CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=outcome))


def says(found):
    return {cell.where: cell.supports for cell in found.evidence.cells}


def test_exponential_growth_supports_the_claim() -> None:
    found = answer(lambda depth: 10 * math.exp(0.5 * depth))
    assert found.verdict == "supported"
    assert "1.65 times a layer" in found.finding
    assert found.n == 2 * len(DEPTHS) * 2 * 5


def test_a_power_law_refutes_the_exponential_one_alone() -> None:
    found = answer(lambda depth: 10 * depth**3)
    assert found.verdict == "depends"
    assert says(found) == {
        "longer with each depth": True,
        "slope": True,
        "exponential against a power": False,
        "near one": True,
    }


def test_times_that_fall_refute_it() -> None:
    found = answer(lambda depth: 1e5 * math.exp(-0.5 * depth), near=lambda depth: depth)
    assert says(found)["longer with each depth"] is says(found)["slope"] is says(found)["near one"] is False


def test_times_that_do_not_grow_leave_it_open() -> None:
    seen = says(answer(lambda depth: 100 + depth % 4, near=lambda depth: 5, apart=0.5))
    assert seen.pop("near one") is True
    assert set(seen.values()) == {None}


def test_times_that_stay_the_same_do_not_grow() -> None:
    assert says(answer(lambda depth: 100))["longer with each depth"] is False


def test_growth_from_near_one_too_refutes_that_it_is_the_start() -> None:
    found = answer(lambda depth: 10 * math.exp(0.5 * depth), near=lambda depth: 5 * depth)
    assert found.verdict == "depends"
    assert "near one refutes it" in (found.factor or "")


def test_chains_that_never_escape_are_told_as_more_than_the_budget() -> None:
    found = answer(lambda depth: 10.0 ** (depth / 2))
    assert "after more than 100000 at depth 16" in found.finding
    assert found.verdict == "supported"


def test_steps_agree_with_a_loop_over_autograd() -> None:
    torch.manual_seed(0)
    weights, targets = torch.randn(20, 3, dtype=torch.float64), torch.ones(20, dtype=torch.float64)
    lrs = torch.where(torch.arange(20) < 10, 0.1, 0.01).double()
    for start, target, lr, found in zip(weights, targets, lrs, steps_to_escape(weights, targets, lrs, 50), strict=True):
        w, expected = start.clone(), 51
        for step in range(51):
            loss = (w.requires_grad_().prod() - target) ** 2
            if loss < 0.5:
                expected = step
                break
            w = (w - lr * torch.autograd.grad(loss, w)[0]).detach()
        assert found == expected


def test_a_chain_that_diverges_never_escapes() -> None:
    one = torch.tensor([[3.0, 3.0, 3.0]], dtype=torch.float64)
    rate = torch.ones(1, dtype=torch.float64)
    assert steps_to_escape(one, rate, rate, 30).tolist() == [31.0]


@pytest.fixture(scope="module")
def measured():
    return {seed: measure(SMALL, seed) for seed in (0, 1)}


def test_what_is_measured_has_every_depth_and_is_drawn_by_the_seed(measured) -> None:
    assert [of.depth for of in measured[0]] == [*DEPTHS, *DEPTHS]
    assert [of.steps for of in measured[0]] != [of.steps for of in measured[1]]


def test_a_few_chains_tell_already_that_the_time_grows(measured) -> None:
    found = CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=measured[0]))
    assert says(found)["slope"] is True
