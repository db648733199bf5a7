"""What every scheme owes, on every layout on which it makes sense."""

import pickle
import random
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch
from scheme_checks import LAYOUTS

from exnihilo.errors import LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import ALIASES, SCHEMES, Noisy, Scheme, Sparse, VarianceScaling, Zeros, scheme_named

CASES = {name: build() for name, build in SCHEMES.items()} | {
    "noisy_sparse": Noisy(base=Sparse(), std=0.1),
    "variance_scaling_truncated": VarianceScaling(distribution="truncated_normal"),
}
FIXED = ("zeros", "ones", "constant", "identity", "repeated_identity", "dirac", "values", "hadamard")
RANDOM = [name for name in CASES if name not in FIXED]
SOME = ("dirac", "delta_orthogonal", "chrono", "mimetic", "mirrored")
CPU = torch.device("cpu")


def fits(scheme: Scheme, layout: Layout) -> bool:
    try:
        scheme.expected_std(layout)
    except LayoutError:
        return False
    return True


PAIRS = [(name, layout) for name, scheme in CASES.items() for layout in LAYOUTS if fits(scheme, LAYOUTS[layout])]


def test_the_table_is_not_empty_by_accident() -> None:
    """Only schemes that need matrices or kernels leave layouts out."""
    left_out = {(name, layout) for name in CASES for layout in LAYOUTS} - set(PAIRS)
    assert {layout for name, layout in left_out if name not in SOME} == {"vector"}
    assert {layout for name, layout in left_out if name == "mirrored"} == {"vector", "conv2d_depthwise"}
    wide = {"linear_wide", "linear_square", "embedding", "bilinear"}
    assert {layout for name, layout in PAIRS if name == "mimetic"} == wide
    assert ("chrono", "vector") in PAIRS
    assert ("dirac", "conv_transpose2d_grouped") in PAIRS
    assert ("delta_orthogonal", "conv2d_grouped") in PAIRS


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_values_are_fresh_float32_contiguous_and_finite(name: str, layout: str) -> None:
    scheme, key = CASES[name], Key(0, "w")
    first = scheme.sample(LAYOUTS[layout], key)
    assert (tuple(first.shape), first.dtype, first.device) == (LAYOUTS[layout].shape, torch.float32, CPU)
    assert first.is_contiguous()
    assert not first.requires_grad
    assert first.isfinite().all()
    kept = first.clone()
    first.fill_(9.0)
    assert torch.equal(scheme.sample(LAYOUTS[layout], key), kept)


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_sample_and_promise_fit_the_same_layouts(name: str, layout: str) -> None:
    assert CASES[name].sample(LAYOUTS[layout], Key(0, "w")).numel() == LAYOUTS[layout].numel
    assert CASES[name].expected_std(LAYOUTS[layout]) >= 0.0


@pytest.mark.parametrize("name", RANDOM)
def test_seed_and_name_both_change_the_values(name: str) -> None:
    layout = LAYOUTS[{"chrono": "vector", "mimetic": "linear_wide"}.get(name, "conv2d")]
    first = CASES[name].sample(layout, Key(0, "a"))
    for other in (Key(1, "a"), Key(0, "b")):
        assert not torch.equal(CASES[name].sample(layout, other), first)


@pytest.mark.parametrize("name", CASES)
def test_schemes_are_frozen_values(name: str) -> None:
    scheme = CASES[name]
    assert isinstance(scheme, Scheme)
    assert scheme == pickle.loads(pickle.dumps(scheme))
    assert hash(scheme) == hash(pickle.loads(pickle.dumps(scheme)))
    for field in fields(scheme):  # pyright: ignore[reportArgumentType]
        with pytest.raises(FrozenInstanceError):
            setattr(scheme, field.name, 1)


def everything() -> list[bytes]:
    return [CASES[name].sample(LAYOUTS[layout], Key(0, "w")).numpy().tobytes() for name, layout in PAIRS[::3]]


def test_the_global_random_states_are_neither_read_nor_written() -> None:
    def states() -> list[bytes]:
        return [
            torch.get_rng_state().numpy().tobytes(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the legacy state is the global one
            pickle.dumps(random.getstate()),
        ]

    before, first = states(), everything()
    assert states() == before
    with torch.random.fork_rng():
        torch.manual_seed(4321)
        assert everything() == first


def test_global_defaults_of_torch_change_nothing() -> None:
    first = everything()
    torch.set_default_dtype(torch.float64)
    try:
        assert everything() == first
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert everything() == first
    with torch.inference_mode():
        assert everything() == first


def test_every_name_and_alias_is_a_scheme_with_its_defaults() -> None:
    for name in (*SCHEMES, *ALIASES):
        assert scheme_named(name) == SCHEMES[ALIASES.get(name, name)]()
    assert scheme_named("zeros") == Zeros()
