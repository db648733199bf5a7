"""Real models recorded, and held against themselves, built for real from four seeds.

``benchmarks/recorded.py`` records all of ``benchmarks/models.json``.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import real_starts

import exnihilo as xn
from exnihilo.errors import RecordError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1]))

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries warn of is not ours to mend

QUICK = (
    *("hf:gpt2", "hf:llama", "hf:mixtral", "hf:bert", "hf:t5", "hf:mamba2", "hf:marian", "hf:vit", "hf:swin"),
    *("timm:test_resnet", "timm:test_convnext", "torchvision:squeezenet1_0"),
)
# Their position embedding is weight-normalized: its magnitudes are norms of what is drawn.
NORMALIZED = ("hf:wav2vec2", "hf:hubert", "hf:wavlm")
MANY = (
    *("hf:qwen3_next", "hf:recurrent_gemma", "hf:rwkv", "hf:deepseek_v3", "hf:gpt_oss", "hf:gemma2", "hf:xlnet"),
    *("hf:modernbert", "hf:big_bird", "hf:switch_transformers", "hf:bart", "hf:whisper", "hf:detr", "hf:clip"),
    *("hf:segformer", "hf:levit", "hf:efficientnet", "hf:perceiver", "hf:patchtst", "hf:longformer", "hf:funnel"),
    *(
        "timm:convit_tiny",
        "timm:deit_tiny_patch16_224",
        "torchvision:resnet18",
        "timm:beit_base_patch16_224",
        "timm:coat_tiny",
        "timm:halonet_h1",
        "timm:edgenext_xx_small",
    ),
    *("torchvision:densenet121", "torchvision:vit_b_16", "torchvision:swin_t", "torchvision:maxvit_t"),
    *("torchvision:video.r3d_18", "torchvision:optical_flow.raft_small"),
)


@pytest.fixture(scope="module")
def specs():
    for package in ("transformers", "timm", "peft"):
        if sys.modules.get(package) is None and find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    import model_list  # benchmarks/model_list.py

    return {spec.name: spec for spec in model_list.listed()}


@pytest.mark.parametrize("name", QUICK)
def test_a_real_model_begins_as_its_plan_says(specs, name):
    assert real_starts.disagreements(specs[name].build) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_more_real_models_begin_as_their_plans_say(specs, name):
    assert real_starts.disagreements(specs[name].build) == {}


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_model_with_a_normalized_weight_is_refused_by_its_magnitude(specs, name):
    with pytest.raises(RecordError, match="original0: written by uniform_, norm"):
        xn.record(specs[name].build)
