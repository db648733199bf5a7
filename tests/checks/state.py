"""What a model and its surroundings are, down to bits and identities, so that any change shows."""

import random
import sys
import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy


def bits(tensor):
    """A tensor's bytes; of one that has none its shape."""
    if tensor is None or tensor.is_meta or is_lazy(tensor):
        return None if tensor is None else repr(tensor)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.dtype != torch.bool else bytes(flat.to(torch.uint8).numpy())


def of_model(model):
    """Every module's attributes by identity, every tensor's bits, gradients, flags and hooks."""
    found = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for key, value in vars(module).items():
            found[path, key] = id(value)
            if isinstance(value, bool | int | float | str):
                found[path, key] = value
            if isinstance(value, dict):
                found[path, key, "items"] = [(k, id(v)) for k, v in value.items()]
            if isinstance(value, list):
                found[path, key, "items"] = [id(v) for v in value]
            if isinstance(value, Tensor):
                found[path, key, "bits"] = bits(value)
    for kind in ("parameters", "buffers"):
        for name, tensor in getattr(model, f"named_{kind}")(remove_duplicate=False):
            hooks = tensor._backward_hooks
            found[kind, name] = (id(tensor), bits(tensor), tensor.requires_grad, tensor.device, tensor.dtype)
            found[kind, name, "grad"] = (id(tensor.grad), bits(tensor.grad)) if tensor.grad is not None else None
            found[kind, name, "hooks"] = None if hooks is None else [(k, id(v)) for k, v in hooks.items()]
            found[kind, name, "attributes"] = {k: id(v) for k, v in vars(tensor).items()}
    return found


def of_surroundings():
    """Random states, modes and flags of torch, NumPy and Python."""
    numpy = np.random.get_state()  # noqa: NPY002  # the legacy state is what models draw from
    return {
        "torch": bits(torch.get_rng_state()),
        "cuda": [bits(s) for s in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else None,
        "numpy": (numpy[0], numpy[1].tobytes(), *numpy[2:]),
        "python": random.getstate(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.is_autocast_cache_enabled(),
        ),
        "dtype": torch.get_default_dtype(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "anomaly": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "recursion": sys.getrecursionlimit(),
        "warnings": list(warnings.filters),
        "modes": torch.overrides._get_current_function_mode_stack()
        + torch.utils._python_dispatch._get_current_dispatch_mode_stack(),
        "stance": torch._dynamo.eval_frame._stance.stance,
    }


def differences(before, after):
    """The keys of what is not the same any more."""
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]
