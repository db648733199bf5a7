"""T-Fixup, DeepNorm and Sub-LN: drawn values beside PyTorch's own Xavier and factors evaluated by hand."""

import math

import pytest
import torch
from torch import nn
from transformers_by_hand import PAIR, TOKENS, Both, Encoder, FeedForward, Gated, GatedPacked, Layer

import exnihilo as xn

WIDTH = 96


def drawn(model, recipe, example):
    """The standard deviation of what is drawn for each weight, beside that of PyTorch's Xavier of gain 1."""
    xn.apply(xn.plan(model, recipe, example=example), model, seed=0)
    found = {}
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            plain = nn.init.xavier_normal_(torch.empty_like(weight), generator=torch.Generator().manual_seed(1))
            found[name] = (weight.std() / plain.std()).item()
    return found


def expected(model, factor_of):
    return {name: pytest.approx(factor_of(name), rel=0.06) for name, p in model.named_parameters() if p.dim() == 2}


def is_scaled(name):
    return name.endswith(("v.weight", "o.weight", "up.weight", "down.weight"))


def test_t_fixup_of_an_encoder_as_its_paper_has_it():
    # By hand, of 4 layers: 0.67 / 4**0.25 = 0.473762. Of embeddings: 96**-0.5 * 36**-0.25 = 0.041667.
    model = Encoder(4, WIDTH)
    found = drawn(model, "t-fixup", TOKENS)
    assert found.pop("table.weight")
    assert model.table.weight.std().item() == pytest.approx(0.041667, rel=0.06)
    wanted = expected(model, lambda name: 0.473762 if is_scaled(name) else 1.0)
    del wanted["table.weight"]
    assert found == wanted


def test_t_fixup_of_encoder_and_decoder_scales_cross_attention_too():
    # By hand: 0.67 / 2**0.25 = 0.563401 in the encoder of 2 layers, 1 / 27**0.25 = 0.438691 in the decoder of 3.
    model = Both(2, 3, WIDTH)
    for name, ratio in drawn(model, "t-fixup", PAIR).items():
        if not name.startswith(("source", "target")):
            factor = 1.0 if not is_scaled(name) else 0.563401 if name.startswith("reads") else 0.438691
            assert ratio == pytest.approx(factor, rel=0.06), name
    # 96**-0.5 / 27**0.25 = 0.044773, by the larger of the two depths.
    assert [t.weight.std().item() for t in (model.source, model.target)] == pytest.approx([0.044773] * 2, rel=0.06)


def test_tied_frozen_and_positional_tables_have_the_law_of_their_role():
    model = Encoder(1, WIDTH)
    model.head = nn.Linear(WIDTH, 20, bias=False)
    model.head.weight = model.table.weight
    model.layers[0].mlp.up.weight.requires_grad_(False)
    rows = xn.plan(model, "t-fixup", example=TOKENS).by_name
    # 96**-0.5 / 9**0.25 = 0.058926.
    assert rows["table.weight"].expected_std == pytest.approx(0.058926, rel=1e-4)
    assert rows["head.weight"].tied_to == "table.weight"
    assert rows["layers.0.mlp.up.weight"].action == "keep"


def post_norm(num_layers, width=16):
    layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False), torch.zeros(2, 3, width)


def ratios(model, recipe, example, width=WIDTH):
    """By parameter, each packed part apart: the drawn standard deviation beside Xavier's of that one matrix."""
    xn.apply(xn.plan(model, recipe, example=example), model, seed=0)
    found = {}
    for name, weight in model.named_parameters():
        parts = weight.detach().split(width) if name.endswith("in_proj_weight") else [weight.detach()]
        for part in parts if weight.dim() == 2 else ():
            found.setdefault(name, []).append(part.std().item() * math.sqrt(sum(part.shape) / 2.0))
    return found


def test_deepnorm_of_pytorchs_encoder_scales_the_values_inside_a_packed_tensor():
    # By hand, of 2 layers: (8 * 2)**-0.25 = 0.5.
    model, x = post_norm(2, WIDTH)
    for name, found in ratios(model, "deepnorm", x).items():
        assert found == pytest.approx([1.0, 1.0, 0.5] if len(found) == 3 else [0.5], rel=0.06), name


def test_deepnorm_of_pytorchs_transformer_has_both_formulas():
    # By hand, N = 3, M = 2: 0.87 * 162**(-1 / 16) = 0.633026, and 24**-0.25 = 0.451801.
    model = nn.Transformer(WIDTH, 2, 3, 2, 192, dropout=0.0, batch_first=True)
    model.encoder.enable_nested_tensor = False
    found = ratios(model, "deepnorm", (torch.zeros(1, 3, WIDTH), torch.zeros(1, 4, WIDTH)))
    assert sum("multihead_attn" in name for name in found) == 4
    for name, parts in found.items():
        gain = 0.633026 if name.startswith("encoder") else 0.451801
        assert parts == pytest.approx([1.0, 1.0, gain] if len(parts) == 3 else [gain], rel=0.06), name


def test_sub_ln_grows_with_the_logarithm_of_depth():
    # By hand: sqrt(ln 8) = 1.442027 for 4 layers.
    model = Encoder(4, WIDTH, norm=nn.LayerNorm, inner=nn.LayerNorm)
    found = drawn(model, "sub-ln", TOKENS)
    wanted = expected(model, lambda name: 1.442027 if is_scaled(name) else 1.0)
    del found["table.weight"], wanted["table.weight"]
    assert found == wanted
    assert model.table.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_sub_ln_of_encoder_and_decoder():
    # By hand, N = 2, M = 3: sqrt(ln 9 * ln 4 / 3) = 1.007631, sqrt(ln 9) = 1.482304.
    model = Both(2, 3, WIDTH, norm=nn.LayerNorm, inner=nn.LayerNorm)
    found = drawn(model, "sub-ln", PAIR)
    for name, ratio in found.items():
        if not name.startswith(("source", "target")):
            gain = 1.0 if not is_scaled(name) else 1.007631 if name.startswith("reads") else 1.482304
            assert ratio == pytest.approx(gain, rel=0.06), name


@pytest.mark.parametrize("feed_forward", [Gated, GatedPacked])
def test_of_a_gated_map_two_of_three_factors_are_scaled(feed_forward):
    # By hand, of 1 layer: 0.67.
    model = Encoder(1, WIDTH, feed_forward=feed_forward)
    xn.apply(xn.plan(model, "t-fixup", example=TOKENS), model, seed=0)
    mlp = model.layers[0].mlp
    gate, up = (mlp.gate.weight, mlp.up.weight) if feed_forward is Gated else mlp.both.weight.chunk(2)
    xavier = math.sqrt(2.0 / (WIDTH + 24))
    assert [w.std().item() / xavier for w in (gate, up, mlp.down.weight)] == pytest.approx([1, 0.67, 0.67], rel=0.05)


class Convolved(nn.Module):
    """A residual convolution and a feed-forward branch before two layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.first = nn.Conv1d(WIDTH, WIDTH, 3, padding=1), FeedForward(WIDTH)
        self.behind = Encoder(2, WIDTH)

    def forward(self, tokens):
        x = self.behind.table(tokens)
        x = x + torch.relu(self.conv(x.mT)).mT
        x = x + self.first(x)
        for layer in self.behind.layers:
            x = layer(x)
        return self.behind.head(x)


def test_a_backbone_of_convolutions_before_the_first_attention_is_of_no_layer():
    rows = xn.plan(Convolved(), "t-fixup", example=TOKENS).by_name
    assert rows["conv.weight"].scheme == "xavier_normal"
    # By hand, of 2 layers: 0.67 / 2**0.25; the branch before the first attention is of the first of them.
    ends = ("first.up", "first.down", "behind.layers.1.mlp.down")
    found = [rows[f"{name}.weight"].scheme for name in ends]
    assert found == [f"xavier_normal(gain={0.67 * 2**-0.25!r})"] * 3


class Parallel(nn.Module):
    """Attention and feed-forward maps side by side on one branch, three times."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, WIDTH)
        self.layers = nn.ModuleList(Layer(WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, 20)

    def forward(self, tokens):
        x = self.table(tokens)
        for layer in self.layers:
            x = x + (layer.attend(x) + layer.mlp(x))
        return self.head(x)


def test_branches_that_all_hold_an_attention_are_a_layer_each():
    rows = xn.plan(Parallel(), "t-fixup", example=TOKENS).by_name
    # By hand, of 3 layers: 0.67 / 3**0.25; queries keep their law.
    for name in ("attend.v", "attend.o", "mlp.up"):
        assert rows[f"layers.1.{name}.weight"].scheme == f"xavier_normal(gain={0.67 * 3**-0.25!r})"
    assert rows["layers.2.attend.q.weight"].scheme == "xavier_normal"


def test_a_network_without_norms_keeps_its_scale_at_any_depth():
    """The bound's first half: the sum of all branches stays within a factor of its input, where Xavier's grows."""
    x = torch.randint(0, 20, (8, 6), generator=torch.Generator().manual_seed(0))
    growth = {}
    for recipe in ("t-fixup", "xavier"):
        model = Encoder(48, 64)
        xn.apply(xn.plan(model, recipe, example=x), model, seed=0)
        h = start = model.table(x)
        for layer in model.layers:
            h = layer(h)
        growth[recipe] = (h.square().mean() / start.square().mean()).item()
    assert growth["t-fixup"] < 10.0 < growth["xavier"]
