"""Lets torchvision be imported beside a CPU build of torch.

PyPI's torchvision registers fake kernels for operators of a library that only loads with the CUDA build that it was
made for. Schemas alone are enough to import it, and all that is used of it here are its Python models.
"""

import importlib
import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def define_missing_operators() -> "torch.library.Library | None":
    """Make ``import torchvision`` work; call it before anything imports torchvision, and keep what it returns.

    Where torchvision is not installed, or its own operators load, nothing is done.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return None
    except (RuntimeError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what a failed import left behind would fail again
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        return library
    return None
