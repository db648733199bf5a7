"""``timm:resnet50``: a model of timm with random weights."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from exnihilo.cli.building import built
from exnihilo.cli.extras import require_modules
from exnihilo.cli.inputs import tensor_of
from exnihilo.errors import UnknownNameError


def model_of_timm(name: str, sizes: Mapping[str, Any], *, on_meta: bool) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A model by its name in timm, and what makes a batch of two images of the size that it was made for.

    Args:
        name: Such as ``"resnet50"``.
        sizes: Passed to ``timm.create_model``, such as ``{"num_classes": 10}``.
        on_meta: Build it without memory where that works.

    Raises:
        MissingExtraError: timm is not installed, or the torchvision that it needs is broken.
        UnknownNameError: There is no such model.
        InvalidValueError: The sizes make no model.
    """
    require_modules("A model of timm", {"timm": "timm", "torchvision": "torchvision"}, extra="timm")
    timm: Any = import_module("timm")
    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or ["resnet50"]
        raise UnknownNameError(
            f"timm has no model '{name}'.",
            context=[f"nearest of its {len(known)}: {', '.join(near)}"],
            fix=f"timm:{near[0]}",
        )
    make: Callable[[], nn.Module] = partial(timm.create_model, name, pretrained=False, **sizes)
    model = built(f"timm:{name}", sizes, make, on_meta=on_meta)
    return model, partial(_images, model, sizes)


def _images(model: nn.Module, sizes: Mapping[str, Any]) -> Tensor:
    channels, *sides = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    # Sizes that the caller changed are not in the model's own configuration.
    side = sizes.get("img_size")
    sides = sides if side is None else [side, side] if isinstance(side, int) else side
    return tensor_of((2, sizes.get("in_chans", channels), *sides))
