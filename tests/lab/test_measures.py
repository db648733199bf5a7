"""What is measured on units and gradients, against cases counted by hand."""

import math

import pytest
import torch

from exnihilo.lab.measures import (
    dead_share,
    distinct_units,
    gradient_norms,
    largest_slope,
    saturated_share,
    unit_descriptions,
    zero_share,
)
from exnihilo.lab.networks import Hidden


def columns(*units: list[float]) -> torch.Tensor:
    """One run whose units have these values over the samples."""
    return torch.tensor(units).T.unsqueeze(0)


def test_a_sigmoid_unit_is_saturated_below_a_twentieth_of_the_largest_slope() -> None:
    # Sigmoid's slope is 1 / (2 + 2 cosh z), at most 1/4. It falls below 1/80 where cosh z > 39, which is |z| > 4.3565.
    assert largest_slope("sigmoid") == pytest.approx(0.25)
    inside, beyond = [4.35] * 10, [4.36] * 10
    assert saturated_share(columns(inside, beyond, [-z for z in beyond], [0.0] * 10), "sigmoid") == [0.5]


def test_a_tanh_unit_is_saturated_sooner() -> None:
    # Tanh's slope is 1 / cosh² z, at most 1. It falls below 1/20 where cosh z > sqrt 20, which is |z| > 2.1784.
    assert saturated_share(columns([2.17] * 4, [2.19] * 4), "tanh") == [0.5]


def test_nine_samples_of_ten_saturate_a_unit_and_eight_do_not() -> None:
    nine, eight = [9.0] * 9 + [0.0], [9.0] * 8 + [0.0] * 2
    assert saturated_share(columns(nine), "sigmoid") == [1.0]
    assert saturated_share(columns(eight), "sigmoid") == [0.0]
    assert saturated_share(columns(nine, eight, eight, eight), "sigmoid") == [0.25]


def test_a_relu_unit_is_saturated_where_it_is_off() -> None:
    assert saturated_share(columns([-1.0] * 9 + [5.0], [1.0] * 10, [-1.0] * 5 + [1.0] * 5), "relu") == [
        pytest.approx(1 / 3)
    ]


def test_runs_are_saturated_one_by_one() -> None:
    both = torch.cat([columns([9.0] * 3, [9.0] * 3), columns([9.0] * 3, [0.0] * 3)])
    assert saturated_share(both, "sigmoid") == [1.0, 0.5]


def test_a_unit_is_dead_where_its_output_never_changes_whatever_its_value() -> None:
    units = columns([0.0, 0.0, 0.0], [0.7, 0.7, 0.7], [0.0, 0.0, 1e-30], [1.0, 2.0, 1.0])
    assert dead_share(units) == [0.5]
    assert dead_share(torch.cat([units, torch.ones_like(units)])) == [0.5, 1.0]


def test_exact_zeros_are_counted_over_all_tensors_of_a_run() -> None:
    # Run 0: 1 zero of 2 and 3 of 4. Run 1: none of 2, and 0 of 4, for a tiny number is not zero and -0.0 is.
    first = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    second = torch.tensor([[[0.0, -0.0], [0.0, 5.0]], [[1e-40, 1.0], [1.0, 1.0]]])
    assert zero_share([first, second]) == [pytest.approx(4 / 6), 0.0]


def test_units_are_distinct_where_any_number_differs_by_a_bit() -> None:
    up = math.nextafter(1.0, 2.0)
    units = torch.tensor([[[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [up, 2.0]]], dtype=torch.float64)
    assert distinct_units(units) == [3]
    assert distinct_units(units, relative=1e-6) == [2]
    assert distinct_units(torch.zeros(1, 5, 3)) == [1]


def test_the_distance_is_relative_to_the_largest_number_of_the_layer() -> None:
    # 0.001 and 0.0015 differ by half of themselves, but by 5e-7 of the layer's largest number, which is 1000.
    small, large = [[0.001], [0.0015]], [[0.001], [0.0015], [1000.0]]
    assert distinct_units(torch.tensor([small]), relative=1e-6) == [2]
    assert distinct_units(torch.tensor([large]), relative=1e-6) == [2]
    assert distinct_units(torch.tensor([large])) == [3]


def test_the_distance_of_two_units_is_that_of_their_most_different_number() -> None:
    # Each of two numbers differs by 0.7 of the tolerance; their sum would be beyond it.
    units = torch.tensor([[[1.0, 1.0], [1.0 - 0.7e-6, 1.0 - 0.7e-6]]], dtype=torch.float64)
    assert distinct_units(units, relative=1e-6) == [1]


def test_a_run_with_nan_has_no_units_and_leaves_the_others_alone() -> None:
    units = torch.tensor([[[1.0], [math.nan]], [[1.0], [2.0]], [[math.inf], [2.0]]])
    assert distinct_units(units) == [0, 2, 0]
    assert distinct_units(units, relative=1e-6) == [0, 2, 0]


def test_the_norm_of_a_gradient_is_that_of_all_its_numbers_map_by_map() -> None:
    first = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    head = torch.tensor([[[1.0, 2.0, 2.0]], [[2.0, 3.0, 6.0]]])
    assert gradient_norms([first, head]) == [[5.0, 3.0], [0.0, 7.0]]


def test_the_squares_of_a_tiny_gradient_do_not_vanish() -> None:
    assert gradient_norms([torch.full((1, 4), 1e-30)]) == [[pytest.approx(2e-30)]]


def test_a_unit_is_described_by_what_comes_in_its_bias_and_what_goes_out() -> None:
    hidden = Hidden(name="h", into="a", out_of="b")
    tensors = {
        "a.weight": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "a.bias": torch.tensor([[5.0, 6.0]]),
        "b.weight": torch.tensor([[[7.0, 8.0], [9.0, 10.0]]]),
    }
    assert unit_descriptions(tensors, hidden).tolist() == [[[1.0, 2.0, 5.0, 7.0, 9.0], [3.0, 4.0, 6.0, 8.0, 10.0]]]
