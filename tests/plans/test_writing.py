"""Writing one parameter, and flat stretches of one, in this process alone."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from exnihilo import Key, Layout
from exnihilo.errors import InvalidValueError, ShardError
from exnihilo.plans.writing import Draw, fill_flat_, write_, write_all_
from exnihilo.schemes.spec import from_text

LAYOUT, KEY = Layout.linear(14, 6), Key(0, "w")
TEXTS = [
    "normal(std=0.02)",
    "truncated_normal(std=0.5)",
    "ZeroRow(base=Normal(std=0.02), row=3)",
    "Sliced(base=VarianceScaling(), runs=(0, 4, 1, 1, 2, 2))",
    "Noisy(base=Constant(value=1.0), std=0.1)",
    "Orthogonal()",
    "Sparse(sparsity=0.5)",
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("text", TEXTS)
def test_a_plain_parameter_holds_what_its_scheme_draws(text, dtype):
    weight = nn.Parameter(torch.full((14, 6), torch.nan, dtype=dtype))
    write_(weight, from_text(text), LAYOUT, KEY)
    assert torch.equal(weight, from_text(text).sample(LAYOUT, KEY).to(dtype))
    assert weight.grad_fn is None and weight.requires_grad


@pytest.mark.parametrize("text", TEXTS)
def test_a_parameter_of_another_shape_than_its_layout_holds_the_same_elements(text):
    weight = nn.Parameter(torch.full((7, 2, 6), torch.nan))
    write_(weight, from_text(text), LAYOUT, KEY)
    assert torch.equal(weight, from_text(text).sample(LAYOUT, KEY).reshape(7, 2, 6))


@pytest.mark.parametrize("text", TEXTS)
@given(borders=st.lists(st.integers(0, 84), max_size=5))
def test_flat_stretches_laid_end_to_end_are_the_parameter(text, borders):
    borders = [0, *sorted(borders), 84]
    flat = torch.full((84,), torch.nan)
    for start, end in itertools.pairwise(borders):
        fill_flat_(flat[start:end], from_text(text), LAYOUT, KEY, start)
    assert torch.equal(flat.reshape(14, 6), from_text(text).sample(LAYOUT, KEY))


def test_a_flat_stretch_may_have_gaps_in_memory():
    spread = torch.full((20,), torch.nan)
    fill_flat_(spread[::2], from_text("normal(std=1.0)"), LAYOUT, KEY, 3)
    assert torch.equal(spread[::2], from_text("normal(std=1.0)").sample(LAYOUT, KEY).flatten()[3:13])
    assert spread[1::2].isnan().all()


def test_a_flat_shard_has_one_dim_and_lies_inside():
    flat = torch.full((2, 5), torch.nan)
    with pytest.raises(InvalidValueError, match="A flat shard of 'w' has 2 dims"):
        fill_flat_(flat, from_text("zeros"), LAYOUT, KEY, 0)
    for text in ("zeros", "Orthogonal()"):
        with pytest.raises(ShardError, match="Elements 80 to 90 are not all"):
            fill_flat_(flat.view(-1), from_text(text), LAYOUT, KEY, 80)
    assert flat.isnan().all()


def test_a_layout_of_another_size_is_refused_before_anything_is_written():
    good, bad = nn.Parameter(torch.full((14, 6), torch.nan)), nn.Parameter(torch.full((7, 6), torch.nan))
    scheme = from_text("zeros")
    draws = [Draw(parameter=p, scheme=scheme, layout=LAYOUT, key=Key(0, n)) for n, p in (("good", good), ("bad", bad))]
    with pytest.raises(InvalidValueError, match=r"'bad' has shape \(7, 6\), and its layout \(14, 6\)"):
        write_all_(draws)
    assert good.isnan().all()


def test_a_parameter_without_memory_is_refused():
    with pytest.raises(InvalidValueError, match="'w' is on the meta device"):
        write_(nn.Parameter(torch.empty(14, 6, device="meta")), from_text("zeros"), LAYOUT, KEY)
