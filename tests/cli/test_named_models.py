"""Models of transformers and timm by name: with stand-ins for the packages, and with the packages where they are."""

import importlib.machinery
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from exnihilo.cli import extras
from exnihilo.cli.models import example_for, model_named
from exnihilo.errors import InvalidValueError, MissingExtraError, UnknownNameError
from exnihilo.structure.files import from_json


def stand_in(monkeypatch, name, **contents):
    """A module that takes the place of a package, installed or not."""
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


class Images(nn.Module):
    """Its values say whether it was built with memory."""

    def __init__(self, num_classes=10, computes=False):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)
        self.pretrained_cfg = {"input_size": (3, 20, 24)}
        if computes:
            self.rate = float(self.head.weight.sum())  # fails without memory

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))


@pytest.fixture
def timm(monkeypatch):
    made = {"tiny": Images, "computing": lambda **sizes: Images(computes=True, **sizes)}
    stand_in(monkeypatch, "torchvision")
    stand_in(
        monkeypatch,
        "timm",
        is_model=made.__contains__,
        list_models=lambda: list(made),
        create_model=lambda name, pretrained, **sizes: made[name](**sizes),
    )


def test_a_model_of_timm_is_built_without_memory_and_called_with_images_of_its_size(timm):
    named = model_named("timm:tiny", sizes=["num_classes=7"])
    assert named.model.head.weight.is_meta and named.model.head.out_features == 7
    assert example_for(named).shape == (2, 3, 20, 24)


def test_a_size_that_the_caller_changed_is_that_of_the_images(timm, monkeypatch):
    monkeypatch.setattr(sys.modules["timm"], "create_model", lambda name, **sizes: Images())
    assert example_for(model_named("timm:tiny", sizes=["img_size=32", "in_chans=5"])).shape == (2, 5, 32, 32)


def test_a_model_that_computes_while_it_is_built_gets_memory(timm):
    assert not model_named("timm:computing").model.head.weight.is_meta


def test_what_is_applied_is_built_with_memory_and_the_same_each_time(timm, net, ask):
    assert ask("plan", "timm:tiny", "--recipe", "zero-head", "--out", "plan.json")[0] == 0
    for name in ("a.pt", "b.pt"):
        assert ask("apply", "plan.json", "timm:tiny", "--seed", "0", "--out", name)[0] == 0
    first, second = torch.load("a.pt"), torch.load("b.pt")
    assert not first["head.weight"].any() and first["stem.weight"].any()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_building_leaves_the_random_state_as_it_was(timm):
    torch.manual_seed(5)
    first = torch.rand(2)
    torch.manual_seed(5)
    model_named("timm:tiny", on_meta=False)
    assert torch.equal(torch.rand(2), first)


def test_an_unknown_model_of_timm_gets_the_nearest(timm):
    with pytest.raises(UnknownNameError, match="timm has no model 'tinny'") as raised:
        model_named("timm:tinny")
    assert raised.value.fix == "timm:tiny"


def test_a_size_that_a_model_does_not_take_is_an_error_that_names_it(timm):
    with pytest.raises(InvalidValueError, match=r"timm:tiny cannot be built: TypeError.*num_clases"):
        model_named("timm:tiny", sizes=["num_clases=7"])


def test_a_torchvision_made_for_another_torch_is_named(timm, monkeypatch):
    def fails(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(extras.importlib, "import_module", fails)
    with pytest.raises(MissingExtraError, match=r"the one installed .* cannot be imported") as raised:
        model_named("timm:tiny")
    assert "operator torchvision::nms does not exist" in raised.value.context[0]


@pytest.mark.parametrize(
    ("spec", "packages", "extra"),
    [("timm:resnet50", "timm, torchvision, which are", "timm"), ("hf:gpt2", "transformers, which is", "hf")],
)
def test_a_package_that_is_not_installed_is_asked_for(monkeypatch, net, ask, spec, packages, extra):
    for name in ("timm", "torchvision", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = ask("read", spec)
    assert code == 2
    assert f"needs {packages} not installed." in err
    assert f"  Fix: pip install 'exnihilo[{extra}]'" in err


class Words(nn.Module):
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__()
        self.embed, self.head = nn.Embedding(config.vocab_size, config.width), nn.Linear(config.width, 3)

    def forward(self, input_ids):
        return {"logits": self.head(self.embed(input_ids))}


class Config:
    def __init__(self, vocab_size=11, width=4):
        self.vocab_size, self.width = vocab_size, width

    def to_dict(self):
        return vars(self)


@pytest.fixture
def transformers(monkeypatch):
    auto = SimpleNamespace(from_config=Words)
    names = (
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
        "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(extras, "is_installed", lambda module: module == "transformers")
    stand_in(monkeypatch, "transformers.models.auto.modeling_auto", **{name: {} for name in names})
    stand_in(
        monkeypatch,
        "transformers",
        CONFIG_MAPPING={"words": Config},
        AutoConfig=SimpleNamespace(for_model=lambda kind, **sizes: Config(**sizes)),
        AutoModelForCausalLM=auto,
        logging=SimpleNamespace(set_verbosity_error=lambda: None),
    )
    modeling = sys.modules["transformers.models.auto.modeling_auto"]
    modeling.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = {"words": "Words"}


def test_a_model_of_transformers_is_read_with_words_of_its_vocabulary(transformers, net, ask):
    code, out, _ = ask("read", "hf:words", "--size", "width=6", "--json")
    assert code == 0
    assert from_json(out).by_name["embed.weight"].shape == (11, 6)


def test_no_network_is_asked_for_a_model_of_transformers(transformers):
    example = example_for(model_named("hf:words"))["input_ids"]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert example.unique().numel() > 1 and int(example.max()) < 11


def test_an_unknown_type_or_size_of_transformers_gets_the_nearest(transformers):
    with pytest.raises(UnknownNameError, match="transformers has no model type 'word'") as raised:
        model_named("hf:word")
    assert raised.value.fix == "hf:words"
    with pytest.raises(UnknownNameError, match=r"Unknown size of hf:words 'widht'\. Did you mean 'width'"):
        model_named("hf:words", sizes=["widht=3"])


def test_an_input_of_the_command_line_helps_where_the_package_knows_none(transformers, monkeypatch, net, ask):
    monkeypatch.setattr(Words, "main_input_name", "signal")
    code, _, err = ask("read", "hf:words")
    assert code == 2 and "Config takes 'signal', which has no example here." in err
    assert ask("read", "hf:words", "--input", "2x5:int64")[0] == 0


# Real packages are imported in a process of their own, after the operators that a CPU build of torch lacks.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from torchvision_shim import define_missing_operators
kept = define_missing_operators()
sys.argv = ["exnihilo", *{arguments!r}]
from exnihilo.cli import main
main()
"""


def ask_really(*arguments):
    """What the command prints with the real packages; the test is skipped where they are not installed."""
    for package in ("transformers", "timm", "torchvision"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'exnihilo[zoo]'")
    code = PROGRAM.format(tests=str(Path(__file__).parents[1]), arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_gpt2_is_planned_by_depth():
    out = ask_really("plan", "hf:gpt2", "--recipe", "depth-scaled", "--size", "n_layer=2", "--size", "n_embd=48")
    assert "transformer.h.{0-1}.mlp.c_proj.weight" in out and "lecun_normal / √4" in out


@pytest.mark.slow
def test_resnet50_is_planned_to_begin_as_its_shortcuts():
    out = ask_really("plan", "timm:resnet50", "--recipe", "zero-residual")
    assert "161 parameters: 32 assigned, 129 kept, 0 tied" in out and "layer3.{0-5}.bn3.weight" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("bert", "BertForMaskedLM"),
        ("t5", "T5ForConditionalGeneration"),
        ("whisper", "WhisperForConditionalGeneration"),
        ("speech_to_text", "Speech2TextForConditionalGeneration"),
        ("wav2vec2", "Wav2Vec2Model"),
        ("vit", "ViTForImageClassification"),
        ("clip", "CLIPModel"),
        ("llava", "LlavaForConditionalGeneration"),
    ],
)
def test_a_model_that_reads_hears_or_sees_is_given_what_it_takes(kind, model):
    assert ask_really("read", f"hf:{kind}").startswith(f"{model}: ")
