"""Wrong schemes that the checks of test_promises.py and test_scheme_laws.py must reject: else those prove nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scheme_checks import (
    DISTANCE,
    LAYOUTS,
    N_LAW,
    N,
    draws,
    hands_on,
    is_haar,
    keeps_promise,
    keeps_singular_values,
    kolmogorov_distance,
    mean_square_gain,
    zeros_of_each_unit,
)
from scipy import stats
from torch import Tensor, nn

from exnihilo.fills import Key, normal
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    Constant,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Noisy,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Sliced,
    Sparse,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    Values,
    ZeroRow,
    Zeros,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.truncated_normal import truncated_std


@dataclass(frozen=True)
class Mutant:
    """Promises what ``right`` promises and delivers what ``change`` makes of its values."""

    right: Scheme
    change: Callable[[Tensor, Layout, Key], Tensor]

    def sample(self, layout: Layout, key: Key) -> Tensor:
        return self.change(self.right.sample(layout, key), layout, key)

    def expected_std(self, layout: Layout) -> float:
        return self.right.expected_std(layout)


def scaled(right: Scheme, factor: float) -> Mutant:
    return Mutant(right, lambda w, _layout, _key: factor * w)


RANDOM: dict[str, tuple[Scheme, int]] = {
    "normal": (Normal(std=0.3), N),
    "uniform": (Uniform(bound=0.3), N),
    "truncated_normal": (TruncatedNormal(std=0.3), N),
    "lecun_normal": (lecun_normal(), N),
    "lecun_uniform": (lecun_uniform(), N),
    "xavier_normal": (xavier_normal(), N),
    "xavier_uniform": (xavier_uniform(), N),
    "he_normal": (he_normal(), N),
    "he_uniform": (he_uniform(), N),
    "orthogonal": (Orthogonal(), N),
    "delta_orthogonal": (DeltaOrthogonal(), N),
    "identity": (Identity(), N),
    "dirac": (Dirac(), N),
    "sparse": (Sparse(sparsity=0.6, std=0.5), 4 * N),
    "noisy": (Noisy(base=Normal(std=0.3), std=0.4), N),
    "torch_default": (TorchDefault(), N),
}


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize("case", RANDOM)
def test_a_std_that_is_two_percent_wrong_is_rejected(case: str, factor: float) -> None:
    scheme, n = RANDOM[case]
    assert keeps_promise(scheme, LAYOUTS["conv2d"], n)
    assert not keeps_promise(scaled(scheme, factor), LAYOUTS["conv2d"], n)


@pytest.mark.parametrize("scheme", [Zeros(), Ones(), Constant(value=0.3)])
def test_one_deviating_entry_of_a_constant_is_rejected(scheme: Scheme) -> None:
    def change(w: Tensor, _layout: Layout, _key: Key) -> Tensor:
        w.view(-1)[7] += 1e-6
        return w

    assert not keeps_promise(Mutant(scheme, change), LAYOUTS["vector"])


def test_swapped_fans_are_rejected_through_the_real_forward() -> None:
    """Their own promise would be kept: only the module's forward tells them apart."""

    def build() -> nn.Module:
        return nn.Conv2d(12, 36, 3, padding=1, padding_mode="circular")

    right, swapped = he_normal(gain=1.0), he_normal(gain=1.0, mode="fan_out")
    assert keeps_promise(swapped, LAYOUTS["conv2d"])
    assert mean_square_gain(right, build, (12, 6, 6))[0] == pytest.approx(1.0, rel=0.04)
    assert mean_square_gain(swapped, build, (12, 6, 6))[0] != pytest.approx(1.0, rel=0.04)


def test_a_truncation_whose_std_is_not_restored_is_rejected() -> None:
    right = TruncatedNormal(std=0.3)
    assert keeps_promise(right, LAYOUTS["linear_tall"])
    assert not keeps_promise(scaled(right, truncated_std(-2.0, 2.0)), LAYOUTS["linear_tall"])


def test_a_uniform_whose_bound_is_its_std_is_rejected() -> None:
    right = Uniform(bound=0.3)
    assert not keeps_promise(scaled(right, 1 / math.sqrt(3)), LAYOUTS["linear_tall"])


LAWS: dict[str, tuple[Scheme, Callable[..., object], Scheme]] = {
    "normal": (Normal(std=1.0), stats.norm.cdf, Uniform(bound=math.sqrt(3))),
    "uniform": (
        Uniform(bound=math.sqrt(3)),
        stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf,
        Normal(std=1.0),
    ),
    "truncated_normal": (
        TruncatedNormal(std=truncated_std(-2.0, 2.0)),
        stats.truncnorm(-2, 2).cdf,
        Normal(std=truncated_std(-2.0, 2.0)),
    ),
}


@pytest.mark.parametrize("case", LAWS)
def test_another_law_of_the_same_std_is_rejected(case: str) -> None:
    right, cdf, other = LAWS[case]
    square = Layout.linear(1024, 1024)
    assert kolmogorov_distance(draws(right, square, N_LAW), cdf) < DISTANCE
    assert kolmogorov_distance(draws(other, square, N_LAW), cdf) > DISTANCE
    assert kolmogorov_distance(draws(scaled(right, 1.02), square, N_LAW), cdf) > DISTANCE


def test_orthogonal_matrices_with_lapacks_signs_are_rejected() -> None:
    def lapack(w: Tensor, layout: Layout, key: Key) -> Tensor:
        return torch.linalg.qr(normal(key, layout.numel).double().reshape(layout.shape))[0].float()

    mutant = Mutant(Orthogonal(), lapack)
    assert keeps_singular_values(mutant, Layout.linear(4, 4), 1.0)
    assert not is_haar(mutant)


def test_normal_matrices_of_the_right_std_are_not_taken_for_orthogonal_ones() -> None:
    mutant = Mutant(
        Orthogonal(), lambda w, layout, key: Normal(std=Orthogonal().expected_std(layout)).sample(layout, key)
    )
    assert keeps_promise(mutant, LAYOUTS["packed"])
    assert not keeps_singular_values(mutant, LAYOUTS["packed"], 1.0)


def test_one_orthogonal_matrix_over_a_whole_stack_is_rejected() -> None:
    """What a scheme that does not know of packed projections delivers."""
    mutant = Mutant(Orthogonal(), lambda w, layout, key: Orthogonal().sample(Layout.linear(*layout.shape), key))
    assert keeps_singular_values(Orthogonal(), LAYOUTS["packed"], 1.0)
    assert not keeps_singular_values(mutant, LAYOUTS["packed"], 1.0)


@pytest.mark.parametrize("place", [0, 8])
def test_a_dirac_off_the_center_is_rejected(place: int) -> None:
    def moved(w: Tensor, layout: Layout, _key: Key) -> Tensor:
        matrices = layout.matrices(w).clone()
        matrices[..., place], matrices[..., layout.center] = matrices[..., layout.center].clone(), 0.0
        return layout.assemble(matrices)

    mutant = Mutant(Dirac(), moved)
    assert keeps_promise(mutant, LAYOUTS["conv2d"])
    assert not hands_on(mutant, lambda: nn.Conv2d(4, 4, 3, padding=1), (4, 5, 5))


def test_a_dirac_that_forgets_the_groups_is_rejected() -> None:
    mutant = Mutant(Dirac(), lambda w, layout, key: nn.init.dirac_(torch.empty(layout.shape), groups=1))
    assert hands_on(mutant, lambda: nn.Conv2d(4, 4, 3, padding=1), (4, 5, 5))
    assert not hands_on(mutant, lambda: nn.Conv2d(6, 9, 3, padding=1, groups=3), (6, 5, 5))


def test_a_shifted_identity_is_rejected() -> None:
    mutant = Mutant(Identity(), lambda w, _layout, _key: w.roll(1, dims=0))
    assert keeps_promise(mutant, LAYOUTS["linear_square"])
    assert not hands_on(mutant, lambda: nn.Linear(5, 5), (5,))


def test_the_wrong_share_of_zeros_is_rejected() -> None:
    """One zero too few a unit, and PyTorch's zeros of each input instead of each output."""
    layout, right = Layout.linear(400, 400), Sparse(sparsity=0.9, std=1.0)
    transposed = Mutant(right, lambda w, _layout, _key: w.T.contiguous())
    assert zeros_of_each_unit(right, layout) == [360]
    assert zeros_of_each_unit(Sparse(sparsity=0.8975, std=1.0), layout) == [359]
    assert zeros_of_each_unit(transposed, layout) != [360]


@pytest.mark.parametrize("base", [Normal(std=0.3), Identity(), Zeros()])
def test_missing_noise_is_rejected(base: Scheme) -> None:
    mutant = Mutant(Noisy(base=base, std=0.3), lambda w, layout, key: base.sample(layout, key))
    assert not keeps_promise(mutant, LAYOUTS["linear_square"])


def test_noise_from_the_numbers_of_its_base_is_rejected() -> None:
    base = Normal(std=0.3)

    def dependent(w: Tensor, layout: Layout, key: Key) -> Tensor:
        return base.sample(layout, key) + Normal(std=0.3).sample(layout, key)

    assert keeps_promise(Noisy(base=base, std=0.3), LAYOUTS["linear_square"])
    assert not keeps_promise(Mutant(Noisy(base=base, std=0.3), dependent), LAYOUTS["linear_square"])


def test_a_row_of_zeros_that_its_promise_forgets_is_rejected() -> None:
    layout = LAYOUTS["conv_transpose2d"]
    right = ZeroRow(base=Normal(std=0.3))
    assert keeps_promise(right, layout, 4 * N)
    assert not keeps_promise(Mutant(right.base, lambda w, layout, key: right.sample(layout, key)), layout, 4 * N)


def test_parts_drawn_by_the_fans_of_the_whole_are_rejected() -> None:
    layout = Layout.linear(256, 96)
    right = Sliced(base=xavier_normal(), runs=(0, 192, 1, 32, 2, 32))
    mutant = Mutant(right, lambda w, layout, key: right.base.sample(layout, key))
    assert keeps_promise(right, layout)
    assert not keeps_promise(mutant, layout)


def test_values_along_another_dim_are_told_apart() -> None:
    layout = Layout.linear(2, 2)
    right = Values(values=(1.0, -1.0)).sample(layout, Key(0, "w"))
    assert right.tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert Values(values=(1.0, -1.0)).expected_std(layout) == 1.0


def test_lecuns_variance_is_not_taken_for_pytorchs_default() -> None:
    mutant = Mutant(TorchDefault(), lambda w, layout, key: lecun_uniform().sample(layout, key))
    assert not keeps_promise(mutant, LAYOUTS["linear_square"])
