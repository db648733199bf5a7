"""Formulas of independent entries, and copies of another parameter's draw."""

import math

import pytest
import torch
from scheme_checks import keeps_promise

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Formula, Normal, Orthogonal, Shared, TruncatedNormal, Uniform, Zeros
from exnihilo.schemes.spec import from_text, to_text

LAYOUT = Layout.vector(4096)
UNIT = Uniform(bound=0.5, mean=0.5)
# Of log x, x uniform in [1, 5]: the mean is (5 ln 5 - 4) / 4, the mean square (5 ln² 5 - 10 ln 5 + 8) / 4.
LOG_STD = math.sqrt((5 * math.log(5) ** 2 - 10 * math.log(5) + 8) / 4 - ((5 * math.log(5) - 4) / 4) ** 2)
# Scheme, and its standard deviation in closed form.
CLOSED = [
    (Formula(base=Uniform(bound=2.0, mean=3.0), of="log(x)"), LOG_STD),
    (Formula(base=UNIT, of="x * x"), math.sqrt(1 / 5 - 1 / 9)),
    (Formula(base=UNIT, of="exp(x * 2 - 1)"), math.sqrt(math.sinh(2) / 2 - math.sinh(1) ** 2)),
    (Formula(base=Normal(std=1.0), of="exp(x)"), math.sqrt((math.e - 1) * math.e)),
    (Formula(base=Normal(std=2.0), of="abs(x)"), 2 * math.sqrt(1 - 2 / math.pi)),
    (Formula(base=Normal(std=3.0, mean=1.0), of="-x / 2"), 1.5),
    (Formula(base=TruncatedNormal(std=1.0, lower=1.0, upper=5.0), of="x"), 1.0),
    (Formula(base=UNIT, of="2"), 0.0),
]
STEPS = "clamp(exp(x), 0.0001, inf)"
MAMBA = Formula(
    base=Uniform(bound=math.log(100) / 2, mean=math.log(0.001 * 0.1) / 2), of=f"{STEPS} + log(-expm1(-{STEPS}))"
)


@pytest.mark.parametrize(("scheme", "std"), CLOSED, ids=lambda value: getattr(value, "of", ""))
def test_a_formula_promises_the_closed_form(scheme, std):
    assert scheme.expected_std(LAYOUT) == pytest.approx(std, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("scheme", [scheme for scheme, _ in CLOSED] + [MAMBA], ids=lambda scheme: scheme.of)
def test_a_formula_keeps_its_promise(scheme):
    assert keeps_promise(scheme, LAYOUT, n=2**21)


def test_the_steps_of_mamba_are_log_uniform():
    steps = torch.nn.functional.softplus(MAMBA.sample(Layout.vector(2**18), Key(0, "dt")).double())
    shares = (steps.sort().values.log() - math.log(0.001)) / math.log(100)
    assert (shares - torch.linspace(0, 1, len(steps), dtype=torch.float64)).abs().max() < 0.005


def test_a_formula_is_one_of_the_base_own_draw():
    key = Key(3, "w")
    assert torch.equal(Formula(base=UNIT, of="x").sample(LAYOUT, key), UNIT.sample(LAYOUT, key))


@pytest.mark.parametrize(
    "text", ["", "y", "x(", "log()", "__import__('os')", "x.real", "x ** 2", "x if x else 1", "'x'"]
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(InvalidValueError, match="no formula"):
        Formula(of=text)


def test_a_formula_of_another_scheme_is_refused():
    with pytest.raises(InvalidValueError, match="must be Normal"):
        Formula(base=Orthogonal(), of="log(x)")


@pytest.mark.parametrize("scheme", [MAMBA, Shared(base=Normal(std=0.5), name="layers.0.weight"), Shared(base=Zeros())])
def test_a_text_says_them_whole(scheme):
    assert from_text(to_text(scheme)) == scheme


def test_a_copy_has_the_values_of_its_original_whatever_its_own_name():
    scheme = Shared(base=Orthogonal(gain=2.0), name="a.weight")
    layout = Layout.linear(8, 8)
    original = Orthogonal(gain=2.0).sample(layout, Key(5, "a.weight"))
    assert torch.equal(scheme.sample(layout, Key(5, "b.weight")), original)
    assert not torch.equal(scheme.sample(layout, Key(6, "b.weight")), original)


def test_a_copy_of_a_copy_is_refused():
    with pytest.raises(InvalidValueError, match="itself a copy"):
        Shared(base=Shared(name="a"), name="b")
