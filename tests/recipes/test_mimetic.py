"""mimetic: the products read off real attention, run on the basis vectors themselves."""

import numpy as np
import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError
from exnihilo.plans.files import from_json, to_json
from gated_networks import Residual, vectors

WIDTH, HEADS = 64, 4
HEAD = WIDTH // HEADS


class Attention(nn.Module):
    """Attention that keeps its scores, whose maps lie in one tensor or in several; ``x @ w`` where transposed."""

    def __init__(self, packing, heads=HEADS, groups=None, head=None):
        super().__init__()
        self.packing, self.heads, self.groups = packing, heads, groups or heads
        self.head = head or WIDTH // heads
        sizes = [self.heads * self.head, self.groups * self.head, self.groups * self.head]
        if packing in ("separate", "fused"):
            self.q, self.k, self.v = (nn.Linear(WIDTH, size) for size in sizes)
        elif packing == "keys and values":
            self.q, self.kv = nn.Linear(WIDTH, sizes[0]), nn.Linear(WIDTH, 2 * sizes[1])
        elif packing == "transposed":
            self.qkv = nn.Parameter(torch.randn(WIDTH, sum(sizes)))
        else:
            self.qkv = nn.Linear(WIDTH, sum(sizes))
        self.o, self.sizes = nn.Linear(sizes[0], WIDTH), sizes

    def forward(self, x):
        if self.packing in ("separate", "fused"):
            q, k, v = (layer(x).unflatten(-1, (-1, self.head)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        elif self.packing == "keys and values":
            parts = (self.q(x), *self.kv(x).chunk(2, -1))
            q, k, v = (part.unflatten(-1, (-1, self.head)).transpose(1, 2) for part in parts)
        elif self.packing == "a head after the other":
            q, k, v = (p.transpose(1, 2) for p in self.qkv(x).unflatten(-1, (self.heads, -1)).chunk(3, -1))
        else:
            y = x @ self.qkv if self.packing == "transposed" else self.qkv(x)
            q, k, v = (part.unflatten(-1, (-1, self.head)).transpose(1, 2) for part in y.split(self.sizes, -1))
        k, v = (part.repeat_interleave(self.heads // self.groups, 1) for part in (k, v))
        if self.packing == "fused":
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            self.scores = q @ k.mT
            mixed = (self.scores / self.head**0.5).softmax(-1) @ v
        return self.o(mixed.transpose(1, 2).flatten(2))


class Model(nn.Module):
    def __init__(self, packing="separate", layers=1, **sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleDict({"attn": Attention(packing, **sizes)}) for _ in range(layers))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer["attn"](x)
        return x


PACKINGS = ["separate", "side by side", "a head after the other", "keys and values", "transposed", "fused"]


def tokens():
    torch.manual_seed(1)
    return torch.randn(2, 5, WIDTH)


def started(packing="separate", recipe="mimetic", seed=0, **sizes):
    torch.manual_seed(0)
    model = Model(packing, **sizes)
    xn.initialize(model, recipe, tokens(), seed=seed)
    return model


def score_products(attention):
    """Of each head: the scores of the basis vectors with each other, which are the product itself."""
    with torch.no_grad():
        attention(torch.eye(WIDTH)[None])
    return attention.scores[0].double()


def value_product(attention):
    """What attention makes of each basis vector where it sees nothing else, column by column."""
    with torch.no_grad():
        return attention(torch.eye(WIDTH)[:, None])[:, 0].T.double()


def is_normal(values, mean, std):
    """Mean within 5 sigma; standard deviation within 5 of its own."""
    n = values.numel()
    return (
        abs(values.mean().item() - mean) < 5 * std / n**0.5 and abs(values.std().item() / std - 1) < 5 / (2 * n) ** 0.5
    )


OFF_DIAGONAL = ~torch.eye(WIDTH, dtype=torch.bool)


def test_outputs_and_values_multiply_to_noise_minus_the_identity():
    product = value_product(started().layers[0]["attn"])
    assert is_normal(product.diagonal(), -0.4, 0.4 / WIDTH**0.5)
    assert is_normal(product[OFF_DIAGONAL], 0.0, 0.4 / WIDTH**0.5)


def test_one_head_as_wide_as_the_stream_multiplies_to_noise_plus_the_identity():
    (product,) = score_products(started(heads=1).layers[0]["attn"])
    assert is_normal(product.diagonal(), 0.7, 0.7 / WIDTH**0.5)
    assert is_normal(product[OFF_DIAGONAL], 0.0, 0.7 / WIDTH**0.5)


def test_each_head_has_the_leading_part_of_such_a_matrix():
    """The oracle: singular values of matrices that NumPy draws; theirs vary by about 0.02 from draw to draw."""
    generator = np.random.default_rng(0)
    drawn = 0.7 * generator.standard_normal((50, WIDTH, WIDTH)) / WIDTH**0.5 + 0.7 * np.eye(WIDTH)
    expected = np.linalg.svd(drawn, compute_uv=False).mean(0)
    products = score_products(started().layers[0]["attn"])
    for product in products:
        values = torch.linalg.svdvals(product)
        np.testing.assert_allclose(values[:HEAD].numpy(), expected[:HEAD], atol=0.15)
        assert values[HEAD:].max() < 1e-5
        # The diagonal is positive: what is kept of the identity.
        assert product.trace() / WIDTH > 0.15
    gaps = [(one - other).norm() / one.norm() for i, one in enumerate(products) for other in products[:i]]
    assert min(gaps) > 0.5


def test_both_factors_take_the_same_share():
    attention = started().layers[0]["attn"]
    for query, key in zip(attention.q.weight.split(HEAD), attention.k.weight.split(HEAD), strict=True):
        torch.testing.assert_close(query @ query.T, key @ key.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention.o.weight.T @ attention.o.weight, attention.v.weight @ attention.v.weight.T)


@pytest.mark.parametrize("packing", PACKINGS[:-1])
def test_however_the_maps_are_packed_the_products_are_the_same(packing):
    expected, attention = started().layers[0]["attn"], started(packing).layers[0]["attn"]
    torch.testing.assert_close(score_products(attention), score_products(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(value_product(attention), value_product(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_units_of_a_head_are_read(packing):
    (attention,) = xn.read(Model(packing), tokens()).attentions
    assert attention.head_width == HEAD


def test_pytorchs_own_attention():
    """Its forward is the oracle: alone, a token becomes minus itself; among others, it looks at itself most."""
    torch.manual_seed(0)
    model = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(32, 6, WIDTH)
    plan = xn.plan(model, "mimetic", example=(x, x, x))
    xn.apply(plan, model, seed=0)
    for row in plan.rows:
        if row.scheme and row.scheme.startswith("Mimetic"):
            assert row.expected_std == pytest.approx(model.get_parameter(row.parameter).std().item(), rel=0.03)
    with torch.no_grad():
        _, seen = model(x, x, x, average_attn_weights=False)
        alone, _ = model(x[:, :1], x[:, :1], x[:, :1])
    along = (alone * x[:, :1]).sum(-1) / x[:, :1].square().sum(-1)
    assert along.mean().item() == pytest.approx(-0.4, abs=0.05)
    own = seen.diagonal(dim1=2, dim2=3).mean()
    assert own > 3 * (1 - own) / 5


def test_layers_and_seeds_differ_and_a_seed_repeats():
    model, other, again = started(layers=2), started(layers=2, seed=1), started(layers=2)
    first, second = (value_product(layer["attn"]) for layer in model.layers)
    assert not torch.allclose(first, second, atol=0.1)
    assert not torch.allclose(first, value_product(other.layers[0]["attn"]), atol=0.1)
    assert torch.equal(first, value_product(again.layers[0]["attn"]))


def test_a_plan_folds_layers_and_reads_back():
    model = Model(layers=3)
    plan = xn.plan(model, "mimetic", example=tokens())
    assert "layers.{0-2}.attn.q.weight" in str(plan)
    assert from_json(to_json(plan)) == plan


class ByKind(nn.Module):
    """The maps of all layers lie in lists by kind, so that partners share no name that others lack."""

    def __init__(self, layers=2):
        super().__init__()
        self.q, self.k, self.v, self.o = (
            nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers)) for _ in range(4)
        )

    def forward(self, x):
        for q, k, v, o in zip(self.q, self.k, self.v, self.o, strict=True):
            x = x + o(nn.functional.scaled_dot_product_attention(q(x)[:, None], k(x)[:, None], v(x)[:, None])[:, 0])
        return x


def test_partners_without_a_name_of_their_own_are_told_apart():
    model = ByKind()
    xn.initialize(model, "mimetic", tokens(), seed=0)
    first, second = (o.weight @ v.weight for o, v in zip(model.o, model.v, strict=True))
    assert first.diagonal().mean().item() == pytest.approx(-0.4, abs=0.05)
    assert second.diagonal().mean().item() == pytest.approx(-0.4, abs=0.05)
    assert not torch.allclose(first, second, atol=0.1)


def test_all_else_is_kept_and_biases_of_attention_are_zero():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True)
    nn.init.ones_(layer.self_attn.in_proj_bias)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    xn.initialize(layer, "mimetic", tokens(), seed=0)
    changed = {name for name, value in layer.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight"}
    assert not layer.self_attn.in_proj_bias.any()


def test_numbers_are_options():
    model = started(recipe="mimetic(score_alpha=0, score_beta=-0.5, value_alpha=0, value_beta=1.5)", heads=1)
    attention = model.layers[0]["attn"]
    torch.testing.assert_close(score_products(attention)[0], -0.5 * torch.eye(WIDTH).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(value_product(attention), -1.5 * torch.eye(WIDTH).double(), atol=1e-5, rtol=0)
    with pytest.raises(InvalidValueError, match="score_beta is inf"):
        xn.plan(Model(), "mimetic(score_beta=inf)", example=tokens())


def tied():
    model = Model()
    model.layers[0]["attn"].k.weight = model.layers[0]["attn"].q.weight
    return model


def frozen():
    model = Model()
    model.layers[0]["attn"].v.weight.requires_grad_(requires_grad=False)
    return model


class Across(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.other = (
            nn.MultiheadAttention(WIDTH, 2, kdim=12, vdim=12, batch_first=True),
            nn.Linear(WIDTH, 12),
        )

    def forward(self, x):
        y = self.other(x)
        return self.attn(x, y, y)[0]


REFUSED = {
    "no attention": (Residual, lambda: vectors()[0], "Residual has no attention"),
    "grouped": (lambda: Model(groups=2), tokens, "64 units of queries share 32 of keys"),
    "grouped in one tensor": (lambda: Model("side by side", groups=1), tokens, "64 units of queries share 16 of keys"),
    "two widths": (Across, tokens, "widths 12, 64"),
    "more values than width": (lambda: Model(head=32), tokens, "with 128 values"),
    "tied": (tied, tokens, "is tied to another tensor"),
    "frozen": (frozen, tokens, "'layers.0.attn.v.weight' is frozen"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_attention_without_such_products_is_refused_and_left_alone(name):
    make, example, message = REFUSED[name]
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(RecipeError, match=message) as caught:
        xn.initialize(model, "mimetic", example(), seed=0)
    assert caught.value.fix
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class AcrossChannels(nn.Module):
    """Attention whose scores compare channels over the places, as cross-covariance attention does."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(12, 12) for _ in range(4))

    def forward(self, x):
        q, k, v = (m(x).transpose(-2, -1) for m in (self.query, self.key, self.value))
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return x + self.out(mixed.transpose(-2, -1))


def test_attention_across_channels_is_refused():
    with pytest.raises(RecipeError, match="each score sums up 5 products, which deal out no 12 units of queries"):
        xn.plan(AcrossChannels(), "mimetic", example=torch.randn(2, 5, 12))
