"""What is drawn has its law: each statistic stays within 5 sigma, and leaves them when the law is a little wrong.

A score is a standard normal number where the law is right, so that a right law fails one test in two million. Every
statistic is shown a damaged draw too, whose ``effect`` is the least that it is promised to find: 16 sigma of its own,
such as a mean of 0.002 or a variance of 1.0028 among 2**26 normals (quick: 2**20, where the effects are 8 times that).
Keys are fixed: a run is red or green for good.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from exnihilo.fills import Box, Key, Law, bits, normals, values

LIMIT = 5.0
CHUNK = 2**20
SIZES = [pytest.param(2**20, id="2**20"), pytest.param(2**26, id="2**26", marks=pytest.mark.slow)]
LAGS = [1, 16, 31, 32, 33, 64]
BINS = 1024

Damage = Callable[[Tensor], Tensor]


def same(z: Tensor) -> Tensor:
    return z


def chunks(law: Law, n: int, damage: Damage = same) -> Iterator[Tensor]:
    """Elements 0 to n in float64, some at a time: a chunk is a whole number of tiles."""
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        yield damage(values(law, Key(0, "law"), Box((n,), (start,), (size,))).double())


def pairs(z: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves of each tile: what Box-Muller made of the same two words."""
    tiles = z.view(-1, 2, 32)
    return tiles[:, 0], tiles[:, 1]


def binomial_score(count: int, n: int, p: float) -> float:
    """How many sigma a count is off, by its exact two-sided probability."""
    low, high = stats.binom.cdf(count, n, p), stats.binom.sf(count - 1, n, p)
    return float(stats.norm.isf(max(min(low, high), 1e-300)))


def bin_scores(counts: Tensor) -> dict[str, float]:
    """Of counts in bins of equal probability: chi-square, and Kolmogorov and Smirnov's distance at their borders."""
    counts, n = counts.double(), float(counts.sum())
    expected = n / len(counts)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    distance = float((counts.cumsum(0) / n - torch.arange(1, len(counts) + 1) / len(counts)).abs().max())
    return {
        "chi_square": float(stats.norm.isf(max(stats.chi2.sf(chi_square, len(counts) - 1), 1e-300))),
        "distance": float(stats.norm.isf(max(stats.kstwobign.sf(distance * math.sqrt(n)), 1e-300))),
    }


def binned(shares: Iterator[Tensor], bins: int = BINS) -> Tensor:
    """How many of some shares in [0, 1] lie in each of as many equal bins."""
    counts = torch.zeros(bins, dtype=torch.int64)
    for share in shares:
        counts += torch.bincount((share * bins).long().clamp_(0, bins - 1), minlength=bins)
    return counts


# --- sums of terms of mean 0 and variance 1 ---------------------------------------------------------------------------


def second(z: Tensor) -> Tensor:
    """Hermite's polynomials are uncorrelated: each sees its own moment alone."""
    return (z**2 - 1) / math.sqrt(2)


def third(z: Tensor) -> Tensor:
    return (z**3 - 3 * z) / math.sqrt(6)


def fourth(z: Tensor) -> Tensor:
    return (z**4 - 6 * z**2 + 3) / math.sqrt(24)


def lagged(lag: int, of: Damage) -> Damage:
    def terms(z: Tensor) -> Tensor:
        term = of(z)
        return term[:-lag] * term[lag:]

    return terms


def paired(first: Damage, other: Damage) -> Damage:
    def terms(z: Tensor) -> Tensor:
        left, right = pairs(z)
        return first(left) * other(right)

    return terms


def moved_by(lag: int, effect: float) -> Damage:
    """A little of each element is another one, ``lag`` further on."""
    return lambda z: z + effect * z.roll(-lag)


def widened_by(lag: int, effect: float) -> Damage:
    """Each element is wider where another one, ``lag`` further on, is large."""
    return lambda z: z * (1 + effect / math.sqrt(2) * second(z.roll(-lag)))


def in_pairs(change: Callable[[Tensor, Tensor], Tensor]) -> Damage:
    """The second of each pair, changed by the first."""

    def damage(z: Tensor) -> Tensor:
        left, right = pairs(z)
        return torch.stack((left, change(left, right)), dim=1).flatten()

    return damage


# The terms, and a damage by an effect that the terms' mean shows in full.
SUMS: dict[str, tuple[Damage, Callable[[float], Damage]]] = {
    "mean": (same, lambda effect: lambda z: z + effect),
    "variance": (second, lambda effect: lambda z: z * (1 + effect / math.sqrt(2))),
    "skewness": (third, lambda effect: lambda z: z + effect / math.sqrt(6) * (z**2 - 1)),
    "kurtosis": (fourth, lambda effect: lambda z: z + effect / math.sqrt(24) * (z**3 - 3 * z)),
    **{f"lag_{lag}": (lagged(lag, same), lambda effect, lag=lag: moved_by(lag, effect)) for lag in LAGS},
    **{f"squares_lag_{lag}": (lagged(lag, second), lambda effect, lag=lag: widened_by(lag, effect)) for lag in LAGS},
    "pairs": (paired(same, same), lambda effect: in_pairs(lambda a, b: b + effect * math.sqrt(2) * a)),
    "squares_of_pairs": (paired(second, second), lambda effect: in_pairs(lambda a, b: b * (1 + effect * second(a)))),
    "pairs_second_by_first": (paired(second, same), lambda effect: in_pairs(lambda a, b: b + 1.5 * effect * second(a))),
    "pairs_first_by_second": (paired(same, second), lambda effect: in_pairs(lambda a, b: b * (1 + 1.5 * effect * a))),
    "cubes_of_pairs": (paired(third, third), lambda effect: in_pairs(lambda a, b: b + effect * third(a) * second(b))),
}


def sum_score(terms: Damage, n: int, damage: Damage = same) -> float:
    total, count = 0.0, 0
    for z in chunks(Law.normal(), n, damage):
        term = terms(z)
        total, count = total + float(term.sum()), count + term.numel()
    return total / math.sqrt(count)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", SUMS)
def test_normals_have_the_moments_and_independence_of_their_law(name: str, n: int) -> None:
    assert abs(sum_score(SUMS[name][0], n)) < LIMIT


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", SUMS)
def test_a_moment_or_dependence_that_is_wrong_is_seen(name: str, n: int) -> None:
    terms, damaged_by = SUMS[name]
    assert abs(sum_score(terms, n, damaged_by(16 / math.sqrt(n)))) > LIMIT


@pytest.mark.slow
def test_a_variance_that_is_off_by_a_thousandth_is_seen() -> None:
    """11.6 sigma of 2**28 normals."""
    assert abs(sum_score(second, 2**28)) < LIMIT
    assert sum_score(second, 2**28, lambda z: z * math.sqrt(1.001)) > LIMIT


# --- tails and the whole law ------------------------------------------------------------------------------------------


def beyond_score(far: float, n: int, damage: Damage = same) -> float:
    count = sum(int((z.abs() > far).sum()) for z in chunks(Law.normal(), n, damage))
    return binomial_score(count, n, 2 * stats.norm.sf(far))


def swollen(far: float, effect: float) -> Damage:
    """What lies beyond ``far`` is more by a share."""
    nearer = stats.norm.isf(stats.norm.sf(far) * (1 + effect))
    return lambda z: torch.where(z.abs() > far - 1, z * (far / nearer), z)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("far", [3.0, 4.0, 5.0])
def test_tails_are_as_heavy_as_the_law_has_them_and_no_heavier(far: float, n: int) -> None:
    """16 sigma are a tail beyond 4 of a quarter more, among 2**26; beyond 5, of three and a half times as much."""
    assert beyond_score(far, n) < LIMIT
    assert beyond_score(far, n, swollen(far, 16 / math.sqrt(n * 2 * stats.norm.sf(far)))) > LIMIT


@pytest.mark.slow
def test_a_tail_that_ends_too_early_is_seen() -> None:
    """As it does where the radius has 16 bits: nothing lies beyond 4.71. Ours go on to 6.66."""
    assert beyond_score(5.0, 2**26, lambda z: z.clamp(-4.71, 4.71)) > LIMIT
    assert max(float(z.abs().max()) for z in chunks(Law.normal(), 2**26)) > 5.5


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("chi_square", lambda z: z.half().double()),  # 11 bits
        ("chi_square", lambda z: torch.where(z.abs() < 0.01, z.abs(), z)),  # one per cent has one sign
        ("distance", lambda z: z + 10 / 2**10),
        ("distance", lambda z: z * 1.03),
    ],
)
def test_normals_fill_bins_of_equal_probability_equally(name: str, damage: Damage, n: int) -> None:
    assert all(score < LIMIT for score in bin_scores(normal_bins(n)).values())
    assert bin_scores(normal_bins(n, damage))[name] > LIMIT


def normal_bins(n: int, damage: Damage = same) -> Tensor:
    return binned(mass_below(z) for z in chunks(Law.normal(), n, damage))


TRUNCATED = [(-2.0, 2.0), (-0.5, 3.0), (-4.0, 5.0), (-math.inf, 6.0), (10.0, 11.0), (-math.inf, -4.0)]


def cut_share(z: Tensor, lower: float, upper: float) -> Tensor:
    """The share of the mass between the bounds that lies below z; from the side where no digit is lost."""
    if lower > 0.0:
        return 1 - cut_share(-z, -upper, -lower)
    below, above = (mass_below(torch.tensor(bound, dtype=torch.float64)) for bound in (lower, upper))
    return (mass_below(z) - below) / (above - below)


def mass_below(z: Tensor) -> Tensor:
    """Of a standard normal number, also in the far tail, where torch.special.ndtr is 0."""
    return torch.special.erfc(-z / math.sqrt(2)) / 2


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("lower", "upper"), TRUNCATED)
def test_truncated_normals_have_the_law_between_their_bounds(lower: float, upper: float, n: int) -> None:
    """A share u that is drawn as u**(1 + effect) is seen from an effect of 16 / sqrt(n) on.

    In 64 bins: of 1024, the borders lie closer than float32 tells shares apart at 10 sigma, by 1e-5.
    """
    law = Law.truncated_normal(lower=lower, upper=upper)

    def counted(damage: Damage) -> dict[str, float]:
        return bin_scores(binned((damage(cut_share(z, lower, upper)) for z in chunks(law, n)), bins=64))

    assert all(score < LIMIT for score in counted(same).values())
    assert counted(lambda u: u ** (1 + 16 / math.sqrt(n)))["distance"] > LIMIT


def test_no_mass_lies_at_the_bounds() -> None:
    """Where values are cut off instead, five per cent do."""
    for lower, upper in ((-2.0, 2.0), (-4.0, 5.0), (10.0, 11.0)):
        drawn = values(Law.truncated_normal(lower=lower, upper=upper), Key(0, "law"), Box.whole((2**20,)))
        assert int(((drawn == lower) | (drawn == upper)).sum()) <= 2


# --- words and uniforms -----------------------------------------------------------------------------------------------


def words(n: int, start: int = 0) -> np.ndarray:
    return bits(Key(0, "law"), n, start=start)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("place", range(4))
def test_every_byte_of_the_words_takes_all_its_values_equally(place: int, n: int) -> None:
    """A bit that is set more often, by a share of 16 sigma, is seen."""
    counts, damaged = torch.zeros(256, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
    for start in range(0, n, CHUNK):
        byte = torch.from_numpy((words(CHUNK, start) >> np.uint32(8 * place)).astype(np.uint8)).long()
        counts += torch.bincount(byte, minlength=256)
        byte[:: int(math.sqrt(n) / 16)] |= 4
        damaged += torch.bincount(byte, minlength=256)
    assert bin_scores(counts)["chi_square"] < LIMIT
    assert bin_scores(damaged)["chi_square"] > LIMIT


@pytest.mark.parametrize("n", SIZES)
def test_neighboring_bytes_take_all_pairs_of_values_equally(n: int) -> None:
    counts, damaged = torch.zeros(2**16, dtype=torch.int64), torch.zeros(2**16, dtype=torch.int64)
    for start in range(0, n, CHUNK):
        low = torch.from_numpy((words(CHUNK, start) & np.uint32(0xFF)).astype(np.int64))
        counts += torch.bincount(low[0::2] << 8 | low[1::2], minlength=2**16)
        low[1 :: 2 * int(math.sqrt(n) / 64)] = low[0 :: 2 * int(math.sqrt(n) / 64)]
        damaged += torch.bincount(low[0::2] << 8 | low[1::2], minlength=2**16)
    assert bin_scores(counts)["chi_square"] < LIMIT
    assert bin_scores(damaged)["chi_square"] > LIMIT


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("place", [0, 8])
def test_uniforms_have_24_good_bits(place: int, n: int) -> None:
    """The upper 8 are those of the words; uniforms of float16 have 11, and are found out by the rest."""

    def scores(damage: Damage) -> dict[str, float]:
        counts = torch.zeros(256, dtype=torch.int64)
        for u in chunks(Law.uniform(), n, damage):
            counts += torch.bincount(u.mul(2.0**24).long() >> place & 255, minlength=256)
        return bin_scores(counts)

    assert all(score < LIMIT for score in scores(same).values())
    assert scores(lambda u: u.half().double().clamp(max=1 - 2.0**-11))["chi_square"] > LIMIT


@pytest.mark.parametrize("n", SIZES)
def test_rademacher_signs_are_balanced(n: int) -> None:
    def score(damage: Damage) -> float:
        return binomial_score(sum(int((z > 0).sum()) for z in chunks(Law.rademacher(0.5), n, damage)), n, 0.5)

    assert {abs(value) for value in next(chunks(Law.rademacher(0.5), 1024)).tolist()} == {0.5}
    assert score(same) < LIMIT
    every = int(math.sqrt(n) / 16)
    assert score(lambda z: torch.where(torch.arange(len(z)) % every == 0, 0.5, z)) > LIMIT


# --- keys -------------------------------------------------------------------------------------------------------------

NEIGHBORS = [
    Key(seed, name) for seed in (0, 1, 2, 2**62) for name in ("w", "W", "w0", "w1", "w10", "w/noise", "ww", "")
]


@pytest.mark.parametrize("n", [2**16, pytest.param(2**21, marks=pytest.mark.slow)])
def test_near_seeds_and_names_draw_independently(n: int) -> None:
    """All 496 pairs of 32 keys, values and squares: within 6 sigma; a correlation of 16 sigma is seen."""
    rows = normals(NEIGHBORS, n).double()

    def largest(rows: Tensor) -> float:
        products = rows @ rows.T / math.sqrt(n)
        return float(products.fill_diagonal_(0.0).abs().max())

    for of in (same, second):
        assert largest(of(rows)) < 6
    assert largest(rows + 16 / math.sqrt(n) * rows.roll(1, dims=0)) > 6


@pytest.mark.parametrize("n", [2**16, pytest.param(2**21, marks=pytest.mark.slow)])
def test_words_of_neighboring_keys_differ_in_half_of_their_bits(n: int) -> None:
    for left, right in itertools.pairwise(NEIGHBORS):
        differing = int(np.unpackbits((bits(left, n) ^ bits(right, n)).view(np.uint8)).sum(dtype=np.int64))
        assert binomial_score(differing, 32 * n, 0.5) < LIMIT


def test_a_derived_key_draws_independently_of_its_own() -> None:
    own, derived = normals([Key(0, "w"), Key(0, "w").derive("noise")], 2**20).double()
    assert abs(float(own @ derived)) / 2**10 < LIMIT
