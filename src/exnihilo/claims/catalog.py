"""Every claim: the article's in its order, then what papers found."""

from collections.abc import Iterable

from exnihilo.claims import (
    c1,
    c2,
    c3,
    c4,
    d1,
    d2,
    d3,
    d4,
    d5,
    d6,
    d7,
    f1,
    k1,
    m1,
    m2,
    m3,
    m4,
    t1,
    t2,
    t3,
    t4,
    t5,
    t6,
    t7,
)
from exnihilo.claims.claim import Claim
from exnihilo.claims.published import (
    adaln_chain,
    attention_outputs,
    deepnorm,
    delta_orthogonal,
    escape_time,
    fixup,
    he_depth,
    lora_zeros,
    mup_coordinates,
    orthogonal_linear,
    rezero,
    skipinit,
    trainable_depth,
)
from exnihilo.errors import UnknownNameError

_DEFINITIONS = (d1, d2, d3, d4, d5, d6, d7)
_COMPARISON = (c1, c2, c3, c4)
_MISCONCEPTIONS = (m1, m2, m3, m4)
_TABLES = (t1, t2, t3, t4, t5, t6, t7)

CLAIMS: tuple[Claim, ...] = tuple(
    module.CLAIM for module in (*_DEFINITIONS, *_COMPARISON, *_MISCONCEPTIONS, *_TABLES, k1, f1)
)
PUBLISHED: tuple[Claim, ...] = tuple(
    module.CLAIM
    for module in (
        he_depth,
        trainable_depth,
        orthogonal_linear,
        escape_time,
        rezero,
        fixup,
        skipinit,
        delta_orthogonal,
        deepnorm,
        mup_coordinates,
        lora_zeros,
        adaln_chain,
        attention_outputs,
    )
)
SETS = ("article", "published")


def every_claim() -> tuple[Claim, ...]:
    """All claims of all sets, in the order of the page."""
    return (*CLAIMS, *PUBLISHED)


def claims_in(name: str) -> tuple[Claim, ...]:
    """The claims of a set.

    Raises:
        UnknownNameError: There is no such set.

    Example:
        >>> claims_in("published")[0].id
        'P1'
    """
    if name not in SETS:
        raise UnknownNameError.of("set of claims", name, SETS, plural="sets")
    return CLAIMS if name == "article" else PUBLISHED


def claims_named(ids: Iterable[str]) -> tuple[Claim, ...]:
    """The claims with these ids, in the order of the page, each once; upper and lower case are the same.

    Raises:
        UnknownNameError: There is no such claim; the nearest id is suggested.

    Example:
        >>> [claim.id for claim in claims_named(["t6", "D2", "T6"])]
        ['D2', 'T6']
    """
    wanted = dict.fromkeys(name.strip().upper() for name in ids)
    known = [claim.id for claim in every_claim()]
    for name in wanted:
        if name not in known:
            raise UnknownNameError.of("claim", name, known)
    return tuple(claim for claim in every_claim() if claim.id in wanted)
