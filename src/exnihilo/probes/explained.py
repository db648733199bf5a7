"""Says where in a model an error was raised, and by what."""

from typing import Any

import torch
from torch import nn

from exnihilo.errors import CheckError
from exnihilo.probes.batches import num_samples_of
from exnihilo.probes.question import described


def explained(error: Exception, model: nn.Module, twin: nn.Module, batch: Any, *, backward: bool = False) -> CheckError:
    """The error for what a model or its loss raised.

    Args:
        error: As it was caught, with its traceback.
        model: The user's own.
        twin: What was run.
        batch: All of it.
        backward: It was raised on the way back from the loss.
    """
    said = str(error).strip().splitlines()
    way = "The backward pass of " if backward else ""
    kind = f"{way}{type(model).__name__} or its loss raises {type(error).__name__}"
    place = [] if backward else _place(error, twin)
    return CheckError(
        f"{kind}: {said[0][:200]}" if said else f"{kind}.",
        context=[*place, f"batch: {described(batch)}", *_recast(model)],
        fix=_fix(str(error), batch, backward=backward),
    )


def _recast(model: nn.Module) -> list[str]:
    """What a check changes that a model's own code may ask about."""
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32, torch.float64}
    if not dtypes:
        return []
    return [f"the check computes in float32 on a copy, and the parameters are {min(map(str, dtypes))}"]


def _fix(said: str, batch: Any, *, backward: bool) -> str:
    if num_samples_of(batch) == 1 and "more than 1 value per channel" in said:
        return "give a batch of at least 2 samples: batch normalization needs them"
    if "a second time" in said:
        return "let the loss return its scalar, and leave .backward() to the check"
    if "modified by an inplace operation" in said:
        return "replace the in-place operation: h = h * 2 instead of h.mul_(2)"
    if backward:
        return "run loss(model, batch).backward() by itself until it goes through"
    return "run loss(model, batch) by itself until it gives a number"


def _place(error: Exception, twin: nn.Module) -> list[str]:
    """The innermost module that ran, and its parameters; a module that is none of the model's is the loss."""
    running: list[nn.Module] = []
    frame = error.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            running.append(owner)
        frame = frame.tb_next
    names = {id(module): path for path, module in twin.named_modules()}
    innermost = next((module for module in reversed(running) if names.get(id(module))), None)
    if innermost is None:
        foreign = running[-1] if running else None
        if foreign is None:
            return ["in the loss"]
        return [f"in the {'model' if id(foreign) in names else 'loss'}, a {type(foreign).__name__}"]
    shapes = [f"{name} {tuple(p.shape)}" for name, p in innermost.named_parameters(recurse=False)]
    place = f"in '{names[id(innermost)]}', a {type(innermost).__name__}"
    return [place, f"its parameters: {', '.join(shapes)}"] if shapes else [place]
