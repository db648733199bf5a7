"""What a number of seeds can decide, before any compute is spent: families, looks, and how many more seeds."""

import itertools
import math
from collections.abc import Sequence

from scipy import special

from exnihilo.errors import InvalidValueError
from exnihilo.lab.statistics import EXACT_SEEDS, MAX_SPLITS, check_alpha

MAX_LOOKS = 3

# Extra seeds are planned so that, if the observed mean and spread are true, four of five studies would decide.
POWER = 0.8

# No plan asks for more seeds than this: a difference that needs them is best called undecided.
MAX_SEEDS = 100_000


def smallest_p(n: int) -> float:
    """Smallest two-sided p-value that the sign-flip test of n pairs can give: ``2**(1 - n)``, and no less than 2**-19.

    Example:
        >>> smallest_p(5), smallest_p(6)
        (0.0625, 0.03125)
    """
    if n < 1:
        raise InvalidValueError(f"n is {n}; a paired test needs at least one seed.", fix="smallest_p(6)")
    return 2.0 ** (1 - min(n, EXACT_SEEDS))


def seeds_needed_for_family(family_size: int, alpha: float = 0.05) -> int:
    """Fewest paired seeds with which one of ``family_size`` comparisons can pass Holm's first step.

    Example:
        >>> [seeds_needed_for_family(size) for size in (1, 7, 28, 190)]
        [6, 9, 11, 13]
    """
    _check_family(family_size, alpha)
    needed = next((n for n in range(1, EXACT_SEEDS + 1) if smallest_p(n) <= alpha / family_size), None)
    if needed is None:
        raise InvalidValueError(
            f"A family of {family_size} comparisons at alpha {alpha} is beyond the test's {MAX_SPLITS} splits.",
            context=[f"largest family at this alpha: {math.floor(alpha * MAX_SPLITS)}"],
            fix="compare every start with one baseline instead of all pairs, or split the question into claims",
        )
    return needed


def alpha_spent(looks: Sequence[int], alpha: float = 0.05) -> tuple[float, ...]:
    """The share of ``alpha`` that each look may spend: in proportion to the seeds that are new at it.

    The shares add up to alpha, so by the union bound the looks together make a false verdict with a probability of at
    most alpha, whatever the dependence between them and whatever the distribution. It is the spending function
    ``alpha(t) = alpha * t`` (Lan and DeMets, 1983; Kim and DeMets, 1987, with exponent 1). Boundaries after
    O'Brien and Fleming spend almost nothing early, and an exact test of few seeds cannot reach such levels at all.

    Args:
        looks: Paired seeds at each look, increasing, one to three of them; declared before the first run.
        alpha: For all looks together.

    Example:
        >>> alpha_spent((10,)), alpha_spent((10, 20))
        ((0.05,), (0.025, 0.025))
    """
    _check_family(1, alpha)
    sizes = tuple(looks)
    rising = all(before < after for before, after in itertools.pairwise(sizes))
    if not 1 <= len(sizes) <= MAX_LOOKS or not rising or min(sizes) < 1:
        raise InvalidValueError(
            f"looks are {sizes}; one to {MAX_LOOKS} increasing numbers of seeds are needed.", fix="looks=(10, 20)"
        )
    return tuple(alpha * (n - before) / sizes[-1] for before, n in zip((0, *sizes), sizes, strict=False))


def can_decide(n: int, family_size: int, alpha: float = 0.05, looks: Sequence[int] = ()) -> bool:
    """Whether any outcome of n paired seeds could decide one comparison of the family.

    Args:
        n: Seeds that will exist.
        family_size: Comparisons of the claim.
        alpha: For the whole family, and all looks.
        looks: The declared looks, of which those up to n take place; none means a single look at n.

    Example:
        >>> can_decide(10, 28), can_decide(11, 28)
        (False, True)
        >>> can_decide(11, 28, looks=(11, 22))  # the first look may spend half of alpha only
        False
    """
    _check_family(family_size, alpha)
    sizes = tuple(looks) or (n,)
    spent = zip(sizes, alpha_spent(sizes, alpha), strict=True)
    return any(size <= n and smallest_p(size) <= share / family_size for size, share in spent)


def seeds_to_see(mean: float, spread: float, alpha: float) -> int | None:
    """Fewest seeds with which a positive mean is told from zero with a power of 0.8, by the t law; None beyond reach.

    Never fewer than the exact test needs to reach ``alpha`` at all, which is the answer where the spread is zero.

    Args:
        mean, spread: Mean and standard deviation of the paired differences, taken as true.
        alpha: Two-sided level, after all corrections.

    Example:
        >>> seeds_to_see(mean=0.5, spread=1.0, alpha=0.05), seeds_to_see(mean=0.0, spread=1.0, alpha=0.05)
        (34, None)
    """
    if mean <= 0.0:
        return None
    effect = mean / spread if spread > 0.0 else math.inf

    def suffices(n: int) -> bool:
        quantiles = special.stdtrit(n - 1, 1.0 - alpha / 2) + special.stdtrit(n - 1, POWER)
        return smallest_p(n) <= alpha and effect * math.sqrt(n) >= quantiles

    if not suffices(MAX_SEEDS):
        return None
    low, high = 1, MAX_SEEDS  # one seed never suffices
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _check_family(family_size: int, alpha: float) -> None:
    if family_size < 1:
        raise InvalidValueError(
            f"family_size is {family_size}; a claim compares at least one pair.", fix="seeds_needed_for_family(7)"
        )
    check_alpha(alpha)
