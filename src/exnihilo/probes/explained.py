"""Says where in a model an error was raised, and by what."""

from typing import Any

from torch import nn

from exnihilo.errors import CheckError
from exnihilo.probes.batches import num_samples_of
from exnihilo.probes.question import described


def explained(error: Exception, model: nn.Module, twin: nn.Module, batch: Any) -> CheckError:
    """The error for what a model or its loss raised.

    Args:
        error: As it was caught, with its traceback.
        model: The user's own.
        twin: What was run.
        batch: All of it.
    """
    said = str(error).strip().splitlines()
    kind = f"{type(model).__name__} or its loss raises {type(error).__name__}"
    needs_two = num_samples_of(batch) == 1 and "more than 1 value per channel" in str(error)
    return CheckError(
        f"{kind}: {said[0][:200]}" if said else f"{kind}.",
        context=[*_place(error, twin), f"batch: {described(batch)}"],
        fix="give a batch of at least 2 samples: batch normalization needs them"
        if needs_two
        else "run loss(model, batch) by itself until it gives a number",
    )


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
