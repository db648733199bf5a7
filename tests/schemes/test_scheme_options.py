"""Options are read where a scheme is built, and a wrong one says what to write instead."""

import math
from collections.abc import Callable

import pytest

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.schemes import (
    Constant,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Noisy,
    Normal,
    Orthogonal,
    Sparse,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    Zeros,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    scheme_named,
    xavier_normal,
    xavier_uniform,
)

NAN = math.nan

INVALID: list[tuple[Callable[[], object], str, str]] = [
    (lambda: Constant(value=NAN), "Constant.value is nan; it must be finite.", "Constant(value=0.01)"),
    (lambda: Normal(std=-1.0), "Normal.std is -1.0; it must be finite and not negative.", "Normal(std=0.02)"),
    (lambda: Normal(mean=math.inf), "Normal.mean is inf; it must be finite.", "Normal(mean=0)"),
    (lambda: Uniform(bound=-0.1), "Uniform.bound is -0.1; it must be finite and not negative.", "Uniform(bound=0.05)"),
    (
        lambda: TruncatedNormal(std=NAN),
        "TruncatedNormal.std is nan; it must be finite and not negative.",
        "TruncatedNormal(std=0.02)",
    ),
    (
        lambda: TruncatedNormal(lower=2.0, upper=-2.0),
        "TruncatedNormal has lower=2.0 and upper=-2.0; lower must be below upper.",
        "TruncatedNormal(lower=-2.0, upper=2.0)",
    ),
    (
        lambda: TruncatedNormal(lower=NAN),
        "TruncatedNormal has lower=nan and upper=2.0; lower must be below upper.",
        "TruncatedNormal(lower=-2.0, upper=2.0)",
    ),
    (
        lambda: TruncatedNormal(lower=100.0, upper=200.0),
        "TruncatedNormal has lower=100.0 and upper=200.0; beyond 37 sigma there is no normal mass left in float64.",
        "TruncatedNormal(lower=-2.0, upper=2.0)",
    ),
    (
        lambda: VarianceScaling(scale=0.0),
        "VarianceScaling.scale is 0.0; it must be finite and positive.",
        "VarianceScaling(scale=1)",
    ),
    (
        lambda: xavier_normal(gain=-1.0),
        "xavier_normal.gain is -1.0; it must be finite and positive.",
        "xavier_normal(gain=1)",
    ),
    (
        lambda: xavier_uniform(gain=0.0),
        "xavier_uniform.gain is 0.0; it must be finite and positive.",
        "xavier_uniform(gain=1)",
    ),
    (lambda: he_normal(gain=NAN), "he_normal.gain is nan; it must be finite and positive.", "he_normal(gain=1.41421)"),
    (
        lambda: he_uniform(gain=-2.0),
        "he_uniform.gain is -2.0; it must be finite and positive.",
        "he_uniform(gain=1.41421)",
    ),
    (lambda: Orthogonal(gain=0.0), "Orthogonal.gain is 0.0; it must be finite and positive.", "Orthogonal(gain=1)"),
    (
        lambda: DeltaOrthogonal(gain=-1.0),
        "DeltaOrthogonal.gain is -1.0; it must be finite and positive.",
        "DeltaOrthogonal(gain=1)",
    ),
    (lambda: Identity(gain=NAN), "Identity.gain is nan; it must be finite.", "Identity(gain=1)"),
    (lambda: Dirac(gain=math.inf), "Dirac.gain is inf; it must be finite.", "Dirac(gain=1)"),
    (lambda: Sparse(sparsity=1.0), "Sparse.sparsity is 1.0; it must be in [0, 1).", "Sparse(sparsity=0.9)"),
    (lambda: Sparse(sparsity=NAN), "Sparse.sparsity is nan; it must be in [0, 1).", "Sparse(sparsity=0.9)"),
    (lambda: Sparse(std=-1.0), "Sparse.std is -1.0; it must be finite and not negative.", "Sparse(std=0.01)"),
    (lambda: Noisy(std=-1.0), "Noisy.std is -1.0; it must be finite and not negative.", "Noisy(std=0.001)"),
    (
        lambda: TorchDefault(fan_in=0),
        "TorchDefault.fan_in is 0; it must be finite and positive.",
        "TorchDefault(fan_in=64)",
    ),
]


@pytest.mark.parametrize(("build", "fact", "fix"), INVALID, ids=[fact.split()[0] for _, fact, _ in INVALID])
def test_values_out_of_range_are_refused_when_the_scheme_is_built(
    build: Callable[[], object], fact: str, fix: str
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        build()
    lines = str(caught.value).splitlines()
    assert (lines[0], lines[-2], lines[-1]) == (
        fact,
        f"  Fix: {fix}",
        "  [invalid-value]  docs/errors.md#invalid-value",
    )
    assert len(lines[0]) <= 110


@pytest.mark.parametrize("base", ["zeros", Zeros, None])
def test_noise_needs_a_scheme_to_be_added_to(base: object) -> None:
    with pytest.raises(InvalidValueError, match=r"Noisy.base is .*; it must be a scheme"):
        Noisy(base=base)  # pyright: ignore[reportArgumentType]


def test_a_mistyped_mode_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        VarianceScaling(mode="fan_inn")  # pyright: ignore[reportArgumentType]
    assert str(caught.value).splitlines() == [
        "Unknown mode 'fan_inn'. Did you mean 'fan_in'?",
        "  Known modes: fan_avg, fan_in, fan_out",
        "  Fix: use 'fan_in'",
        "  [unknown-name]  docs/errors.md#unknown-name",
    ]
    with pytest.raises(UnknownNameError, match="Unknown mode 'fan_geo'"):
        he_normal(mode="fan_geo")  # pyright: ignore[reportArgumentType]


def test_a_mistyped_distribution_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown distribution 'truncnormal'\. Did you mean 'truncated_normal'"):
        VarianceScaling(distribution="truncnormal")  # pyright: ignore[reportArgumentType]


def test_a_mistyped_scheme_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        scheme_named("xaiver_uniform")
    assert str(caught.value).splitlines()[0] == "Unknown scheme 'xaiver_uniform'. Did you mean 'xavier_uniform'?"
    with pytest.raises(UnknownNameError, match="Did you mean 'kaiming_normal'"):
        scheme_named("kaiming_norm")


def test_aliases_are_the_same_functions() -> None:
    assert (glorot_normal, glorot_uniform) == (xavier_normal, xavier_uniform)
    assert (kaiming_normal, kaiming_uniform) == (he_normal, he_uniform)
