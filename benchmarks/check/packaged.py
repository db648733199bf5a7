"""Healthy models of timm, torchvision, transformers and peft, as their packages initialize them, at small sizes."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import torch
from benchmarks.check.subjects import (
    CLASSES,
    Architecture,
    classify,
    images,
    labeled_words,
    made,
    own,
    words,
)
from torch import nn

from torchvision_shim import define_missing_operators

_KEPT = define_missing_operators()  # operators live as long as the library that defines them

SIZES = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZES |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {"num_key_value_heads": 2}


def _timm(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)


def _vision(name: str, **options: Any) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(num_classes=CLASSES, **options)


def _hugging(cls: str, config: str, **options: Any) -> nn.Module:
    import transformers

    transformers.logging.set_verbosity_error()
    return getattr(transformers, cls)(getattr(transformers, config)(**options))


def _adapted(method: str, targets: list[str] | None = None, **options: Any) -> nn.Module:
    import peft

    base = _hugging("GPT2LMHeadModel", "GPT2Config", **GPT2)
    extra = {"target_modules": targets} if targets else {}
    return peft.get_peft_model(base, getattr(peft, method)(task_type="CAUSAL_LM", **extra, **options))


GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}

TIMM: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "timm-resnet10t": ("resnet10t", {}, 32, "zero-gamma"),
    "timm-resnet18": ("resnet18", {}, 32, "zero-gamma"),
    "timm-resnet18-he": ("resnet18", {"zero_init_last": False}, 32, ""),
    "timm-seresnet18": ("seresnet18", {}, 32, "zero-gamma"),
    "timm-regnetx": ("regnetx_002", {}, 32, "zero-gamma"),
    "timm-convnext": ("convnext_atto", {}, 32, "LayerScale 1e-6"),
    "timm-convnextv2": ("convnextv2_atto", {}, 32, "zero response norm"),
    "timm-vit": ("vit_tiny_patch16_224", SMALL, 32, "tiny class token"),
    "timm-vit-layerscale": ("vit_tiny_patch16_224", {**SMALL, "init_values": 1e-5}, 32, "LayerScale 1e-5"),
    "timm-deit-distilled": ("deit_tiny_distilled_patch16_224", SMALL, 32, "two heads"),
    "timm-beit": ("beit_base_patch16_224", {**SMALL, "init_values": 0.1}, 32, "relative bias zero, no key bias"),
    "timm-cait": ("cait_xxs24_224", {**SMALL}, 32, "LayerScale 1e-5"),
    "timm-xcit": ("xcit_nano_12_p16_224", {"img_size": 32, "depth": 3}, 32, "LayerScale 1"),
    "timm-mixer": ("mixer_s32_224", {"img_size": 64}, 64, ""),
    "timm-gmlp": ("gmlp_ti16_224", {"img_size": 32}, 32, "spatial gate near zero"),
    "timm-resmlp": ("resmlp_12_224", {"img_size": 32}, 32, "LayerScale 0.1"),
    "timm-densenet": ("densenet121", {"block_config": (2, 2, 2), "growth_rate": 12}, 32, ""),
    "timm-efficientnet": ("efficientnet_b0", {}, 32, ""),
    "timm-mobilenetv3": ("mobilenetv3_small_050", {}, 32, "dropout"),
    "timm-nfnet": ("nf_resnet26", {}, 32, "SkipInit-like gain zero"),
    "timm-repvgg": ("repvgg_a0", {}, 32, ""),
    "timm-swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 32, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 1), "num_heads": (2, 2, 2)},
        32,
        "relative bias near zero",
    ),
    "timm-edgenext": ("edgenext_xx_small", {}, 64, "LayerScale 1e-6"),
}
VISION: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "tv-resnet18": ("resnet18", {}, 32, ""),
    "tv-resnet18-zero": ("resnet18", {"zero_init_residual": True}, 32, "zero-gamma"),
    "tv-mobilenetv2": ("mobilenet_v2", {"width_mult": 0.35}, 32, ""),
    "tv-shufflenet": ("shufflenet_v2_x0_5", {}, 64, ""),
    "tv-squeezenet": ("squeezenet1_1", {}, 64, ""),
}
HUGGING: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "hf-gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, "words", "packed key bias, tied head"),
    "hf-llama": ("LlamaForCausalLM", "LlamaConfig", {**SIZES, **GROUPED}, "words", ""),
    "hf-mistral": ("MistralForCausalLM", "MistralConfig", {**SIZES, **GROUPED}, "words", ""),
    "hf-qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**SIZES, **GROUPED}, "words", "key bias"),
    "hf-qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**SIZES, **GROUPED, "head_dim": 8}, "words", "norm of queries"),
    "hf-gemma": (
        "GemmaForCausalLM",
        "GemmaConfig",
        {**SIZES, **GROUPED, "head_dim": 8},
        "words",
        "norm of 1 + w, w zero",
    ),
    "hf-gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {**SIZES, **GROUPED, "head_dim": 8},
        "words",
        "norm of 1 + w, w zero",
    ),
    "hf-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SIZES, "words", "interleaved key bias"),
    "hf-opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            "vocab_size": 96,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "word_embed_proj_dim": 32,
            "max_position_embeddings": 64,
        },
        "words",
        "key bias",
    ),
    "hf-bloom": (
        "BloomForCausalLM",
        "BloomConfig",
        {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        "words",
        "ALiBi",
    ),
    "hf-phi": ("PhiForCausalLM", "PhiConfig", SIZES, "words", "parallel branches"),
    "hf-mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        {**SIZES, **GROUPED, "num_local_experts": 4},
        "words",
        "experts",
    ),
    "hf-qwen2moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {
            **SIZES,
            **GROUPED,
            "num_experts": 4,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "num_experts_per_tok": 2,
        },
        "words",
        "experts",
    ),
    "hf-mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2},
        "words",
        "",
    ),
    "hf-t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {
            "vocab_size": 96,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
        "words",
        "relative bias",
    ),
    "hf-bert": ("BertForMaskedLM", "BertConfig", SIZES, "words", "key bias"),
    "hf-bert-pooler": ("BertForTokenClassification", "BertConfig", {**SIZES, "num_labels": 96}, "words", ""),
    "hf-bert-class": ("BertForSequenceClassification", "BertConfig", SIZES, "classes", "small head"),
    "hf-roberta": (
        "RobertaForMaskedLM",
        "RobertaConfig",
        {**SIZES, "max_position_embeddings": 64},
        "words",
        "padding row",
    ),
    "hf-distilbert": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {"vocab_size": 96, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
        "words",
        "",
    ),
    "hf-albert": (
        "AlbertForMaskedLM",
        "AlbertConfig",
        {**SIZES, "embedding_size": 16, "max_position_embeddings": 64},
        "words",
        "layers shared",
    ),
    "hf-electra": (
        "ElectraForTokenClassification",
        "ElectraConfig",
        {**SIZES, "embedding_size": 16, "num_labels": 96},
        "words",
        "",
    ),
}
PEFT: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {
    "peft-lora": ("LoraConfig", ["c_attn"], {"r": 4}),
    "peft-dora": ("LoraConfig", ["c_attn"], {"r": 4, "use_dora": True}),
    "peft-adalora": ("AdaLoraConfig", ["c_attn"], {"init_r": 4, "total_step": 100}),
    "peft-ia3": ("IA3Config", ["c_attn", "mlp.c_proj"], {"feedforward_modules": ["mlp.c_proj"]}),
    "peft-vera": ("VeraConfig", ["c_attn"], {"r": 8}),
    "peft-prompt": ("PromptTuningConfig", None, {"num_virtual_tokens": 4}),
}


def packaged() -> list[Architecture]:
    """All of them."""
    found = [
        Architecture(n, "timm", made(partial(_timm, model, **options), images(size), classify), zero)
        for n, (model, options, size, zero) in TIMM.items()
    ]
    found += [
        Architecture(n, "torchvision", made(partial(_vision, model, **options), images(size), classify), zero)
        for n, (model, options, size, zero) in VISION.items()
    ]
    found += [
        Architecture(
            n,
            "transformers",
            made(partial(_hugging, cls, config, **options), words() if kind == "words" else labeled_words(), own),
            zero,
        )
        for n, (cls, config, options, kind, zero) in HUGGING.items()
    ]
    found += [
        Architecture(n, "peft", made(partial(_adapted, method, targets, **options), words(), own), "adapter")
        for n, (method, targets, options) in PEFT.items()
    ]
    return found


torch.set_num_threads(1)
