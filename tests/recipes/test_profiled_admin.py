"""admin with a profile: variances by hooks on a real post-norm transformer, and the shares that the paper promises."""

import itertools

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, ReadError, RecipeError
from exnihilo.recipes.admin import Admin
from gated_networks import Residual, vectors

WIDTH, HEADS, INNER, LAYERS = 64, 4, 128, 6


def encoder(layers=LAYERS):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def tokens():
    torch.manual_seed(1)
    return torch.randn(16, 12, WIDTH)


def sums(model, *inputs):
    """Of each norm of the layers, in the order in which they run: shortcut, and sum. PyTorch's hooks are the oracle."""
    found, last = [], {}

    def before(_, given):
        shortcut = last["out"] if last else inputs[0]
        found.append((shortcut, given[0]))

    def behind(_, __, out):
        last["out"] = out

    norms = [m for name, m in model.named_modules() if isinstance(m, nn.LayerNorm) and "layers" in name]
    handles = [h for m in norms for h in (m.register_forward_pre_hook(before), m.register_forward_hook(behind))]
    with torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return found


def variances(model, x):
    """By hooks: of what each branch adds."""
    return [(summed - shortcut).var(correction=0).item() for shortcut, summed in sums(model, x)]


def test_the_first_branches_profile_is_what_hooks_see_and_nothing_is_written():
    model, x = encoder(), tokens()
    xn.initialize(model, "xavier(distribution=normal)", x, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    profile = xn.profile_branches(model, x)
    assert profile[0] == pytest.approx(variances(model, x)[0], rel=1e-5)
    assert len(profile) == 2 * LAYERS
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_each_branch_makes_its_share_of_the_sums_so_far():
    """v_i / (1 + v_1 + ... + v_i), by hooks on the model that the recipe started; v by hand without the gates."""
    model, x = encoder(), tokens()
    xn.initialize(model, "xavier(distribution=normal)", x, seed=0)
    xn.initialize(model, f"admin(profile={xn.profile_branches(model, x)})", x, seed=0)
    gates = [part.branch_gate for m in model.layers for part in (m.self_attn.out_proj, m.linear2)]
    assert all(gate.requires_grad for gate in gates)
    seen = sums(model, x)
    added = [(summed - shortcut).var(correction=0).item() for shortcut, summed in seen]
    given = [v / gate.item() ** 2 for v, gate in zip(added, gates, strict=True)]
    shares = [v / (v + shortcut.var(correction=0).item()) for v, (shortcut, _) in zip(added, seen, strict=True)]
    expected = [v / (1 + total) for v, total in zip(given, itertools.accumulate(given), strict=True)]
    assert shares == pytest.approx(expected, rel=0.01)
    assert len({round(share, 2) for share in expected}) > 5  # they are not all alike


def test_the_weights_of_the_shortcuts_by_hand():
    """omega: sqrt(1), sqrt(1 + 0.5), sqrt(1 + 0.5 + 2), sqrt(1 + 0.5 + 2 + 0.25)."""
    model, x = encoder(2), tokens()
    xn.initialize(model, Admin(profile=(0.5, 2.0, 0.25, 7.0)), x, seed=0)
    gates = [part.branch_gate.item() for m in model.layers for part in (m.self_attn.out_proj, m.linear2)]
    assert gates == pytest.approx([1.0, 1.5**-0.5, 3.5**-0.5, 3.75**-0.5])


def test_a_decoder_counts_anew():
    torch.manual_seed(0)
    model = nn.Transformer(WIDTH, HEADS, 1, 1, INNER, batch_first=True, dropout=0.0)
    x = tokens()
    xn.initialize(model, Admin(profile=(3.0, 3.0, 8.0, 15.0, 1.0)), (x, x), seed=0)
    decoder = model.decoder.layers[0]
    gates = [
        m.branch_gate.item() for m in (decoder.self_attn.out_proj, decoder.multihead_attn.out_proj, decoder.linear2)
    ]
    assert gates == pytest.approx([1.0, 9**-0.5, 24**-0.5])
    assert model.encoder.layers[0].linear2.branch_gate.item() == pytest.approx(0.5)


def test_the_closed_form_is_that_of_variances_of_one():
    """Without growth omega ** 2 is n for n branches: what a profile of ones gives the branch behind n - 1 others."""
    model, x = encoder(2), tokens()
    xn.initialize(model, Admin(profile=(1.0,) * 4), x, seed=0)
    assert model.layers[1].linear2.branch_gate.item() == pytest.approx(1 / Admin(growth="constant").omega(4))


def test_a_profile_of_another_model_or_of_no_variances_is_refused():
    with pytest.raises(RecipeError, match="a profile of 2 branches, and TransformerEncoder has 12") as caught:
        xn.plan(encoder(), Admin(profile=(1.0, 1.0)), example=tokens())
    assert "profile_branches" in caught.value.fix
    with pytest.raises(InvalidValueError, match=r"admin\.profile is -1"):
        Admin(profile=(-1.0,))


def test_a_profile_of_an_encoder_and_a_decoder_begins_twice():
    """The first branch of each stream sees a shortcut that counts once: by hooks on the model as it is."""
    torch.manual_seed(0)
    model, x = nn.Transformer(WIDTH, HEADS, 2, 2, INNER, batch_first=True, dropout=0.0), tokens()
    xn.initialize(model, "xavier(distribution=normal)", (x, x), seed=0)
    assert [branch.after for branch in xn.read(model, (x, x)).branches] == [None, 0, 1, 2, None, 4, 5, 6, 7, 8]
    assert [branch.after for branch in xn.read(Residual(blocks=3), vectors()[0]).branches] == [None, 0, 1]
    profile = xn.profile_branches(model, (x, x))
    decoder = model.decoder.layers[0]
    with torch.no_grad():
        attended = decoder.self_attn(x, x, x)[0]
    assert profile[4] == pytest.approx(attended.var(correction=0).item(), rel=1e-4)


def test_norms_elsewhere_and_models_without_values_have_no_profile():
    with pytest.raises(RecipeError, match="A profile is of norms behind the sums"):
        xn.profile_branches(Residual(blocks=2), vectors()[0])
    with pytest.raises(ReadError):
        xn.profile_branches(encoder().to("meta"), tokens())
