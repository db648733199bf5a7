"""Products of scalars under gradient descent, many at once: how long each takes to escape (Shamir, 2019)."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from exnihilo.claims.presets import Preset
from exnihilo.fills import Key, normal, uniform
from exnihilo.lab.study import judging_seed

DEPTHS = tuple(range(2, 17, 2))
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
STANDARD, NEAR_ONE = "N(0, 1)", "N(1, 0.01)"
# Far from the target both starts have a loss of about 1: a product of 0 with a target of ±1, one of 1 with a target of
# 2. Escaped is what has lost half of that.
ESCAPED = 0.5
BUDGET_PER_STEP = 100
RESAMPLES = 1000
_CHAINS_PER_SEED = 32
_DIVERGED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Escapes:
    """How long the chains of one depth took.

    Args:
        start: ``STANDARD`` or ``NEAR_ONE``.
        depth: Factors of the product.
        steps: By rate: the first step of each chain with a loss below ``ESCAPED``; ``budget + 1`` where there is none.
        budget: Steps that were made.
        resampled: The medians of resampled chains, each at its best rate: what the intervals are made of.
    """

    start: str
    depth: int
    steps: Mapping[float, tuple[int, ...]]
    budget: int
    resampled: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The rate with the lowest median; of several, the lowest."""
        return min(self.steps, key=lambda lr: (median(self.steps[lr]), lr))

    @property
    def best(self) -> tuple[int, ...]:
        """The chains at that rate."""
        return self.steps[self.rate]


def measure(preset: Preset, seed: int) -> tuple[Escapes, ...]:
    """Gradient descent on ``(w_1 ... w_k - y)²`` from both starts, at every depth and rate."""
    chains, budget = _CHAINS_PER_SEED * preset.model_seeds, BUDGET_PER_STEP * preset.steps
    return tuple(
        _escapes(start, depth, chains, budget, judging_seed(seed, 0))
        for start, depth in itertools.product((STANDARD, NEAR_ONE), DEPTHS)
    )


def _escapes(start: str, depth: int, chains: int, budget: int, seed: int) -> Escapes:
    drawn = normal(Key(seed, f"{start}/{depth}"), chains * depth).view(chains, depth).double()
    signs = torch.ones(chains, dtype=torch.float64)
    signs[::2] = -1.0
    weights, targets = (drawn, signs) if start == STANDARD else (1.0 + 0.1 * drawn, torch.full_like(signs, 2.0))
    lrs = torch.tensor(RATES, dtype=torch.float64).repeat_interleave(chains)
    every = steps_to_escape(weights.repeat(len(RATES), 1), targets.repeat(len(RATES)), lrs, budget)
    steps = every.view(len(RATES), chains)
    picked = (uniform(Key(seed, f"resampled/{start}/{depth}"), RESAMPLES * chains) * chains).long()
    medians = steps[:, picked.view(RESAMPLES, chains)].quantile(0.5, dim=2).amin(0)
    return Escapes(
        start=start,
        depth=depth,
        steps={lr: tuple(map(int, of.tolist())) for lr, of in zip(RATES, steps, strict=True)},
        budget=budget,
        resampled=tuple(medians.tolist()),
    )


def steps_to_escape(weights: Tensor, targets: Tensor, lrs: Tensor, budget: int) -> Tensor:
    """The first step at which each chain's loss is below ``ESCAPED``, as float64; ``budget + 1`` where there is none.

    Args:
        weights: float64 [chains, depth].
        targets: float64 [chains].
        lrs: float64 [chains]; the rate of each.
        budget: Steps to make.
    """
    found = torch.full((len(weights),), budget + 1.0, dtype=torch.float64)
    left = torch.arange(len(weights))
    for step in range(budget + 1):
        up_to, from_there = weights.cumprod(1), weights.flip(1).cumprod(1).flip(1)
        apart = up_to[:, -1] - targets
        escaped = apart.square() < ESCAPED
        found[left[escaped]] = step
        running = ~escaped & (weights.abs().amax(1) < _DIVERGED)  # what diverged never escapes
        if not bool(running.all()):
            left, weights, targets, lrs, apart = (of[running] for of in (left, weights, targets, lrs, apart))
            up_to, from_there = up_to[running], from_there[running]
        if not len(left):
            break
        before = torch.cat([torch.ones_like(up_to[:, :1]), up_to[:, :-1]], 1)
        behind = torch.cat([from_there[:, 1:], torch.ones_like(up_to[:, :1])], 1)
        weights = weights - (2.0 * lrs * apart)[:, None] * before * behind
    return found
