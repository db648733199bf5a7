"""Watches what a factory does with tensors: what is known is computed, what would be drawn is noted and not drawn."""

import itertools
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, default_generator
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes  # pyright: ignore[reportPrivateUsage]
from torch.utils._pytree import tree_leaves

from exnihilo.construction.calls import Calls
from exnihilo.construction.geometry import is_plain, like, without_memory
from exnihilo.construction.laws import Draw, Drawn, Filled, Flat, Gauss, Known, Law, Shuffled, Unwritten, untouched
from exnihilo.construction.memory import Memory, region_of
from exnihilo.construction.operations import followed
from exnihilo.construction.stream import Stream
from exnihilo.errors import RecordError

# From here on, in bytes, tensors of one number are not filled while they are built: most are written again.
LARGE = 2**18

_EMPTY = frozenset(["empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"])
_CONSTANT = frozenset(
    ["zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full"]
)
# Operations that only hand a tensor on, or change what it is a view of, although their schemas do not say so.
_HANDING_ON = frozenset(["_unsafe_view", "_reshape_alias", "lift", "lift_fresh", "unsafe_split", "detach_", "set_"])
# Running statistics, which are written without the schema saying so, by place; and what tells whether they are, if any.
_STATISTICS = {"native_batch_norm": ((3, 4), 5), "batch_norm_update_stats": ((1, 2), None)}
_COPYING = frozenset(["clone", "_to_copy", "copy_"])


class Recorder(TorchDispatchMode):
    """While it is entered, every operation of this thread runs so that nothing is drawn.

    Memory that nobody has written to is reserved and not touched. Operations on known values run as ever; random ones
    leave a note of their law on the memory that they would fill; operations on such memory change the note. Whatever
    device a tensor is asked for, it is made on the CPU.

    Attributes:
        memory: What each storage holds.
        stream: Which numbers of its generators would be drawn.
        failure: What made the factory fail here, also where it caught the error itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.stream = Memory(), Stream()
        self.failure: RecordError | None = None
        self._draws = itertools.count(1)
        self._calls = Calls(self.memory, self.require_known)

    def __enter__(self) -> "Recorder":
        super().__enter__()
        self._calls.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._calls.__exit__(*raised)
        super().__exit__(*raised)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = _on_cpu(kwargs or {}), _name(func)
        if name in _HANDING_ON or torch.Tag.inplace_view in func.tags or _is_view(func):
            return func(*args, **kwargs)
        if kwargs and torch.Tag.out in func.tags:
            return self._into(func, args, kwargs)
        if name in _EMPTY:
            made = func(*args, **kwargs)
            if is_plain(made):
                self.memory.write(made, Unwritten())
            return made
        if name in _CONSTANT:
            return self._constant(func, name, args, kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._random(func, name, args, kwargs)
        if name in ("fill_", "zero_") and self._is_left_unfilled(args):
            return args[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if is_plain(leaf)]
        is_idle = name in _COPYING and self.memory.is_unwritten(args[-1])
        if all(map(self.memory.is_known, tensors)) and not is_idle:
            return self._computed(func, args, kwargs)
        return self._followed(func, name, args, kwargs, tensors)

    def note(self, tensor: Tensor, law: Law | None, operation: str, generator: torch.Generator | None = None) -> Tensor:
        """Note that a tensor would be drawn, by the global generator or another."""
        number = next(self._draws)
        if generator is None or _place_of(generator) == _place_of(default_generator):
            self.stream.drawn(number)
        else:
            with _disable_current_modes():
                held = generator.get_state().numpy().tobytes()
            self.stream.drawn_by(number, generator, _place_of(generator), held)
        if isinstance(law, Gauss) and law.std == 0:
            self.memory.write(tensor, Filled(law.mean, tensor.dtype))
        elif tensor.numel():
            self.memory.write(tensor, Drawn(law, Draw(number, made=untouched(law)), (operation,)))
        return tensor

    def require_known(self, tensor: Tensor, operation: str) -> None:
        """Raise RecordError where values are read that would be drawn."""
        if self.memory.is_drawn(tensor):
            raise self._failed(operation, [tensor])
        with _disable_current_modes():  # this recorder among them, which would leave numbers unwritten
            self.memory.fill(tensor)

    def _into(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation with ``out=``: of what is not known as without it, and then copied there."""
        names = [argument.name for argument in func._schema.arguments if argument.is_out]
        outs, given = [kwargs[name] for name in names], {key: kwargs[key] for key in kwargs if key not in names}
        places = [leaf for leaf in tree_leaves(outs) if is_plain(leaf)]
        read = [leaf for leaf in tree_leaves((args, given)) if is_plain(leaf)]
        if torch.Tag.nondeterministic_seeded not in func.tags and not any(map(self.memory.is_drawn, read)):
            for tensor in read:
                self.memory.fill(tensor)
            for tensor in places:
                self.memory.settle(tensor)
            return self._computed(func, args, kwargs)
        with self:
            for place, made in zip(places, tree_leaves(func.overloadpacket(*args, **given)), strict=True):
                if place.shape != made.shape:
                    place.resize_(made.shape)
                place.copy_(made)
        returned = outs[: len(func._schema.returns)]
        return returned[0] if len(returned) == 1 else tuple(returned) or None

    def _constant(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        shaped = without_memory(func, args, kwargs)
        if shaped.numel() * shaped.element_size() < LARGE:
            return func(*args, **kwargs)
        kind = name.removeprefix("new_").removesuffix("_like")
        value = {"zeros": 0.0, "ones": 1.0}.get(kind)
        made = like(shaped)
        self.memory.write(made, Filled(kwargs.get("fill_value", args[-1]) if value is None else value, made.dtype))
        return made

    def _random(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        written = _mutated(func, args, kwargs)
        law, generator = _law(name, args, kwargs), kwargs.get("generator")
        if written:
            for tensor in written:
                self.note(tensor, None if tensor.is_complex() else law, name, generator)
            return written[0]
        made = [
            like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in _leaves(without_memory(func, args, kwargs))
        ]
        for leaf in made:
            if isinstance(leaf, Tensor):
                self.note(leaf, None if leaf.is_complex() else law, name, generator)
        return made[0] if len(made) == 1 else tuple(made)

    def _is_left_unfilled(self, args: tuple[Any, ...]) -> bool:
        """Note that a tensor is to hold one number, unless it is as well written at once."""
        tensor, value = args[0], args[1] if len(args) > 1 else 0.0
        size = tensor.untyped_storage().nbytes() if is_plain(tensor) else 0
        if isinstance(value, Tensor):
            if not is_plain(value) or self.memory.is_drawn(value):
                return False
            self.memory.fill(value)
            value = value.item()
        if not size:
            return False
        if size < LARGE and (self.memory.is_kept(tensor) or region_of(tensor).size == size):
            self.memory.forget(tensor)
            return False
        self.memory.write(tensor, Filled(value, tensor.dtype))
        return True

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        for tensor in _mutated(func, args, kwargs):
            self.memory.write(tensor, Known())
        return result

    def _followed(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: Sequence[Tensor]
    ) -> Any:
        result = followed(self.memory, func, name, args, kwargs)
        if result is not NotImplemented:
            return result
        drawn = [tensor for tensor in tensors if self.memory.is_drawn(tensor)]
        if not drawn:
            for tensor in tensors:
                self.memory.fill(tensor)
            return self._computed(func, args, kwargs)
        try:
            shaped = without_memory(func, args, kwargs)
        except Exception as error:
            raise self._failed(name, drawn) from error
        made = [like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in _leaves(shaped)]
        if not all(isinstance(leaf, Tensor) for leaf in made):
            raise self._failed(name, drawn)
        written = _mutated(func, args, kwargs)
        mixed = self.memory.drawn(drawn[0])
        for tensor in written:
            self.memory.write(tensor, mixed.then(name, None))
        if written and _is_in_place(func):
            return written[0]
        for tensor in made:
            self.memory.write(tensor, mixed.then(name, None))
        return made[0] if isinstance(shaped, Tensor) else type(shaped)(made)

    def _failed(self, operation: str, drawn: Sequence[Tensor]) -> RecordError:
        made = ", ".join(self.memory.drawn(drawn[0]).history)
        self.failure = RecordError(
            f"The factory reads values that are drawn: '{operation}' of a tensor of shape {tuple(drawn[0].shape)}.",
            context=[f"written by: {made}", *_line()],
            fix="build the model and call exnihilo.plan(model, recipe, example=example), which reads no constructor",
        )
        return self.failure


def _law(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Law | None:
    """The law of a random operation; None where none of ours holds."""
    numbers = [arg for arg in args if isinstance(arg, int | float)]
    match name:
        case "randn" | "randn_like":
            return Gauss(0.0, 1.0)
        case "rand" | "rand_like":
            return Flat(0.0, 1.0)
        case "normal_" | "normal":
            has_tensor = any(isinstance(arg, Tensor) for arg in args[name == "normal_" :])
            named = [kwargs.get("mean", 0.0), kwargs.get("std", 1.0)]
            mean, std = [*numbers, *named[len(numbers) :]]
            return None if has_tensor else Gauss(float(mean), float(std))
        case "uniform_":
            named = [kwargs.get("from", 0.0), kwargs.get("to", 1.0)]
            low, high = [*numbers, *named[len(numbers) :]]
            return Flat(float(low), float(high))
        case "randperm":
            return Shuffled(args[0])
        case _:
            return None


def _place_of(generator: Any) -> int:
    """Where a generator lies, of which any number of Python's objects may be made."""
    return generator._cdata


def _on_cpu(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: torch.device("cpu") if key == "device" and value else value for key, value in kwargs.items()}


@cache
def _name(func: Any) -> str:
    return func._schema.name.removeprefix("aten::")


@cache
def _is_view(func: Any) -> bool:
    aliases = [returned.alias_info for returned in func._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _is_in_place(func: Any) -> bool:
    """What it returns is what it writes to."""
    return any(returned.alias_info is not None for returned in func._schema.returns)


def _mutated(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes to."""
    places, is_trained = _STATISTICS.get(_name(func), ((), None))
    found = [args[i] for i in places if is_plain(args[i]) and (is_trained is None or args[is_trained])]
    for i, name in _written_arguments(func):
        given = args[i] if i < len(args) else kwargs.get(name)
        found += [leaf for leaf in tree_leaves(given) if is_plain(leaf)]
    return found


@cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """By its schema: the place and the name of each."""
    arguments = enumerate(func._schema.arguments)
    return tuple(
        (i, argument.name) for i, argument in arguments if argument.alias_info and argument.alias_info.is_write
    )


def _leaves(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _line() -> list[str]:
    """The line of the factory's own code that runs now."""
    ours = Path(__file__).parent.parent
    torchs = Path(torch.__file__).parent
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if ours not in path.parents and torchs not in path.parents:
            return [f"in {frame.name}, {path.name}:{frame.lineno}: {frame.line}"]
    return []
