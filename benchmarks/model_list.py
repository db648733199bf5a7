"""The real models that readings are judged by: how each is built, and the list itself, which is generated.

``models.json`` names them all: the smallest model of each module of timm, transformers' architectures from small
configurations, torchvision's classics, adapters by peft, and plain networks of our own. It is written from the packages
by this script and committed; a model that cannot be read stays in it.

Run: python benchmarks/model_list.py --write        (needs timm, transformers, torchvision and peft)
"""

import argparse
import json
import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
os.environ["HF_HUB_OFFLINE"] = "1"  # models are built from configurations; nothing is downloaded

import torch  # noqa: E402
from architectures import ARCHITECTURES, SEQ2SEQ, SMALL  # noqa: E402
from torch import nn  # noqa: E402

from torchvision_shim import define_missing_operators  # noqa: E402

KEPT_ALIVE = define_missing_operators()
LIST = HERE / "models.json"

TORCHVISION = (
    *("alexnet", "vgg11", "vgg11_bn", "squeezenet1_0", "densenet121", "inception_v3", "googlenet", "mnasnet0_5"),
    *("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small"),
    *("shufflenet_v2_x0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf"),
    *("convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
    *("segmentation.fcn_resnet50", "segmentation.deeplabv3_resnet50", "segmentation.lraspp_mobilenet_v3_large"),
    *("video.r3d_18", "optical_flow.raft_small"),
)


# More of timm's models whose blocks know what to zero, by what is odd about each: squeeze and excitation, antialiasing,
# average-pooled shortcuts, selected kernels, splits, pre-activation, deep stems.
KNOWING = (
    *("resnet50", "resnet26t", "seresnet50", "ecaresnet26t", "resnetblur50", "resnext26ts", "wide_resnet50_2"),
    *("resnetv2_50", "resnetv2_50d_gn", "regnety_002", "regnetz_005", "skresnet18", "skresnext50_32x4d", "res2net50d"),
    *("resnest26d", "cspresnet50", "cspdarknet53", "darknet53", "cs3edgenet_x", "resnetaa50", "senet154", "hrnet_w18"),
)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One model: where it comes from, what it is called there, and with what it is made and run."""

    name: str
    source: str
    kind: str
    options: dict[str, Any]

    def build(self, **more: Any) -> nn.Module:
        """The model with random values, in evaluation mode; on meta under ``torch.device("meta")``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return BUILDERS[self.source](self, **more).eval()

    def example(self) -> Any:
        """An input of the size that the model was made for; a tuple, or a dict of keyword arguments."""
        return INPUTS[self.kind](self.options.get("input"))


def _timm(spec: Spec, **more: Any) -> nn.Module:
    import timm

    return timm.create_model(spec.name.partition(":")[2], pretrained=False, **more)


def _torchvision(spec: Spec, **more: Any) -> nn.Module:
    import torchvision

    scratch = {"weights": None}
    if spec.name.startswith("torchvision:segmentation"):
        scratch["weights_backbone"] = None
    if spec.name.endswith(("inception_v3", "googlenet")):
        more = {"init_weights": False} | more
    return torchvision.models.get_model(spec.name.rpartition(":")[2].rpartition(".")[2], **scratch, **more)


def _transformers(spec: Spec, **more: Any) -> nn.Module:
    import transformers

    kind = spec.name.partition(":")[2]
    config = transformers.AutoConfig.for_model(kind, **spec.options["config"], **more)
    return getattr(transformers, spec.options["class"]).from_config(config)


def _peft(spec: Spec, **more: Any) -> nn.Module:
    import peft

    base = next(one for one in listed() if one.name == spec.options["base"]).build()
    targets = spec.options["targets"]
    config = peft.LoraConfig(r=4, target_modules=targets, **spec.options.get("lora", {}), **more)
    return peft.get_peft_model(base, config)


def _ours(spec: Spec, **more: Any) -> nn.Module:
    import plain_models

    return getattr(plain_models, spec.name.partition(":")[2])(**more)


BUILDERS = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers, "peft": _peft, "plain": _ours}


def _ids(length: int = 12) -> torch.Tensor:
    return torch.randint(6, 90, (2, length), generator=torch.Generator().manual_seed(0))


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


INPUTS: dict[str, Any] = {
    "tensor": lambda shape: (_normal(*shape),),
    "tensors": lambda shapes: tuple(_normal(*shape) for shape in shapes),
    "text": lambda _: {"input_ids": _ids()},
    "seq2seq": lambda _: {"input_ids": _ids(), "decoder_input_ids": _ids(8)},
    "image": lambda size: {"pixel_values": _normal(2, 3, size or 32, size or 32)},
    "clip": lambda _: {"input_ids": _ids(), "pixel_values": _normal(2, 3, 32, 32)},
    "speech": lambda _: {"input_values": _normal(1, 800)},
    "whisper": lambda _: {"input_features": _normal(1, 8, 32), "decoder_input_ids": _ids(8)[:1]},
    "listened": lambda _: {"input_features": _normal(1, 32, 8), "decoder_input_ids": _ids(8)[:1]},
    "spectrogram": lambda _: {"input_values": _normal(2, 32, 32)},
    "series": lambda _: {"past_values": _normal(2, 32, 2)},
    "diffusion": lambda shape: (_normal(*shape), torch.tensor([3, 500])),
}


def listed() -> list[Spec]:
    """The committed list."""
    return [Spec(**entry) for entry in json.loads(LIST.read_text())]


# --- writing the list -------------------------------------------------------------------------------------------------


def _timm_specs() -> list[Spec]:
    """The smallest model of each of timm's modules."""
    import timm
    from timm.models import _registry

    specs = []
    for module, names in sorted(_registry._module_to_models.items()):
        best: tuple[int, str, tuple[int, ...]] | None = None
        for name in sorted(names):
            try:
                with torch.device("meta"):
                    model = timm.create_model(name, pretrained=False)
            except Exception as problem:  # some cannot be made without memory, or without a download
                print(f"  {module}: {name}: {type(problem).__name__}", file=sys.stderr)
                continue
            size = sum(parameter.numel() for parameter in model.parameters())
            shape = tuple(model.default_cfg.get("input_size") or (3, 224, 224))
            best = min(best or (size, name, shape), (size, name, shape))
        if best is not None:
            options = {"module": module, "input": [2, *best[2]]}
            specs.append(Spec(name=f"timm:{best[1]}", source="timm", kind="tensor", options=options))
    return specs


def _knowing_specs() -> list[Spec]:
    import timm

    shapes = {name: timm.get_pretrained_cfg(name) for name in KNOWING if timm.is_model(name)}
    return [
        Spec(
            name=f"timm:{name}",
            source="timm",
            kind="tensor",
            options={"module": "knowing", "input": [2, *(known.input_size if known else (3, 224, 224))]},
        )
        for name, known in shapes.items()
    ]


def _transformers_specs() -> list[Spec]:
    """Each architecture with those of the small sizes that its configuration knows."""
    from transformers import CONFIG_MAPPING

    specs = []
    for name, (auto, kind, extra) in ARCHITECTURES.items():
        plain, left_out = CONFIG_MAPPING[name](), extra.get("-", "").split()
        known = {key: value for key, value in SMALL.items() if hasattr(plain, key) and key not in left_out}
        meant = {"-", "class", "input", *left_out} | {key for key in SEQ2SEQ if not hasattr(plain, key)}
        config = known | {key: value for key, value in extra.items() if key not in meant}
        size = extra.get("input") or config.get("image_size", 32)
        options = {"class": extra.get("class", auto), "config": config, "input": size}
        specs.append(Spec(name=f"hf:{name}", source="transformers", kind=kind, options=options))
    return specs


def _other_specs() -> list[Spec]:
    def torchvision(name: str) -> Spec:
        kind, shape = "tensor", [2, 3, 224, 224]
        if name == "inception_v3":
            shape = [2, 3, 299, 299]
        if name.startswith("video"):
            shape = [1, 3, 8, 64, 64]
        if name.startswith("optical_flow"):
            kind, shape = "tensors", [[1, 3, 128, 128], [1, 3, 128, 128]]
        return Spec(name=f"torchvision:{name}", source="torchvision", kind=kind, options={"input": shape})

    def lora(base: str, targets: list[str], **more: Any) -> Spec:
        options = {"base": f"hf:{base}", "targets": targets, "lora": more}
        return Spec(name=f"peft:{base}+{','.join(targets)}", source="peft", kind="text", options=options)

    return [
        *(torchvision(name) for name in TORCHVISION),
        lora("llama", ["q_proj", "v_proj"]),
        lora("llama", ["o_proj", "down_proj"], lora_dropout=0.1),
        lora("gpt2", ["c_attn", "c_proj"], fan_in_fan_out=True),
        lora("bert", ["query", "value"], use_dora=True),
        *(
            Spec(name=f"plain:{name}", source="plain", kind="diffusion", options={"input": [2, 4, 16, 16]})
            for name in ("diffusion_unet", "diffusion_transformer")
        ),
    ]


def _lines(specs: list[Spec]) -> str:
    rows = ",\n".join(json.dumps(asdict(spec)) for spec in specs)
    return f"[\n{rows}\n]\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write models.json from the installed packages")
    if parser.parse_args().write:
        specs = [*_timm_specs(), *_knowing_specs(), *_transformers_specs(), *_other_specs()]
        LIST.write_text(_lines(specs))
    print(f"{len(listed())} models")
