"""The verb ``record``: from a factory to its model without draws, and a plan that says what they would have been."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from exnihilo.construction.geometry import is_plain
from exnihilo.construction.memory import Memory
from exnihilo.construction.recorder import Recorder
from exnihilo.construction.stand_ins import stood_in
from exnihilo.construction.stream import Stream, Stretch
from exnihilo.errors import RecordError
from exnihilo.plans.live import keep_identity, live_parameters, require_separate, ties
from exnihilo.plans.recorded import Told, row, told
from exnihilo.plans.records import Plan, Row
from exnihilo.structure.folding import folded
from exnihilo.structure.names import canonical_names
from exnihilo.structure.randomness import python_and_numpy

# Values that hold no tensor of a model.
_CLOSED = (NoneType, bool, int, float, complex, str, bytes, type, ModuleType, FunctionType, BuiltinFunctionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a factory builds, without its draws; it unpacks as ``model, plan``.

    Args:
        model: The factory's own model. Parameters that would be drawn are on the meta device; all else has its values.
        plan: A row for each parameter: ``assign`` with the law of what would be drawn or the one value that is written,
            ``keep`` for other values that the constructor writes, ``tied``.
    """

    model: nn.Module
    plan: Plan

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.plan))


def record(factory: Callable[[], Any]) -> Recorded:
    """What a factory builds and how it would have been drawn, without drawing anything.

    The factory runs as it is, in one pass over its own code. Memory that nobody has written to is not touched, and
    the global random state is not advanced, and read only where the factory itself gives it a seed or a state.

    Args:
        factory: Called without arguments; it returns a module, or a tuple that begins with one.

    Raises:
        RecordError: What the factory makes is no module; a parameter has no shape or no element yet; or values are
            drawn that no scheme has the law of, are read while the model is built, lie in a buffer, or are the same
            numbers again, since a seed or a state comes back.
        InvalidValueError: Two parameters share memory without being one.

    Example:
        >>> model, plan = record(lambda: nn.Sequential(nn.Linear(64, 8), nn.LayerNorm(8)))
        >>> [(row.parameter, row.scheme) for row in plan.rows][:3]
        [('0.weight', 'Uniform(bound=0.125)'), ('0.bias', 'Uniform(bound=0.125)'), ('1.weight', 'ones')]
        >>> model[0].weight.device.type, model[1].weight.device.type
        ('meta', 'cpu')
    """
    recorder, before = Recorder(), python_and_numpy()
    with stood_in(recorder), recorder:
        built = factory()
    has_drawn_elsewhere = python_and_numpy() != before
    if recorder.failure is not None:
        raise recorder.failure
    model = _model_of(built)
    live = live_parameters(model)
    _require_elements(model, live)
    require_separate(live)
    paths, tied = {name: path for path, name in canonical_names(model).items()}, ties(live)
    found = told(model, live, paths, recorder.memory)
    _require_told(model, found, _drawn_elsewhere(model, live, recorder.memory))
    _require_new_numbers(model, found, recorder.stream)
    rows = tuple(row(name, p, tied[name], found[name]) for name, p in live.items())
    if has_drawn_elsewhere:
        rows = tuple(_doubted(one) if one.action == "keep" else one for one in rows)
    for parameter in {id(p): p for name, p in live.items() if found[name].is_left}.values():
        _leave_to_meta(model, parameter)
    recorder.memory.fill_all()
    return Recorded(model=model, plan=Plan(recipe="recorded", model=type(model).__name__, rows=rows))


def _doubted(kept: Row) -> Row:
    """A row that says where values may come from that no plan draws again."""
    return replace(kept, reason=f"{kept.reason} from PyTorch, and meanwhile there were draws from Python or NumPy")


def _leave_to_meta(model: nn.Module, parameter: nn.Parameter) -> None:
    """Put a parameter on the meta device: the same object wherever that is possible, since anything may refer to it."""
    shaped = torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype, device="meta")
    left = nn.Parameter(shaped, requires_grad=parameter.requires_grad)
    keep_identity(parameter, left)
    try:
        torch.utils.swap_tensors(parameter, left)
    except RuntimeError:  # PyTorch's recurrent modules hold weak references
        for module in model.modules():
            for name, held in list(module._parameters.items()):  # pyright: ignore[reportPrivateUsage]  # the owners
                if held is parameter:
                    setattr(module, name, left)


def _model_of(built: Any) -> nn.Module:
    model: object = built[0] if isinstance(built, tuple) and built else built
    if not isinstance(model, nn.Module):
        raise RecordError(
            f"The factory returns {type(model).__name__}; it must return a module.",
            fix="record(lambda: build_model()), or a factory that returns (model, example)",
        )
    return model


def _require_elements(model: nn.Module, live: dict[str, nn.Parameter]) -> None:
    for name, parameter in live.items():
        if is_lazy(parameter):
            raise RecordError(
                f"Parameter '{name}' of {type(model).__name__} has no shape yet.",
                context=["a lazy module learns its shape from the first input"],
                fix="run it in the factory, where it takes no statistics: model = build().eval(); model(example); "
                "return model.train()",
            )
        if parameter.numel() == 0:
            raise RecordError(
                f"Parameter '{name}' of {type(model).__name__} has no element: its shape is {tuple(parameter.shape)}.",
                fix="leave the parameter out of the model, or give each of its dims at least one unit",
            )


def _require_new_numbers(model: nn.Module, found: dict[str, Told], stream: Stream) -> None:
    """No seed or state comes back between the draws of two parameters: these would hold the same numbers."""
    drawn: dict[Stretch, str] = {}
    for name, one in found.items():
        for stretch in {stream.by_draw[draw.number] for _, draw in one.draws}:
            other = next((earlier for seen, earlier in drawn.items() if stretch.repeats(seen)), None)
            if other is not None:
                raise RecordError(
                    f"Parameters '{other}' and '{name}' of {type(model).__name__} are drawn from the same numbers.",
                    context=[
                        "between their draws a seed or a state puts PyTorch's generator back to where it was before"
                    ],
                    fix="seed once, before the first draw; copy.deepcopy(layer) makes a layer that begins like another",
                )
            drawn.setdefault(stretch, name)


def _drawn_elsewhere(model: nn.Module, live: dict[str, nn.Parameter], memory: Memory) -> dict[str, str]:
    """Tensors of the model that are no parameters and would be drawn: what wrote them, by name."""
    tensors = dict(model.named_buffers(remove_duplicate=False))
    mine = {id(parameter) for parameter in live.values()}
    seen = {id(module) for module in model.modules()}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                leaves = [leaf for leaf in _tensors_in(value, seen) if id(leaf) not in mine]
                tensors |= {f"{prefix}.{name}".removeprefix("."): leaf for leaf in leaves if is_plain(leaf)}
    plain = {name: tensor for name, tensor in tensors.items() if is_plain(tensor)}
    return {name: ", ".join(memory.drawn(t).history) for name, t in plain.items() if memory.is_drawn(t)}


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """The tensors in a value, also within objects that hold others; what was seen is not entered again."""
    waiting: list[Any] = [value]
    while waiting:
        held = waiting.pop()
        if isinstance(held, Tensor):
            yield held
        elif not (isinstance(held, _CLOSED) or id(held) in seen):
            seen.add(id(held))
            waiting += dict[Any, Any].values(held) if isinstance(held, dict) else ()  # a lazy one's own would import
            waiting += held if isinstance(held, list | tuple | set | frozenset | deque) else ()
            waiting += getattr(held, "__dict__", {}).values()
            slots = [getattr(kind, "__slots__", ()) for kind in type(held).__mro__]
            names = [name for some in slots for name in ((some,) if isinstance(some, str) else some)]
            waiting += [getattr(held, name, None) for name in names if name not in ("__dict__", "__weakref__")]


def _require_told(model: nn.Module, found: dict[str, Told], elsewhere: dict[str, str]) -> None:
    untold = [(name, one.reason) for name, one in found.items() if not one.is_told]
    untold += [(name, f"no parameter, and written by {history}") for name, history in elsewhere.items()]
    if not untold:
        return
    count = "1 tensor" if len(untold) == 1 else f"{len(untold)} tensors"
    lines = folded(untold, lambda entry: entry[0], lambda entry: entry[1])
    raise RecordError(
        f"No plan can say what {type(model).__name__} begins with: {count} of it cannot be told as draws.",
        context=[f"{pattern}: {reason}" for pattern, (_, reason), _ in lines],
        fix="build the model and call exnihilo.plan(model, recipe, example=example), which reads no constructor",
    )
