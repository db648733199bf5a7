"""What a loss holds beside the model, and would change: other modules, such as a teacher, and generators."""

import inspect
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from exnihilo.probes.apart import gradients_set_aside
from exnihilo.probes.question import Question
from exnihilo.structure.copying import left_as_it_was
from exnihilo.structure.randomness import generators_of

Neighbor = nn.Module | torch.Generator


def neighbors_of(question: Question, model: nn.Module) -> tuple[Neighbor, ...]:
    """The modules and generators that a loss or criterion is, holds, closes over, or names; the model is none of them.

    Example:
        >>> teacher = nn.Linear(2, 2)
        >>> question = Question(batch=torch.ones(1, 2), loss=lambda model, x: (model(x) - teacher(x)).square().mean())
        >>> neighbors_of(question, nn.Linear(2, 2)) == (teacher,)
        True
    """
    own = {id(module) for module in model.modules()}
    found: dict[int, Neighbor] = {}
    for value in _held(question.loss if question.loss is not None else question.criterion):
        if isinstance(value, Neighbor) and id(value) not in own:
            found[id(value)] = value
    modules = [value for value in found.values() if isinstance(value, nn.Module)]
    found |= {id(g): g for module in [model, *modules] for g in generators_of(module)}
    return tuple(found.values())


@contextmanager
def untouched(neighbors: Iterable[Neighbor]) -> Generator[None]:
    """Undo what a block does to their buffers, gradients and states."""
    with ExitStack() as stack:
        for neighbor in neighbors:
            if isinstance(neighbor, nn.Module):
                stack.enter_context(left_as_it_was(neighbor))
                stack.enter_context(gradients_set_aside(neighbor))
            else:
                stack.callback(neighbor.set_state, neighbor.get_state())
        yield


def _held(called: Any, depth: int = 2) -> Iterable[Any]:
    """What something callable is, is bound to, closes over and names, and what those hold one level down."""
    if isinstance(called, nn.Module | torch.Generator):
        yield called
        return
    if isinstance(called, partial):
        whole = cast("partial[Any]", called)
        inner = [whole.func, *whole.args, *whole.keywords.values()]
    elif inspect.ismethod(called):
        inner = [called.__self__, called.__func__]
    elif inspect.isfunction(called):
        variables = inspect.getclosurevars(called)
        inner = [*variables.nonlocals.values(), *variables.globals.values(), *(called.__defaults__ or ())]
    elif isinstance(called, Mapping):
        inner = list(cast("Mapping[Any, Any]", called).values())
    elif isinstance(called, list | tuple):
        inner = list(cast("list[Any]", called))
    elif hasattr(called, "__dict__") and not inspect.ismodule(called) and not inspect.isclass(called):
        inner = list(vars(called).values())
    else:
        return
    for value in inner if depth else ():
        yield from _held(value, depth - 1)
