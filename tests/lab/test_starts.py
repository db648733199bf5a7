"""The start of mean-field theory has the variances that the theory is told."""

import pytest

from exnihilo.errors import InvalidValueError
from exnihilo.lab.networks import Role, parameters
from exnihilo.lab.records import Network, Start
from exnihilo.lab.starts import BIAS_VARIANCE, STARTS, begin, check_start

NETWORK = Network(depth=3, width=400, activation="tanh")
FOUND = parameters(NETWORK, 400, 400, None)


def variances(start, role):
    """Of each parameter of a role, as it begins, times its fan-in where it has one."""
    values = begin(start, FOUND, 0)
    return [float(values[p.name].var()) * (400 if values[p.name].dim() == 2 else 1) for p in FOUND if p.role is role]


@pytest.mark.parametrize("value", [0.5, 1.76, 3.0])
def test_weights_and_biases_have_the_variances_of_mean_field_theory(value) -> None:
    start = Start(name="mean_field", value=value)
    weights = [v for role in (Role.STEM, Role.HIDDEN, Role.HEAD) for v in variances(start, role)]
    assert len(weights) == 4 and weights == pytest.approx([value] * 4, rel=0.02)
    biases = variances(start, Role.BIAS)
    assert len(biases) == 4 and biases == pytest.approx([BIAS_VARIANCE] * 4, rel=0.25)


def test_without_a_value_it_is_the_critical_one() -> None:
    critical, given = Start(name="mean_field"), Start(name="mean_field", value=1.76)
    assert variances(critical, Role.HIDDEN) == variances(given, Role.HIDDEN)
    assert given.label == "mean_field(1.76)" and "0.05" in STARTS["mean_field"].summary


def test_it_takes_no_base() -> None:
    with pytest.raises(InvalidValueError, match="takes no base"):
        check_start(Start(name="mean_field", base="he_normal"), NETWORK)


def test_biases_of_other_starts_are_zero() -> None:
    assert variances(Start(name="lecun_normal"), Role.BIAS) == [0.0] * 4
