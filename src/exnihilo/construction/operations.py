"""What operations make of memory that does not hold its values."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from exnihilo.construction.geometry import is_dense, is_plain, like, matrix_in_memory, without_memory
from exnihilo.construction.laws import (
    Drawn,
    Factor,
    Filled,
    Flat,
    Gauss,
    Haar,
    Known,
    Law,
    Mapped,
    Shuffled,
    Thinned,
    Unwritten,
    clamped,
    inverse_error,
    mapped,
    multiplied,
    of_one_draw,
    shifted,
    step,
)
from exnihilo.construction.memory import Memory, entries, region_of
from exnihilo.schemes.formula import FUNCTIONS

_Change = Callable[[Law | None], Law | None]


def followed(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The result of an operation, with a note of what it holds; NotImplemented of one that is not known here."""
    match name:
        case "copy_":
            return _copied(memory, func, args)
        case "cat" | "stack":
            return _joined(memory, func, name, args, kwargs)
        case "linalg_qr":
            return _factored(memory, func, args, kwargs)
        case "diagonal_copy" | "sign":
            return _of_factor(memory, func, name, args, kwargs)
        case "mul" | "mul_" if _is_turned(memory, args):
            return _turned(memory, func, name, args, kwargs)
        case "index_put_":
            return _thinned(memory, args)
        case _:
            return _elementwise(memory, func, name, args, kwargs)


def _elementwise(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    first, other, place = args[0] if args else None, args[1] if len(args) > 1 else None, 0
    if is_plain(first) and is_plain(other):
        if other.dim() and not first.dim():
            place, other = 1, first
        if other.dim() or not memory.is_known(other):
            return _paired(memory, func, name, args, kwargs)
        other = other.item()
    change = _change(name.removesuffix("_"), other, args, kwargs, is_second=place == 1)
    if change is None:
        return NotImplemented
    subject, rest = args[place], {key: value for key, value in kwargs.items() if key != "memory_format"}
    out = subject if name.endswith("_") else like(without_memory(func, args, kwargs))
    _carry(memory, name, change, subject, out, lambda part: func(*args[:place], part, *args[place + 1 :], **rest))
    return out


def _change(
    name: str, other: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, is_second: bool
) -> _Change | None:
    """What an elementwise operation with at most one number makes of a law; None of any other operation.

    Of a law that it takes out of its family it makes a formula.
    """
    alpha = kwargs.get("alpha", args[2] if name in ("add", "sub", "rsub") and len(args) > 2 else 1)
    if name in ("clone", "_to_copy"):
        return lambda law: law
    if name in FUNCTIONS and len(args) == 1 and name != "clamp":
        return partial(mapped, template=f"{name}({{}})")
    if alpha != 1 or "rounding_mode" in kwargs or isinstance(other, complex):
        return None
    match name:
        case "neg":
            return _or_formula(partial(multiplied, factor=-1.0), "(-{})")
        case "reciprocal":
            return partial(mapped, template="(1.0 / {})")
        case "mul":
            return _or_formula(partial(multiplied, factor=other), f"({{}} * {other!r})")
        case "div" if is_second:
            return partial(mapped, template=f"({other!r} / {{}})")
        case "div" if other:
            return _or_formula(partial(multiplied, factor=1.0 / other), f"({{}} / {other!r})")
        case "add":
            return _or_formula(partial(shifted, shift=other), f"({{}} + {other!r})")
        case "sub" | "rsub" if is_second == (name == "rsub"):
            return _or_formula(partial(shifted, shift=-other), f"({{}} - {other!r})")
        case "sub" | "rsub":
            return _or_formula(lambda law: shifted(multiplied(law, -1.0), other), f"({other!r} - {{}})")
        case "erfinv":
            return inverse_error
        case "clamp" | "clamp_min" | "clamp_max" if not any(map(is_plain, (*args[1:], *kwargs.values()))):
            low, high = _bounds(name, args, kwargs)
            return _or_formula(partial(clamped, low=low, high=high), f"clamp({{}}, {low!r}, {high!r})")
        case _:
            return None


def _or_formula(change: _Change, template: str) -> _Change:
    def changed(law: Law | None) -> Law | None:
        found = change(law)
        return mapped(law, template) if found is None else found

    return changed


def _paired(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A sum or product of two formulas of one draw, entry by entry."""
    sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}.get(name.removesuffix("_"))
    if sign is None or len(args) != 2 or kwargs or not (is_plain(args[0]) and is_plain(args[1])):
        return NotImplemented
    first, second = memory.drawn(args[0]), memory.drawn(args[1])
    law, combined = of_one_draw(first, second, sign)
    is_same = args[0].shape == args[1].shape and args[0].stride() == args[1].stride()
    if law is None or not (first.draw.is_same(second.draw) and is_same and is_dense(args[0])):
        return NotImplemented
    out = args[0] if name.endswith("_") else like(without_memory(func, args, kwargs))
    memory.write(out, second.then(name, law, combined))
    return out


def _bounds(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float]:
    given = {**dict(zip(("min", "max") if name != "clamp_max" else ("max",), args[1:], strict=False)), **kwargs}
    low, high = given.get("min"), given.get("max")
    return -torch.inf if low is None else low, torch.inf if high is None else high


def _copied(memory: Memory, func: Any, args: tuple[Any, ...]) -> Any:
    target, source = args[0], args[1]
    if not (is_plain(source) and is_plain(target)):
        return NotImplemented
    if memory.is_known(source) and not memory.is_unwritten(source):
        memory.settle(target)
        func(*args)
        memory.write(target, Known())
        return target
    _carry(memory, "copy_", lambda law: law, source, target, lambda part: part)
    return target


def _carry(
    memory: Memory, name: str, change: _Change, source: Tensor, target: Tensor, run: Callable[[Tensor], Tensor]
) -> None:
    """Note on a target what an elementwise operation makes of a source, and compute it where that is known.

    Args:
        memory: Holds the notes.
        name: The operation.
        change: What it makes of a law.
        source: What is read.
        target: What is written: the source itself, or as many elements, or more where the source is spread out.
        run: The operation itself.
    """
    parts, origin, to = memory.parts(source), region_of(source), region_of(target)
    is_same = source.shape == target.shape and source.stride() == target.stride()
    is_aligned = source is target or (is_same and is_dense(source))
    contents = {content for _, content in parts or ()}
    is_spread = source.numel() != target.numel() or 0 in source.stride()
    if not contents or not (is_aligned or len(contents) == 1) or (is_spread and memory.is_drawn(source)):
        memory.write(target, memory.drawn(source).then(name, None))
        return
    memory.settle(target)
    for region, content in parts or ():
        place = region.moved(origin.start, to.start, target.element_size(), source.element_size())
        place = place if is_aligned else to
        match content:
            case Known():
                written = run(entries(source, region))
                if source is not target:
                    entries(target, place).copy_(written)
                memory.write(target, content, place)
            case Filled(value=value, dtype=dtype):
                one = run(torch.full((1,), value, dtype=dtype, device="cpu")).to(target.dtype)
                memory.write(target, Filled(one.item(), target.dtype), place)
            case Drawn(law=law):
                is_rounded = not (source.is_floating_point() and target.is_floating_point())
                if is_rounded and not isinstance(law, Shuffled):
                    memory.write(target, content.then(name, None), place)
                    continue
                own = law if is_aligned else _laid_out(law, source, target)
                is_copy = name in ("clone", "_to_copy", "copy_")
                changed = (
                    replace(content, law=own) if is_copy else content.then(name, change(own), _made(content, change))
                )
                draw = changed.draw if is_aligned else replace(changed.draw, is_reordered=True)
                changed = replace(changed, draw=draw)
                memory.write(target, changed, place)
            case Unwritten():
                memory.write(target, content, place)


def _made(drawn: Drawn, change: _Change) -> Mapped | None:
    """What an elementwise operation makes of each entry: the formula by which it changes one."""
    if change is inverse_error:
        return step(drawn.draw.made, "erfinv")
    made = change(drawn.draw.made)
    return made if isinstance(made, Mapped) else None


def _laid_out(law: Law | None, source: Tensor, target: Tensor) -> Law | None:
    """The law of the same entries in a tensor whose dims lie in another order."""
    if isinstance(law, Gauss | Flat | Mapped):
        return law
    if isinstance(law, Haar) and matrix_in_memory(source) == (law.rows, law.columns):
        found = matrix_in_memory(target)
        return Haar(law.gain, *found) if found and source.shape == target.shape else None
    return None


def _joined(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    joined, tensors = like(without_memory(func, args, kwargs)), args[0]
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    first = 0
    for tensor in tensors:
        if name == "stack":
            place, first = joined.select(dim, first), first + 1
        elif tensor.shape == (0,):  # left out, whatever the others' dims
            continue
        else:
            place, first = joined.narrow(dim, first, tensor.shape[dim]), first + tensor.shape[dim]
        _copied(memory, torch.ops.aten.copy_.default, (place, tensor))
    return joined


def _factored(memory: Memory, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    matrix, drawn = args[0], memory.drawn(args[0])
    is_standard = isinstance(drawn.law, Gauss) and drawn.law == Gauss(0.0, drawn.law.std)
    if not is_standard or matrix.dim() != 2 or matrix.shape[0] < matrix.shape[1] or len(args) > 1 or kwargs:
        return NotImplemented
    made = tuple(like(shaped) for shaped in without_memory(func, args, kwargs))
    for part, tensor in zip(("q", "r"), made, strict=True):
        factor = Factor(part, (drawn.draw, region_of(matrix)), *matrix.shape)
        memory.write(tensor, drawn.then("qr", factor, step(drawn.draw.made, part)))
    return made


def _of_factor(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    drawn = memory.drawn(args[0])
    law = drawn.law
    if not isinstance(law, Factor) or law.part not in ("r", "diagonal") or any(args[1:]) or kwargs:
        return NotImplemented
    if name == "sign" and args[0].shape != (law.columns,):
        return NotImplemented
    made, part = like(without_memory(func, args, kwargs)), "signs" if name == "sign" else "diagonal"
    memory.write(made, drawn.then(name, replace(law, part=part), step(drawn.draw.made, part)))
    return made


def _is_turned(memory: Memory, args: tuple[Any, ...]) -> bool:
    """A factor Q whose columns get the signs of R's diagonal: that makes it Haar-uniform."""
    if not (is_plain(args[0]) and is_plain(args[1])):
        return False
    q, signs = memory.law(args[0]), memory.law(args[1])
    if not (isinstance(q, Factor) and isinstance(signs, Factor) and q == replace(signs, part="q")):
        return False
    return signs.part == "signs" and args[0].shape == (q.rows, q.columns) and args[1].dim() == 1


def _turned(memory: Memory, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    made = args[0] if name == "mul_" else like(without_memory(func, args, kwargs))
    found, q = matrix_in_memory(made), memory.drawn(args[0])
    memory.write(made, q.then("sign", Haar(1.0, *found) if found else None, step(q.draw.made, "signed")))
    return made


def _thinned(memory: Memory, args: tuple[Any, ...]) -> Any:
    column, indices, values = args[:3]
    if len(args) > 3 or len(indices) != 1 or not is_plain(indices[0]) or not memory.is_known(values):
        return NotImplemented
    drawn, chosen = memory.drawn(column), memory.drawn(indices[0])
    places = chosen.law
    law = drawn.law
    if not (isinstance(law, Gauss) and law.mean == 0 and isinstance(places, Shuffled)):
        return NotImplemented
    if indices[0].dim() != 1 or 0 in indices[0].stride():  # an entry that is named twice
        return NotImplemented
    if column.shape != (places.size,) or values.numel() != 1 or values.item() != 0:
        return NotImplemented
    thinned = Thinned(law, zeros=indices[0].numel(), size=places.size, places=replace(chosen.draw, place=None))
    made = step(drawn.draw.made, f"but for {chosen.draw}")
    memory.write(column, drawn.then("index_put_", thinned, made))
    return column
