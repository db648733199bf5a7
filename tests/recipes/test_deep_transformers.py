"""DeepNorm, T-Fixup, Sub-LN and adaLN-Zero: their formulas by hand, and their promises by running models."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecipeError
from exnihilo.recipes.deepnorm import deepnorm_factors

WIDTH, HEADS, INNER = 16, 2, 32


def encoder(layers=4, *, norm_first=False):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, batch_first=True, dropout=0.0, norm_first=norm_first, activation=nn.functional.relu
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def both(encoding=2, decoding=3):
    torch.manual_seed(0)
    return nn.Transformer(WIDTH, HEADS, encoding, decoding, INNER, batch_first=True, dropout=0.0)


def tokens():
    torch.manual_seed(1)
    return torch.randn(3, 5, WIDTH)


class Attending(nn.Module):
    """Attention and a feed-forward map beside it, without norms, behind a table."""

    def __init__(self, layers=3):
        super().__init__()
        self.words = nn.Embedding(20, WIDTH)
        names = ("query", "key", "value", "out", "up")
        self.maps = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names}) for _ in range(layers)
        )
        self.down, self.head = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers)), nn.Linear(WIDTH, 4)

    def forward(self, ids):
        x = self.words(ids)
        for maps, down in zip(self.maps, self.down, strict=True):
            q, k, v = (maps[name](x)[:, None] for name in ("query", "key", "value"))
            x = x + maps["out"](nn.functional.scaled_dot_product_attention(q, k, v)[:, 0])
            x = x + down(torch.relu(maps["up"](x)))
        return self.head(x.mean(1))


def std(plan, name):
    return plan.by_name[name].expected_std


XAVIER = (2 / (WIDTH + WIDTH)) ** 0.5


def test_deepnorm_by_hand():
    """4 layers: alpha 8 ** (1/4) = 1.6818, beta 32 ** (-1/4) = 0.42045; queries and keys keep Xavier's law."""
    model = encoder(4)
    plan = xn.plan(model, "deepnorm", example=tokens())
    assert std(plan, "layers.0.self_attn.out_proj.weight") == pytest.approx(0.42045 * XAVIER, rel=1e-4)
    xn.apply(plan, model, seed=0)
    packed = model.layers[2].self_attn.in_proj_weight.detach()
    for rows, factor in ((packed[:WIDTH], 1.0), (packed[WIDTH : 2 * WIDTH], 1.0), (packed[2 * WIDTH :], 0.42045)):
        assert rows.std().item() == pytest.approx(factor * XAVIER, rel=0.15)
    assert model.layers[1].linear2.branch_gate.item() == pytest.approx(1 / 1.6818, rel=1e-4)
    assert not [name for name, _ in model.named_parameters() if "gate" in name]  # constants are not trained


def test_deepnorm_scales_the_shortcut():
    """The oracle: the layer written out with alpha, from its own maps."""
    model, x = encoder(1), tokens()
    xn.initialize(model, "deepnorm", x, seed=0)
    layer, alpha = model.layers[0], 2**0.25
    layer.train()
    with torch.no_grad():
        attended = layer.self_attn(x, x, x)[0] / layer.self_attn.out_proj.branch_gate
        h = nn.functional.layer_norm(alpha * x + attended, (WIDTH,))
        inner = nn.functional.linear(torch.relu(layer.linear1(h)), layer.linear2.weight, layer.linear2.bias)
        expected = nn.functional.layer_norm(alpha * h + inner, (WIDTH,))
        torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_its_constants_fold_in(mode):
    model, x = encoder(3), tokens()
    xn.initialize(model, "deepnorm", x, seed=0)
    getattr(model, mode)()
    with torch.no_grad():
        expected = model(x)
        assert xn.fuse(model).left == ()
        torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)


def test_deepnorm_of_an_encoder_and_a_decoder_by_hand():
    """2 and 3 layers: 0.87 (16 * 3) ** (-1/16) = 0.6830 and 36 ** (-1/4) = 0.40825."""
    x = tokens()
    plan = xn.plan(both(), "deepnorm", example=(x, x))
    assert std(plan, "encoder.layers.0.self_attn.out_proj.weight") == pytest.approx(0.6830 * XAVIER, rel=1e-3)
    assert std(plan, "decoder.layers.0.multihead_attn.out_proj.weight") == pytest.approx(0.40825 * XAVIER, rel=1e-4)
    assert len(plan.gates) == 2 * 2 + 3 * 3
    assert deepnorm_factors(2, 3)[0] == pytest.approx(0.81 * 48 ** (1 / 16))


def test_sub_ln_by_hand():
    """4 layers: sqrt(ln 8) = 1.4420; 2 and 3: sqrt(ln 4 ln 9 / 3) = 1.0076 and sqrt(ln 9) = 1.4823."""
    x = tokens()
    assert std(xn.plan(encoder(4), "sub-ln", example=x), "layers.0.self_attn.out_proj.weight") == pytest.approx(
        1.4420 * XAVIER, rel=1e-4
    )
    plan = xn.plan(both(), "sub-ln", example=(x, x))
    assert std(plan, "encoder.layers.1.self_attn.out_proj.weight") == pytest.approx(1.0076 * XAVIER, rel=1e-3)
    assert std(plan, "decoder.layers.2.self_attn.out_proj.weight") == pytest.approx(1.4823 * XAVIER, rel=1e-3)


def test_t_fixup_by_hand():
    """3 layers: 0.67 * 3 ** (-1/4) = 0.50909; the table 27 ** (-1/4) / 4 = 0.10967."""
    ids = torch.zeros(2, 5, dtype=torch.int64)
    plan = xn.plan(Attending(3), "t-fixup", example=ids)
    assert std(plan, "maps.0.value.weight") == pytest.approx(0.50909 * XAVIER, rel=1e-4)
    assert std(plan, "maps.2.out.weight") == pytest.approx(0.50909 * XAVIER, rel=1e-4)
    assert std(plan, "maps.0.query.weight") == std(plan, "maps.0.key.weight") == pytest.approx(XAVIER)
    assert std(plan, "down.1.weight") == pytest.approx(0.50909 * XAVIER, rel=1e-4)
    assert std(plan, "words.weight") == pytest.approx(0.10967, rel=1e-4)


class Modulated(nn.Module):
    """Blocks whose scale, shift and gate come from a condition, and a head with a modulation of its own."""

    def __init__(self, blocks=2):
        super().__init__()
        self.stem, self.norm, self.head = (
            nn.Linear(8, WIDTH),
            nn.LayerNorm(WIDTH, elementwise_affine=False),
            nn.Linear(WIDTH, 4),
        )
        self.maps = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)) for _ in range(blocks)
        )
        self.modulations = nn.ModuleList(nn.Linear(6, 3 * WIDTH) for _ in range(blocks))
        self.last = nn.Linear(6, 2 * WIDTH)

    def forward(self, x, condition):
        x, c = self.stem(x), nn.functional.silu(condition)
        for maps, modulation in zip(self.maps, self.modulations, strict=True):
            scale, shift, gate = modulation(c).chunk(3, -1)
            x = x + gate * maps(self.norm(x) * (1 + scale) + shift)
        scale, shift = self.last(c).chunk(2, -1)
        return self.head(self.norm(x) * (1 + scale) + shift)


def conditioned():
    torch.manual_seed(1)
    return (torch.randn(16, 8), torch.randn(16, 6)), torch.arange(16) % 4


def test_adaln_zero_opens_in_three_steps():
    torch.manual_seed(0)
    model, batch = Modulated(), conditioned()
    xn.initialize(model, "adaln-zero", batch[0], seed=0)
    assert not model(*batch[0]).any()
    assert xn.certify(model, batch[0]).exact
    found = xn.check(model, batch, criterion=nn.CrossEntropyLoss())
    assert found.ok
    steps = found.opening_step
    assert steps["head.weight"] == 1
    assert steps["modulations.0.weight"] == steps["last.weight"] == 2
    assert steps["maps.1.2.weight"] == 3


def test_a_small_epsilon_opens_everything_at_once():
    torch.manual_seed(0)
    model, batch = Modulated(), conditioned()
    xn.initialize(model, "adaln-zero(epsilon=0.001)", batch[0], seed=0)
    assert set(xn.check(model, batch, criterion=nn.CrossEntropyLoss()).opening_step.values()) == {1}


REFUSED = {
    "deepnorm with norms in front": ("deepnorm", lambda: encoder(norm_first=True), tokens, "for norms behind the sums"),
    "t-fixup with norms": ("t-fixup", encoder, tokens, "without norms"),
    "deepnorm without attention": ("deepnorm", lambda: nn.Linear(WIDTH, 4), tokens, "no residual branch"),
    "sub-ln without attention": ("sub-ln", lambda: nn.Linear(WIDTH, 4), tokens, "no residual branch"),
    "adaln-zero without modulation": ("adaln-zero", encoder, tokens, "no modulation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_place_are_refused(name):
    recipe, make, example, message = REFUSED[name]
    with pytest.raises(RecipeError, match=message) as caught:
        xn.plan(make(), recipe, example=example())
    assert caught.value.fix


def test_admin_by_hand():
    """8 branches: omega ** 2 = 9 / ln 9 - 1 = 3.0961, so branches count 1 / 1.7596."""
    model, x = encoder(4), tokens()
    plan = xn.plan(model, "admin", example=x)
    xn.apply(plan, model, seed=0)
    gate = model.layers[3].self_attn.out_proj.branch_gate
    assert gate.requires_grad
    assert gate.item() == pytest.approx(1 / 1.7596, rel=1e-4)
    rigid = encoder(4)
    xn.initialize(rigid, "admin(growth=constant)", x, seed=0)
    assert rigid.layers[0].linear2.branch_gate.item() == pytest.approx(8**-0.5)


def test_of_packed_cross_attention_the_values_alone_are_scaled():
    """PyTorch packs query, key and value in this order; 2 and 3 layers scale the decoder's by 36 ** (-1/4)."""
    model, x = both(), tokens()
    packed = xn.read(model, (x, x)).by_name["decoder.layers.0.multihead_attn.in_proj_weight"]
    assert {part.role.value: part.ranges for part in packed.slices} == {
        "QUERY": ((0, WIDTH),), "KEY": ((WIDTH, 2 * WIDTH),), "VALUE": ((2 * WIDTH, 3 * WIDTH),)
    }  # fmt: skip
    xn.initialize(model, "deepnorm", (x, x), seed=0)
    query, key, value = model.decoder.layers[0].multihead_attn.in_proj_weight.detach().split(WIDTH)
    assert query.std().item() == pytest.approx(key.std().item(), rel=0.2)
    assert value.std().item() == pytest.approx(0.40825 * key.std().item(), rel=0.2)
