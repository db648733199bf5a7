"""``hf:gpt2``: a model of Hugging Face's transformers from its configuration, with random weights and no network."""

import difflib
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.cli.building import built
from exnihilo.cli.extras import require_modules
from exnihilo.cli.inputs import tensor_of
from exnihilo.errors import InvalidValueError, UnknownNameError

# The class for a model type is the first of these that has one: what the type is mostly trained as. Causal language
# models come behind masked ones: BERT has both, GPT-2 the one.
_CLASSES = (
    ("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES"),
    ("AutoModelForSpeechSeq2Seq", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES"),
    ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"),
    ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
    ("AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"),
)
# Of models that see and read: a class for one of the two alone would cut them down.
_SEEING = (("AutoModelForImageTextToText", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"),)
_BATCH, _TOKENS = 2, 16
_FRAMES, _SAMPLES = 100, 16000  # a second of sound, as spectra and as it is


def model_of_type(kind: str, sizes: Mapping[str, Any], *, on_meta: bool) -> tuple[nn.Module, Callable[[], Any]]:
    """The model of a configuration's defaults, and what makes its example input from the configuration.

    Args:
        kind: The model type, such as ``"gpt2"``; a Hub id needs the network and is refused.
        sizes: Values that replace the configuration's, such as ``{"n_layer": 2}``; ``vision_config.hidden_size`` is
            one of a part.
        on_meta: Build it without memory where that works.

    Raises:
        MissingExtraError: transformers is not installed, or torchvision is broken beside it.
        UnknownNameError: There is no such type, or it has no such size.
        InvalidValueError: The sizes make no model.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when it is imported
    require_modules("A model of transformers", {"transformers": "transformers"}, extra="hf")
    transformers: Any = import_module("transformers")
    transformers.logging.set_verbosity_error()  # which kernels are not installed is not the question
    modeling_auto = import_module("transformers.models.auto.modeling_auto")
    if kind not in transformers.CONFIG_MAPPING:
        raise _unknown_type(kind, list(transformers.CONFIG_MAPPING.keys()))
    config = built(f"hf:{kind}", sizes, lambda: _config(transformers, kind, sizes))
    classes = _SEEING if hasattr(config, "vision_config") else _CLASSES
    auto = next((name for name, known in classes if kind in getattr(modeling_auto, known)), "AutoModel")
    make = getattr(transformers, auto).from_config
    model = built(f"hf:{kind}", sizes, lambda: make(config), on_meta=on_meta)
    return model, partial(_example, model, config)


def _unknown_type(kind: str, known: list[str]) -> UnknownNameError:
    near = difflib.get_close_matches(kind.rpartition("/")[2].lower(), known, n=4, cutoff=0.3) or ["gpt2"]
    return UnknownNameError(
        f"transformers has no model type '{kind}'.",
        context=[
            f"nearest of its {len(known)}: {', '.join(near)}",
            "an id of the Hub needs the network; a type does not",
        ],
        fix=f"hf:{near[0]}",
    )


def _config(transformers: Any, kind: str, sizes: Mapping[str, Any]) -> Any:
    default = transformers.AutoConfig.for_model(kind)
    changes: dict[str, Any] = {}
    for name, value in sizes.items():
        *parts, last = name.split(".")
        config, target = default, changes
        for part in parts:
            config = getattr(config, part, None)
            target = target.setdefault(part, {})
        if not hasattr(config, last):
            known = _numbers(config)
            raise UnknownNameError.of(f"size of hf:{kind}", name, known, plural=f"sizes of hf:{kind}")
        target[last] = value
    return transformers.AutoConfig.for_model(kind, **changes)


def _numbers(config: Any) -> list[str]:
    """What of a configuration is a number, and so may be meant by a size."""
    values: dict[str, Any] = getattr(config, "to_dict", dict)()
    return [
        name
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not name.endswith("_token_id")
    ]


def _example(model: nn.Module, config: Any) -> dict[str, Tensor]:
    """The inputs that a model's configuration asks for, by name."""
    main = str(getattr(model, "main_input_name", "input_ids"))
    made = {main: _input(main, config)}
    # Where an image takes the place of certain words, none is given: the words would have to fit it.
    is_pair = hasattr(config, "vision_config") and hasattr(config, "text_config")
    if is_pair and not any(hasattr(config, name) for name in ("image_token_id", "image_token_index")):
        made = {name: _input(name, config) for name in ("input_ids", "pixel_values")}
    if getattr(config, "is_encoder_decoder", False):
        made["decoder_input_ids"] = _ids(config)
    return made


def _input(name: str, config: Any) -> Tensor:
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", None) or 224
        sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
        return tensor_of((_BATCH, getattr(vision, "num_channels", 3), *sides))
    if name == "input_features" and hasattr(config, "input_feat_per_channel"):
        return tensor_of((_BATCH, _FRAMES, config.input_feat_per_channel))
    if name == "input_features":
        bins = getattr(config, "num_mel_bins", 80)
        places = getattr(config, "max_source_positions", 1500)
        return tensor_of((_BATCH, bins, 2 * places))  # Whisper halves them, and insists on all
    if name == "input_values":
        return tensor_of((_BATCH, _SAMPLES))
    if name == "input_ids":
        return _ids(config)
    raise InvalidValueError(
        f"{type(config).__name__} takes '{name}', which has no example here.",
        fix=f"give it yourself: --input {name}=2x16",
    )


def _ids(config: Any) -> Tensor:
    """Different words, none of them the first few, where vocabularies keep padding and masks."""
    text = getattr(config, "text_config", config)
    ids = 6 + torch.arange(_BATCH * _TOKENS).reshape(_BATCH, _TOKENS)
    return ids % int(getattr(text, "vocab_size", 32))
