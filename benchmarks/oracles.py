"""What is known of residual outputs without any reading: from libraries' own initialization, and by hand.

Each oracle gives, for a model, the names of the parameters whose zeros shut its residual branches.

* timm: blocks of some architectures have a method ``zero_init_last``; what it makes zero is the truth.
* torchvision: what differs between ``zero_init_residual=True`` and ``False``.
* by hand: for each architecture, the names of its last maps, or of the norms and scales behind them, written from the
  architecture's paper and code. Models' own init treats many of them specially (``c_proj`` of GPT-2 and its like).
"""

import re
import warnings

import torch
from model_list import Spec
from torch import nn

# Attention and feed-forward outputs by their common names.
_LLAMA = r"\.(o_proj|down_proj)(\.weight)?$"  # stacked experts are parameters without `.weight`
_BERT = r"(?<!intermediate)(?<!transform)\.(attention\.output|layer\.\d+\.output)\.dense\.weight$"
_BART = r"layers\.\d+\.((self_attn|encoder_attn)\.out_proj|fc2)\.weight$"
_T5 = r"layer\.\d+\.((\w*Attention)\.o|DenseReluDense\.wo)\.weight$"
_SANDWICH = r"\.(post_attention_layernorm|post_feedforward_layernorm)\.weight$"
_GPT = r"\.(attn|mlp)\.c_proj\.weight$"
_VIT = r"\.(attention\.o_proj|mlp\.fc2)\.weight$"
_NEOX = r"\.(attention|self_attention|self_attn|mlp)\.(dense|dense_4h_to_h)\.weight$"
# A convolution of the features is added as their position; the length of its normalized weight shuts it.
_SPEECH = r"\.(attention\.out_proj|feed_forward\.output_dense)\.weight$|pos_conv_embed\.\S+\.original0$"
_MIXER = r"\.mixer\.out_proj\.weight$"
_HYBRID = r"\.(self_attn\.o_proj|mamba\.out_proj)\.weight$|\.feed_forward\.(experts\.)?down_proj(\.weight)?$"

BY_HAND: dict[str, str] = {
    **dict.fromkeys(("gpt2", "openai-gpt", "gpt_bigcode"), _GPT),
    "gpt_neo": r"\.(attention\.out_proj|mlp\.c_proj)\.weight$",
    **dict.fromkeys(("gptj", "codegen"), r"\.(attn\.out_proj|mlp\.fc_out)\.weight$"),
    **dict.fromkeys(("gpt_neox", "bloom", "falcon", "persimmon"), _NEOX),
    **dict.fromkeys(("opt", "xglm", "biogpt"), r"layers\.\d+\.(self_attn\.out_proj|fc2)\.weight$"),
    "mpt": r"\.(attn\.out_proj|ffn\.down_proj)\.weight$",
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma"), _LLAMA),
    **dict.fromkeys(("phi3", "phimoe", "stablelm", "olmo", "olmoe", "granite", "granitemoe"), _LLAMA),
    **dict.fromkeys(("cohere", "cohere2", "nemotron", "glm", "smollm3", "helium", "gpt_oss"), _LLAMA),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), _LLAMA),
    "qwen3_next": r"\.(o_proj|down_proj|linear_attn\.out_proj)(\.weight)?$",
    **dict.fromkeys(("gemma2", "gemma3_text", "olmo2", "exaone4"), _SANDWICH),
    "glm4": r"\.(post_self_attn_layernorm|post_mlp_layernorm)\.weight$",
    "phi": r"\.(self_attn\.dense|mlp\.fc2)\.weight$",
    "starcoder2": r"\.(self_attn\.o_proj|mlp\.c_proj)\.weight$",
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba"), _MIXER),
    "recurrent_gemma": r"\.(temporal_block\.(linear_out|o_proj)|mlp_block\.down_proj)\.weight$",
    "rwkv": r"\.(attention\.output|feed_forward\.value)\.weight$",
    **dict.fromkeys(("jamba", "bamba"), _HYBRID),
    "xlnet": r"\.(rel_attn\.o|ff\.layer_2\.weight)$",
    "ctrl": r"\.(multi_head_attention\.dense|ffn\.2)\.weight$",
    **dict.fromkeys(("bert", "roberta", "electra", "deberta", "deberta-v2", "longformer", "big_bird"), _BERT),
    **dict.fromkeys(("xlm-roberta", "camembert", "roformer", "layoutlm", "nystromformer", "yoso", "esm"), _BERT),
    **dict.fromkeys(("convbert", "fnet"), _BERT),
    "albert": r"\.(attention\.dense|ffn_output)\.weight$",
    "distilbert": r"\.(attention\.out_lin|ffn\.lin2)\.weight$",
    "mpnet": r"\.(attention\.attn\.o|layer\.\d+\.output\.dense)\.weight$",
    "squeezebert": r"\.(post_attention|output)\.conv1d\.weight$",
    "modernbert": r"\.(attn|mlp)\.Wo\.weight$",
    # The decoder adds the first block's states to all that follows, which ends in a norm: one long branch.
    "funnel": r"\.(attention\.post_proj|ffn\.linear_2|blocks\.1\.0\.ffn\.layer_norm)\.weight$",
    **dict.fromkeys(("t5", "mt5", "longt5"), _T5),
    "switch_transformers": r"\.(\w*Attention\.o|mlp\.wo|experts\.\w+\.wo)\.weight$",
    **dict.fromkeys(("bart", "mbart", "pegasus", "marian", "m2m_100", "blenderbot", "fsmt", "whisper"), _BART),
    **dict.fromkeys(("led", "bigbird_pegasus"), _BART[:-1] + r"$|encoder\.layers\.\d+\.self_attn\.output\.weight$"),
    "speech_to_text": _BART,
    "prophetnet": r"\.((self_attn|cross_attn)\.out_proj|feed_forward\.output)\.weight$",
    **dict.fromkeys(("vit", "deit", "vit_mae", "ijepa", "audio-spectrogram-transformer", "swin", "segformer"), _VIT),
    **dict.fromkeys(("beit", "data2vec-vision"), r"\.lambda_[12]$"),
    **dict.fromkeys(("dinov2", "dinov2_with_registers"), r"\.layer_scale[12]\.lambda1$"),
    "swinv2": r"\.(layernorm_before|layernorm_after)\.weight$",
    "convnext": r"\.layer_scale_parameter$",
    "convnextv2": r"\.pwconv2\.weight$",
    "resnet": r"\.layers\.\d+\.layer\.2\.normalization\.weight$",
    "regnet": r"\.layers\.\d+\.layer\.3\.normalization\.weight$",
    "bit": r"\.layers\.\d+\.conv3\.weight$",
    "poolformer": r"\.layer_scale_[12]$",
    "cvt": r"\.(attention\.output|layers\.\d+\.output)\.dense\.weight$",
    "pvt": r"\.(attention\.output\.dense|mlp\.dense2)\.weight$",
    "clip": r"\.(self_attn\.out_proj|mlp\.fc2)\.weight$",
    "siglip": r"\.(self_attn\.out_proj|mlp\.fc2)\.weight$",
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm"), _SPEECH),
    # The norms of its convolutional part are frozen and hold no parameters.
    # The decoder's stream starts at zero: its first self-attention has no input, and is added to nothing.
    "detr": r"^(?!.*decoder\.layers\.0\.self_attn).*\.(\w+_attn\.o_proj|mlp\.fc2|layer\.2\.convolution)\.weight$",
}

# The same for some of timm's transformers and for torchvision: by the names of their modules.
VISION: dict[str, str] = {
    "timm:test_vit$": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:deit_tiny": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:convnext": r"blocks\.\d+\.gamma$",
    "timm:swin_tiny": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:mixer": r"blocks\.\d+\.(mlp_tokens|mlp_channels)\.fc2\.weight$",
    "timm:cait": r"\.gamma_[12]$",
    "timm:convit": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:pvt_v2": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:vit_tiny_patch16_dinov3": r"blocks\.\d+\.gamma_[12]$",
    "timm:vit_tiny_r_s16": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:test_vit_relpos": r"\.ls[12]\.gamma$",
    "timm:poolformerv2": r"blocks\.\d+\.(norm1|mlp\.fc2)\.weight$",
    "timm:crossvit": r"\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:hiera_tiny": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:mvitv2": r"blocks\.\d+\.(attn\.proj|mlp\.fc2)\.weight$",
    "timm:davit": r"\.(cpe[12]\.proj|attn\.proj|mlp\.fc2)\.weight$",
    "timm:levit": r"\.(attn\.proj\.ln|mlp\.ln2)\.bn\.weight$",
    "timm:legacy_seresnet18": r"\.bn2\.weight$",
    "timm:convmixer": r"blocks\.\d+\.0\.fn\.2\.weight$",
    "timm:coat": r"\b(cpe\d?|factoratt_crpe\d?|mlp\d?)\.(proj|fc2)\.weight$",
    "timm:halonet": r"\.conv3_1x1\.bn\.weight$",
    "timm:tresnet": r"\.layer[12]\.\d+\.(bn2|bn3)\.weight$|\.layer[34]\.\d+\.bn3\.weight$",
    # Behind `gamma2` of class attention the other tokens pass the branch as they are: no zero shuts it.
    "timm:xcit": r"\bblocks\.\d+\.gamma[123]$|cls_attn_blocks\.\d+\.gamma1$",
    "timm:test_nfnet": r"stages\S*\.conv3\.gain$",
    "timm:tnt": r"\.(attn_in|attn_out|mlp_in|mlp)\.(proj|fc2)\.weight$",
    "torchvision:vit_b_16": r"encoder_layer_\d+\.(self_attention\.out_proj|mlp\.3)\.weight$",
    "torchvision:swin_t": r"\.(attn\.proj|mlp\.3)\.weight$",
    "torchvision:swin_v2_t": r"\.(norm1|norm2)\.weight$",
    "torchvision:convnext_tiny": r"\.layer_scale$",
    "plain:diffusion_unet": r"\.conv2\.weight$|attend\.proj\.weight$",
    "plain:diffusion_transformer": r"blocks\.\d+\.(proj|fc2)\.weight$",
    "peft:llama+q_proj,v_proj": r"\.(o_proj|down_proj)\.weight$",
    "peft:llama+o_proj,down_proj": r"\.(o_proj|down_proj)\.(base_layer|lora_B\.default)\.weight$",
    "peft:gpt2+c_attn,c_proj": r"\.c_proj\.(base_layer|lora_B\.default)\.weight$",
}


def truth(spec: Spec, model: nn.Module) -> tuple[str, frozenset[str]] | None:
    """Which oracle knows this model, and the residual outputs that it states."""
    kind = spec.name.partition(":")[2]
    if spec.source == "timm" and (zeroed := _zeroed_by_timm(model)):
        return "zero_init_last", zeroed
    if spec.source == "torchvision" and (zeroed := _zeroed_by_torchvision(spec)):
        return "zero_init_residual", zeroed
    pattern = BY_HAND.get(kind) if spec.source == "transformers" else None
    if pattern is None:
        pattern = next((one for start, one in VISION.items() if f"{spec.name}$".startswith(start)), None)
    if pattern is None:
        return None
    named = frozenset(name for name, _ in model.named_parameters() if re.search(pattern, name))
    return ("by hand", named) if named else None


def _zeroed_by_timm(model: nn.Module) -> frozenset[str]:
    """What is zero after ``zero_init_last`` of all blocks, of a copy whose parameters were all one."""
    blocks = [one for one in model.modules() if callable(getattr(one, "zero_init_last", None))]
    if not blocks:
        return frozenset()
    kept = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        for block in blocks:
            # A block of a RegNet without `downsample` has no shortcut; timm zeroes it too, which stops the signal.
            if not (type(block).__module__.endswith(".regnet") and block.downsample is None):
                block.zero_init_last()
        zeroed = frozenset(name for name, one in model.named_parameters() if not one.any())
        for parameter, values in zip(model.parameters(), kept, strict=True):
            parameter.copy_(values)
    return zeroed


def _zeroed_by_torchvision(spec: Spec) -> frozenset[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            zeroed, plain = spec.build(zero_init_residual=True), spec.build(zero_init_residual=False)
        except TypeError:  # this model has no such choice
            return frozenset()
    pairs = zip(zeroed.named_parameters(), plain.parameters(), strict=True)
    return frozenset(name for (name, one), other in pairs if not one.any() and other.any())
