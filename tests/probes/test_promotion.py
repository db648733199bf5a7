"""In float64 a loss is computed in float64 throughout, whatever the model casts to by itself."""

import pytest
import torch
import torch.nn.functional as F
from closed import Attention, tokens
from torch import nn

from exnihilo.checks.check import check
from exnihilo.probes.fates import learning_of
from exnihilo.probes.promotion import grouped_product
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial
from gated import Case, D, samples
from torchvision_shim import define_missing_operators

TORCHVISION = define_missing_operators()  # kept: with it the operators would go


class Rounded(torch.autograd.Function):
    """A kernel of a user's own, which computes in float32 both ways."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.float().tanh()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return (grad.float() * (1 - x.float().tanh() ** 2)).to(grad.dtype)


def _written_to(x):
    out = torch.empty(x.shape)
    out[:] = x
    return out


def _added_to(x):
    return torch.zeros(x.shape).index_add_(0, torch.arange(len(x)), x.float())


def _autocast(dtype):
    def product(x):
        with torch.autocast("cpu", dtype):
            return F.linear(x, torch.eye(D))

    return product


def _in_place(x):
    return x.float().mul_(2.0).add_(x.half())


# What a model does by itself, and the same without its casts.
CASTS = {
    "float": (lambda x: x.float(), lambda x: x),
    "half": (lambda x: x.half(), lambda x: x),
    "bfloat16": (lambda x: x.to(torch.bfloat16), lambda x: x),
    "type_as": (lambda x: x.type_as(torch.zeros(1)), lambda x: x),
    "softmax in float32": (lambda x: F.softmax(x, -1, dtype=torch.float32), lambda x: F.softmax(x, -1)),
    "log_softmax in float32": (lambda x: F.log_softmax(x, -1, dtype=torch.float32), lambda x: F.log_softmax(x, -1)),
    "a sum in float32": (lambda x: x / x.square().sum(dtype=torch.float32), lambda x: x / x.square().sum()),
    "a mean in float32": (
        lambda x: x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True)),
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)),
    ),
    "layer norm in float32": (lambda x: F.layer_norm(x.float(), (D,)).to(x.dtype), lambda x: F.layer_norm(x, (D,))),
    "autocast to bfloat16": (_autocast(torch.bfloat16), lambda x: x),
    "autocast to float16": (_autocast(torch.float16), lambda x: x),
    "a product with what is made in float32": (lambda x: x * torch.ones(D, dtype=torch.float32), lambda x: x),
    "what is written to a tensor of float32": (_written_to, lambda x: x),
    "what is added to zeros of float32": (_added_to, lambda x: x),
    "writes in place": (_in_place, lambda x: 3.0 * x),
    "a kernel of one's own": (Rounded.apply, torch.tanh),
    "a sum of mixed kinds": (lambda x: torch.cat([x.half(), x.float()], -1)[:, :D] + x.bfloat16(), lambda x: 2.0 * x),
}


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.map, self.head, self.between = nn.Linear(D, D), nn.Linear(D, 4), between

    def forward(self, x):
        return self.head(self.between(torch.tanh(self.map(x))).to(self.head.weight.dtype))


@pytest.mark.parametrize("name", CASTS)
def test_loss_and_gradients_are_those_of_float64_without_the_casts(name):
    torch.manual_seed(0)
    casting, plain = CASTS[name]
    x, y = samples()
    net = Net(casting)
    trial = Trial(net, Question(batch=(x, y), criterion=nn.CrossEntropyLoss()), samples=None)
    loss = trial.evaluate().loss
    found = trial.gradients(loss)
    bare = Net(plain)
    bare.load_state_dict(net.state_dict())
    bare.double()
    wanted = F.cross_entropy(bare(x.double()), y)
    wanted.backward()
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.detach(), wanted.detach(), rtol=1e-13, atol=0)
    for parameter, gradient in bare.named_parameters():
        torch.testing.assert_close(found[parameter], gradient.grad, rtol=1e-11, atol=1e-15)


def test_what_a_loss_holds_in_float32_is_cast_where_it_meets_the_rest():
    """A criterion is not copied; neither is what a function closes over."""
    torch.manual_seed(0)
    (x, y), net, turn = samples(), Net(lambda x: x), torch.randn(4, 4)
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.1, 0.2, 0.3, 0.4]))
    question = Question(batch=(x, y), criterion=lambda out, target: criterion(out @ turn, target))
    loss = Trial(net, question, samples=None).evaluate().loss
    wanted = F.cross_entropy(net.double()(x.double()) @ turn.double(), y, weight=criterion.weight.double())
    torch.testing.assert_close(loss.detach(), wanted.detach(), rtol=1e-13, atol=0)


class Cast(nn.Module):
    """Attention whose maps are cast on their way, by autocast or by hand, to a lower dtype and back."""

    def __init__(self, by_hand):
        super().__init__()
        self.inner, self.by_hand = Attention(), by_hand

    def forward(self, x):
        if not self.by_hand:
            with torch.autocast("cpu", torch.bfloat16):
                return self.inner(x).float()
        casts = {name: p.half().float() for name, p in self.inner.named_parameters()}
        return torch.func.functional_call(self.inner, casts, (x,))


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_parameter_that_is_cast_is_known_by_what_its_cast_does(by_hand):
    torch.manual_seed(0)
    model = Cast(by_hand)
    case = Case(model, tokens(), nn.CrossEntropyLoss())
    cast, plain = (
        {o.parameter.removeprefix("inner."): (o.use, o.unit_dims, o.fate, o.step) for o in found.openings}
        for found in (
            learning_of(m, Question(batch=case.batch, criterion=case.criterion)) for m in (model, model.inner)
        )
    )
    assert cast == plain


GROUPED = [
    ("rows", (12, 5), (3, 5, 4)),
    ("columns", (3, 6, 5), (5, 12)),
    ("inner", (6, 12), (12, 4)),
    ("stacks", (3, 6, 5), (3, 5, 4)),
]


@pytest.mark.parametrize("kind, left, right", GROUPED)
def test_a_grouped_product_is_one_product_for_each_group(kind, left, right):
    torch.manual_seed(0)
    left, right = torch.randn(left, dtype=torch.float64), torch.randn(right, dtype=torch.float64)
    ends = torch.tensor([5, 5, 12], dtype=torch.int32)  # the second group is empty
    found = grouped_product(left, right, None if kind == "stacks" else ends)
    for group, (first, end) in enumerate([(0, 5), (5, 5), (5, 12)]):
        if kind == "rows":
            torch.testing.assert_close(found[first:end], left[first:end] @ right[group])
        elif kind == "columns":
            torch.testing.assert_close(found[:, first:end], left[group] @ right[:, first:end])
        elif kind == "inner":
            torch.testing.assert_close(found[group], left[:, first:end] @ right[first:end])
        else:
            torch.testing.assert_close(found[group], left[group] @ right[group])


def gpt2(t):
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    return t.GPT2LMHeadModel(t.GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, **none))


SMALL = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}


def llama(t):
    return t.LlamaForCausalLM(t.LlamaConfig(**SMALL, **HEADS))


def t5(t):
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return t.T5ForConditionalGeneration(t.T5Config(**sizes, dropout_rate=0.0, decoder_start_token_id=0))


def mixtral(t):
    return t.MixtralForCausalLM(t.MixtralConfig(**SMALL, **HEADS, num_local_experts=4, num_experts_per_tok=2))


def qwen2_moe(t):
    sizes = {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4}
    return t.Qwen2MoeForCausalLM(t.Qwen2MoeConfig(**SMALL, **HEADS, **sizes, num_experts_per_tok=2))


LIBRARY = {
    "GPT-2": (gpt2, None),
    "Llama": (llama, None),
    "T5": (t5, None),
    "Mixtral": (mixtral, "grouped_mm"),
    "Mixtral, expert by expert": (mixtral, "eager"),
    "Qwen2-MoE": (qwen2_moe, "grouped_mm"),
}


def from_library(name):
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    make, experts = LIBRARY[name]
    torch.manual_seed(0)
    model = make(transformers)
    if experts is not None:
        model.set_experts_implementation(experts)
    ids = torch.randint(0, 50, (4, 8), generator=torch.Generator().manual_seed(1))
    return model, {"input_ids": ids, "labels": ids}


# Of the fourth-order difference: step 1e-5 leaves about 1e-16/1e-5 of rounding.
DIFFERENCE = 3e-9


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", LIBRARY)
def test_models_that_cast_by_themselves_have_the_gradient_of_their_float64_loss(name):
    """Finite differences of a loss that was rounded to float32 anywhere would be off by more than half."""
    model, batch = from_library(name)
    trial = Trial(model, Question(batch=batch), samples=None)
    evaluation = trial.evaluate()
    assert evaluation.loss.dtype == torch.float64
    gradients, start = trial.gradients(evaluation.loss), trial.values()
    draw = torch.Generator().manual_seed(2)
    along = {n: torch.randn(v.shape, dtype=v.dtype, generator=draw) for n, v in start.items()}

    def loss(steps):
        trial.set({n: start[n] + steps * 1e-5 * along[n] for n in start})
        return float(trial.evaluate().loss.detach())

    difference = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / 12e-5
    slope = sum(float((gradients[n] * along[n]).sum()) for n in start if gradients[n] is not None)
    assert difference == pytest.approx(slope, rel=DIFFERENCE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", LIBRARY)
def test_models_of_the_library_pass_and_a_dead_end_in_them_is_named(name):
    model, batch = from_library(name)
    assert check(model, batch).ok
    ends = {"GPT-2": ("mlp.c_fc", "mlp.c_proj"), "T5": ("DenseReluDense.wi", "DenseReluDense.wo")}
    inner, outer = ends.get(name, ("v_proj", "o_proj"))
    first = next(n for n, _ in model.named_parameters() if inner in n).partition(inner)[0]
    zeros = [n for n, _ in model.named_parameters() if n.startswith((f"{first}{inner}", f"{first}{outer}"))]
    with torch.no_grad():
        for n in zeros:
            model.get_parameter(n).zero_()
    found = check(model, batch)
    assert found.findings[0].code == "stuck-saddle"
    assert set(found.findings[0].parameters) >= {n for n in zeros if "bias" not in n}
