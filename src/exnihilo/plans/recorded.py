"""From what a constructor wrote to each parameter, or would have drawn there, to the rows of a plan."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.construction.expressed import Expressed, Held, constant, expressed
from exnihilo.construction.geometry import is_plain
from exnihilo.construction.independence import Draws, copied_from, draws_of, entangled_with, is_drawn_once
from exnihilo.construction.laws import Drawn, Filled
from exnihilo.construction.memory import Memory, entries, region_of
from exnihilo.construction.recorder import LARGE
from exnihilo.construction.regions import Region
from exnihilo.errors import LayoutError
from exnihilo.layouts import Layout
from exnihilo.plans.live import dtype_name, fingerprint
from exnihilo.plans.records import Row
from exnihilo.schemes import Scheme, Shared
from exnihilo.schemes.spec import to_text
from exnihilo.structure.records import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a plan can say of one parameter.

    Args:
        scheme: The law of its values; None where they stay as they are, or nothing tells them.
        layout: By which the scheme draws.
        reason: In one line.
        is_left: The values are not in memory.
        is_told: The plan can say what they are.
        draws: Whose entries it holds.
    """

    scheme: Scheme | None = None
    layout: Layout
    reason: str
    is_left: bool = False
    is_told: bool = True
    draws: Draws = ()


def told(
    model: nn.Module, live: Mapping[str, nn.Parameter], paths: Mapping[str, str], memory: Memory
) -> dict[str, Told]:
    """What a plan can say of each parameter, by canonical name; of a tied one, the same for all its names.

    Args:
        model: What the factory built.
        live: Its parameters by canonical name.
        paths: The name that the model itself gives each of them.
        memory: What was noted while it was built.
    """
    found: dict[str, Told] = {}
    by_tensor: dict[int, Told] = {}
    earlier: dict[str, Draws] = {}
    with torch.no_grad():
        for name, parameter in live.items():
            if id(parameter) not in by_tensor:
                alone = _told(parameter, _layout(model, paths[name], parameter), memory)
                by_tensor[id(parameter)] = _apart(alone, earlier)
                earlier |= {name: alone.draws} if alone.draws else {}
            found[name] = by_tensor[id(parameter)]
    return found


def row(name: str, parameter: nn.Parameter, tied_to: str | None, found: Told) -> Row:
    """The row of a parameter."""
    shape, dtype, frozen = tuple(parameter.shape), dtype_name(parameter), not parameter.requires_grad
    facts: dict[str, Any] = {
        "parameter": name,
        "role": Role.UNKNOWN,  # roles are read off a run of the model, and none took place
        "shape": shape,
        "dtype": dtype,
        "tied_to": tied_to,
        "frozen": frozen,
        "layout": found.layout,
        "fingerprint": fingerprint(name, shape, dtype, tied_to, frozen=frozen),
    }
    if tied_to is not None:
        return Row(action="tied", reason=f"the same tensor as {tied_to}", **facts)
    if found.scheme is None:
        return Row(action="keep", reason=found.reason, **facts)
    promised = found.scheme.expected_std(found.layout)
    return Row(action="assign", scheme=to_text(found.scheme), expected_std=promised, reason=found.reason, **facts)


def _told(parameter: Tensor, layout: Layout, memory: Memory) -> Told:
    if not is_plain(parameter):
        return Told(layout=layout, reason="made elsewhere, or not strided", is_told=False)
    if memory.is_drawn(parameter):
        return _drawn(parameter, layout, memory)
    if memory.is_unwritten(parameter):
        return Told(layout=layout, reason="never written", is_told=False)
    contents = memory.contents(parameter)
    is_large = parameter.untyped_storage().nbytes() >= LARGE
    if is_large and len(contents) == 1 and isinstance(contents[0], Filled):
        value = _storable(contents[0].value, parameter.dtype)
        if value is not None and not (value == 0 and math.copysign(1.0, value) < 0):
            return Told(scheme=constant(value), layout=layout, reason="one value, written", is_left=True)
    memory.fill(parameter)
    value = _one_value(parameter)
    if value is None:
        return Told(layout=layout, reason="written without drawing")
    return Told(scheme=constant(value), layout=layout, reason="one value, written")


def _drawn(parameter: Tensor, layout: Layout, memory: Memory) -> Told:
    history, whole = ", ".join(memory.drawn(parameter).history), region_of(parameter)
    parts = memory.parts(parameter) or ()
    draws = draws_of(parts, whole)
    if _is_spread(parameter):
        return Told(layout=layout, reason=f"some entries lie at one place, written by {history}", is_told=False)
    is_real = parameter.is_floating_point() and (len(parts) == 1 or parameter.is_contiguous())
    found: Expressed | None = None
    if parts and is_real and is_drawn_once(draws):
        held: list[tuple[Region, Held]] = []
        for region, content in parts:
            match content:
                case Drawn(law=law):
                    held.append((region, law))
                case Filled(value=value):
                    held.append((region, _storable(value, parameter.dtype)))
                case _:
                    written = not memory.is_unwritten(entries(parameter, region))
                    held.append((region, _one_value(entries(parameter, region)) if written else None))
        found = expressed(held, whole, layout)
    if found is None:
        return Told(layout=layout, reason=f"written by {history}", is_told=False, draws=draws)
    return Told(scheme=found.scheme, layout=found.layout, reason=f"drawn by {history}", is_left=True, draws=draws)


def _apart(alone: Told, earlier: Mapping[str, Draws]) -> Told:
    """What is said of a parameter beside the others: a copy is drawn as one."""
    original = copied_from(alone.draws, earlier)
    if alone.scheme is not None and original is not None:
        reason = f"{alone.reason}, and copied from {original}"
        return replace(alone, scheme=Shared(base=alone.scheme, name=original), reason=reason)
    other = entangled_with(alone.draws, earlier)
    if original is None and other is not None:
        return replace(alone, scheme=None, is_told=False, reason=f"{alone.reason}, of entries that {other} holds too")
    return alone


def _layout(model: nn.Module, path: str, parameter: nn.Parameter) -> Layout:
    try:
        return Layout.of(model, path)
    except LayoutError:  # which dims are out and in is known of PyTorch's own modules alone
        return Layout.vector(*parameter.shape)


def _is_spread(tensor: Tensor) -> bool:
    """Several of its entries are one, such as the rows of ``expand``."""
    end = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride < end:
            return True
        end += (size - 1) * stride
    return False


def _one_value(tensor: Tensor) -> float | None:
    """The number that all entries are; None where there is none that a scheme delivers."""
    if not tensor.is_floating_point():
        return None
    low, high = torch.aminmax(tensor.float() if tensor.element_size() == 1 else tensor)  # eight bits have no order
    if low != high or (low == 0 and bool(torch.signbit(tensor).any())):  # schemes deliver no zeros with a sign
        return None
    return _storable(low.item(), tensor.dtype)


def _storable(value: complex | float, dtype: torch.dtype) -> float | None:
    """A number as short as it can be spelled, which a scheme's float32 holds and a dtype stores as this one."""
    if isinstance(value, complex) or not dtype.is_floating_point or not math.isfinite(value):
        return None
    stored = torch.tensor(value, dtype=dtype, device="cpu")
    for spelled in (*(float(f"{value:.{digits}g}") for digits in range(1, 10)), float(value)):
        if bool(torch.tensor(spelled, dtype=torch.float32, device="cpu").to(dtype) == stored):
            return spelled
    return None
