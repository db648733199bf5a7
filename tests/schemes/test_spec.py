"""Schemes as text: what is printed reads back, and what is refused says why."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    SCHEMES,
    Constant,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Mimetic,
    Mirrored,
    Noisy,
    Normal,
    Ones,
    Orthogonal,
    RepeatedIdentity,
    Sliced,
    Sparse,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    ZeroRow,
    Zeros,
    he_normal,
    he_uniform,
    lecun_normal,
    scheme_named,
    xavier_uniform,
)
from exnihilo.schemes.scaled import scaled
from exnihilo.schemes.spec import from_text, to_text

numbers = st.floats(min_value=1e-6, max_value=1e6)
simple = st.one_of(
    st.sampled_from([build() for build in SCHEMES.values()]),
    st.builds(Constant, value=st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Normal, std=numbers, mean=numbers),
    st.builds(TruncatedNormal, std=numbers, lower=st.just(-math.inf), upper=st.floats(0.0, 3.0)),
    st.builds(
        VarianceScaling,
        scale=numbers,
        mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
        distribution=st.sampled_from(["normal", "truncated_normal", "uniform"]),
    ),
    st.builds(Orthogonal, gain=numbers),
    st.builds(
        Mimetic,
        part=st.sampled_from(["query", "out"]),
        head=st.integers(0, 99),
        value_beta=numbers,
        shared=st.integers(0, 3),
    ),
    st.just(Mimetic(part="packed", runs=(0, 8, 1, 8, 2, 8))),
    st.builds(TorchDefault, fan_in=st.none() | numbers),
)
dealt = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 99)), max_size=4).map(lambda pairs: sum(pairs, ()))
schemes = st.recursive(
    simple,
    lambda inner: (
        st.builds(Noisy, base=inner, std=numbers)
        | st.builds(Sliced, base=inner, runs=dealt)
        | st.builds(Mirrored, base=inner, rows=st.booleans(), columns=st.booleans())
    ),
    max_leaves=3,
)


@given(schemes)
def test_the_text_of_a_scheme_reads_back_to_an_equal_scheme(scheme):
    assert from_text(to_text(scheme)) == scheme


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        (Zeros(), "zeros"),
        (Ones(), "ones"),
        (Normal(), "Normal(std=0.02)"),
        (Normal(std=1.0, mean=2.0), "Normal(std=1.0, mean=2.0)"),
        (he_normal(), "he_normal"),
        (lecun_normal(), "lecun_normal"),
        (he_uniform(gain=1.3), "he_uniform(gain=1.3)"),
        (he_normal(gain=1.3, mode="fan_out"), "he_normal(gain=1.3, mode='fan_out')"),
        (xavier_uniform(gain=1.6), "xavier_uniform(gain=1.6)"),
        (Noisy(base=Noisy(), std=0.5), "Noisy(base=Noisy(base=zeros), std=0.5)"),
        (Uniform(bound=1), "Uniform(bound=1)"),
    ],
)
def test_a_scheme_is_spelled_shortly(scheme, text):
    assert to_text(scheme) == text


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("zeros", Zeros()),
        (" Zeros() ", Zeros()),
        ("normal(std=1)", Normal(std=1.0)),
        ("Constant(value=-1)", Constant(value=-1.0)),
        ("kaiming_normal(gain=1)", lecun_normal()),
        (
            "VarianceScaling(mode=fan_out, distribution='uniform')",
            VarianceScaling(mode="fan_out", distribution="uniform"),
        ),
        ("variance_scaling(distribution=normal)", VarianceScaling()),
        ("TruncatedNormal(lower=-inf)", TruncatedNormal(lower=-math.inf)),
        ("noisy(base=constant(value=2), std=0.1)", Noisy(base=Constant(value=2.0), std=0.1)),
        ("torch_default(fan_in=None)", TorchDefault()),
    ],
)
def test_a_person_may_spell_a_scheme_in_several_ways(text, scheme):
    assert from_text(text) == scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_every_name_of_the_table_is_a_text(name):
    assert from_text(name) == scheme_named(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "normal(",
        "normal(0.02)",
        "normal(std='a')",
        "normal(std=True)",
        "normal(std=None)",
        "normal(std=1)+f(x=1)",
        "normal(**{'std': 1})",
        "normal(std=__import__('os').getpid())",
        "normal(std=-1)",
        "VarianceScaling(mode=3)",
        "normal(std=1); zeros",
        "noisy(base=normal(0.1))",
    ],
)
def test_a_text_that_spells_no_scheme_is_refused_and_nothing_is_evaluated(text):
    with pytest.raises(InvalidValueError):
        from_text(text)


def test_the_nearest_name_is_suggested_for_schemes_and_options():
    with pytest.raises(UnknownNameError, match=r"Unknown scheme 'he_norml'\. Did you mean 'he_normal'\?"):
        from_text("he_norml")
    with pytest.raises(UnknownNameError, match=r"Unknown option of normal 'sdt'\. Did you mean 'std'\?"):
        from_text("normal(sdt=1)")


def test_a_value_of_the_wrong_kind_is_named_with_what_it_must_be():
    with pytest.raises(InvalidValueError) as caught:
        from_text("normal(std='a')")
    assert str(caught.value).splitlines()[:2] == ["normal.std is 'a'; it must be a number.", "  Fix: std=0.5"]


def test_a_scheme_of_someone_else_has_no_text():
    @dataclass(frozen=True)
    class Mine:
        def sample(self, layout, key):
            return torch.zeros(layout.shape)

        def expected_std(self, layout):
            return 0.0

    with pytest.raises(InvalidValueError, match="no scheme that has a text"):
        to_text(Mine())


SCALABLE = [Zeros(), Ones(), Constant(), Normal(std=0.3, mean=0.2), Uniform(), TruncatedNormal(), he_normal()]
SCALABLE += [
    xavier_uniform(),
    Orthogonal(),
    Identity(),
    RepeatedIdentity(),
    Sparse(std=0.5),
    Noisy(base=Normal(), std=0.1),
    ZeroRow(row=2),
    Sliced(runs=(0, 3, 1, 1)),
    Mirrored(columns=False),
]


@pytest.mark.parametrize("scheme", SCALABLE, ids=lambda scheme: type(scheme).__name__)
def test_a_scaled_scheme_draws_the_factor_times_the_same_numbers(scheme):
    layout, key = Layout.linear(12, 8), Key(0, "w")
    small, large = scaled(scheme, 0.25), scheme
    torch.testing.assert_close(small.sample(layout, key), 0.25 * large.sample(layout, key), rtol=1e-6, atol=1e-9)
    assert small.expected_std(layout) == pytest.approx(0.25 * large.expected_std(layout))


@pytest.mark.parametrize("scheme", [Dirac(), DeltaOrthogonal()], ids=lambda scheme: type(scheme).__name__)
def test_a_scaled_convolution_draws_the_factor_times_the_same_numbers(scheme):
    layout, key = Layout.conv(8, 4, (3,)), Key(0, "w")
    torch.testing.assert_close(scaled(scheme, 0.5).sample(layout, key), 0.5 * scheme.sample(layout, key))


def test_what_no_option_multiplies_cannot_be_scaled():
    with pytest.raises(InvalidValueError, match="TorchDefault cannot be scaled"):
        scaled(TorchDefault(), 0.5)
