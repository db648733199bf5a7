"""Laws by depth on models of libraries: what their own classes say is a value, an output or a feed-forward map."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import exnihilo as xn
from exnihilo.errors import RecipeError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1]))

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries warn of is not ours to mend


@pytest.fixture(scope="module")
def made():
    """A model and its example by the name of the benchmark."""
    if not all(find_spec(package) for package in ("transformers", "timm", "peft")):
        pytest.skip("the libraries that the models come from are not installed")
    import structure as benchmark  # benchmarks/structure.py

    specs = {spec.name: spec for spec in benchmark.listed()}
    return lambda name: (specs[name].build(), specs[name].example())


# Of each library: the last parts of the names of the maps that the law scales, all of them by the papers' own words.
BERT = (".value", "attention.output.dense", "intermediate.dense", "layer.{}.output.dense")
BART = ("v_proj", "out_proj", "fc1", "fc2")
# By hand, of 2 layers (or of 2 and 2): 16**-0.25; 0.87 * 32**(-1 / 16); 24**-0.25.
ALONE, ENCODER, DECODER = 0.5, 0.700557, 0.451801


def scaled(name, endings):
    path = name.removesuffix(".weight")
    return any(path.endswith(ending.format(layer)) for ending in endings for layer in (0, 1))


@pytest.mark.parametrize(
    ("name", "endings", "sides"),
    [
        ("hf:bert", BERT, {"bert.": ALONE}),
        ("hf:bart", BART, {"model.encoder": ENCODER, "model.decoder": DECODER}),
        ("hf:marian", BART, {"model.encoder": ENCODER, "model.decoder": DECODER}),
    ],
)
def test_deepnorm_scales_what_the_library_calls_value_output_and_feed_forward(made, name, endings, sides):
    model, example = made(name)
    plan = xn.plan(model, "deepnorm", example=example)
    found = {row.parameter: row.scheme for row in plan.rows if "xavier" in (row.scheme or "")}
    gains = {row: float(text[19:-1]) if "gain" in text else 1.0 for row, text in found.items()}
    for row, gain in gains.items():
        by_hand = next((value for side, value in sides.items() if row.startswith(side)), 1.0)
        assert gain == pytest.approx(by_hand if scaled(row, endings) else 1.0, rel=1e-5), row
    assert sum(gain != 1.0 for gain in gains.values()) == (8 if len(sides) == 1 else 8 + 12)
    xn.apply(plan, model, seed=0)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_values_inside_a_packed_weight_of_the_first_gpt_are_scaled_alone(made):
    model, example = made("hf:openai-gpt")
    xn.apply(xn.plan(model, "deepnorm", example=example), model, seed=0)
    for layer in model.transformer.h:
        width = layer.attn.c_attn.weight.shape[0]  # stored inputs first
        parts = [part.std().item() * width**0.5 for part in layer.attn.c_attn.weight.split(width, dim=1)]
        assert parts == pytest.approx([1.0, 1.0, ALONE], rel=0.1)


@pytest.mark.parametrize(
    ("recipe", "name", "why"),
    [
        ("t-fixup", "hf:llama", "for networks without norms"),
        ("t-fixup", "hf:bert", "for networks without norms"),
        ("deepnorm", "hf:t5", "for norms behind the sums"),
        ("adaln-zero", "timm:test_vit", "VisionTransformer has no modulation"),
        ("zero-conv", "peft:llama+q_proj,v_proj", "no trained map of PeftModel joins a path"),
        ("zero-gate", "hf:bert", "no trained scale of BertForMaskedLM joins a path"),
    ],
)
def test_real_models_that_a_law_is_not_for_are_refused(made, recipe, name, why):
    model, example = made(name)
    with pytest.raises(RecipeError, match=why):
        xn.plan(model, recipe, example=example)


def test_an_adapter_by_peft_is_closed_by_its_own_gate(made):
    """PEFT's adaption prompt: ``output + gate * adapter_output`` in each layer that is adapted."""
    import torch
    from peft import AdaptionPromptConfig, get_peft_model

    model, example = made("hf:llama")
    config = AdaptionPromptConfig(adapter_layers=2, adapter_len=4, task_type="CAUSAL_LM")
    alone = model(**example).logits if isinstance(example, dict) else model(*example).logits
    adapted = get_peft_model(model, config).eval()
    gates = [name for name, _ in adapted.named_parameters() if name.endswith("adaption_gate")]
    with torch.no_grad():
        for name in gates:
            adapted.get_parameter(name).fill_(1.0)
    plan = xn.plan(adapted, "zero-gate", example=example)
    assert [row.parameter for row in plan.rows if row.action == "assign"] == gates
    assert len(gates) == 2
    xn.apply(plan, adapted, seed=0)
    closed = adapted(**example).logits if isinstance(example, dict) else adapted(*example).logits
    assert torch.equal(closed, alone)


@pytest.mark.parametrize("name", ["hf:qwen2_moe", "hf:olmoe"])
def test_banks_of_experts_have_the_fans_of_one_expert(made, name):
    """The classes map by ``F.linear(x, bank[expert])``, though the run multiplies all experts at once, transposed."""
    model, example = made(name)
    structure = xn.read(model, example)
    hidden = model.config.hidden_size
    banks = [p for p in structure.parameters if p.name.endswith("gate_up_proj")]
    assert banks
    for bank in banks:
        assert (bank.layout.in_units, bank.layout.num_matrices) == (hidden, bank.shape[0])
        assert bank.layout.out_dims == (0, 1) and bank.layout.in_dims == (2,)
    plan = xn.plan(model, "sub-ln", structure=structure)
    xn.apply(plan, model, seed=0)
    weights = dict(model.named_parameters())
    gates, ups = zip(*(weights[bank.name].detach().chunk(2, dim=1) for bank in banks), strict=True)
    ratio = sum(float(up.std()) for up in ups) / sum(float(gate.std()) for gate in gates)
    # Of 2 layers without a decoder: the root of ln 4.
    assert ratio == pytest.approx(1.1774, rel=0.05)
