"""The lab's networks: their linear maps, hidden layers and parameters; what they compute is in ``lab.layers``."""

import itertools
from dataclasses import dataclass
from enum import StrEnum

from exnihilo.errors import InvalidValueError
from exnihilo.lab.records import Network
from exnihilo.layouts import Layout
from exnihilo.schemes.activations import activation_named


class Role(StrEnum):
    """What a parameter does in its network."""

    STEM = "STEM"
    HIDDEN = "HIDDEN"
    RESIDUAL_OUT = "RESIDUAL_OUT"
    HEAD = "HEAD"
    BIAS = "BIAS"
    NORM_SCALE = "NORM_SCALE"
    NORM_SHIFT = "NORM_SHIFT"
    BRANCH_SCALE = "BRANCH_SCALE"
    MAGNITUDE = "MAGNITUDE"  # the norm of each row under weight normalization


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a network: its name, role, layout, and the linear map that owns it."""

    name: str
    role: Role
    layout: Layout
    map: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """One hidden layer: the map into its units, the norm behind that, and the map out of them."""

    name: str
    into: str
    out_of: str


def maps(network: Network) -> tuple[str, ...]:
    """Names of the linear maps in forward order, the head last."""
    if network.residual:
        branches = [f"blocks.{i}.{part}" for i in range(network.depth) for part in ("inner", "outer")]
        return ("stem", *branches, "head")
    return (*(f"layers.{i}" for i in range(network.depth)), "head")


def hidden_layers(network: Network) -> tuple[Hidden, ...]:
    """The layers whose units are counted: those behind an activation, one for each unit of depth."""
    if network.residual:
        return tuple(
            Hidden(name=f"blocks.{i}", into=f"blocks.{i}.inner", out_of=f"blocks.{i}.outer")
            for i in range(network.depth)
        )
    names = maps(network)
    return tuple(Hidden(name=into, into=into, out_of=out) for into, out in itertools.pairwise(names))


def parameters(
    network: Network, num_inputs: int, num_outputs: int, image_shape: tuple[int, int, int] | None = None
) -> tuple[Parameter, ...]:
    """Every parameter of the network for a task with these inputs and outputs, in forward order."""
    activation_named(network.activation)
    if network.kind == "cnn":
        if image_shape is None:
            raise InvalidValueError(
                "Network kind 'cnn' needs images, and the task has none.",
                context=[f"found: {num_inputs} unordered inputs"],
                fix="use the task 'digits', or Network(kind='mlp')",
            )
        sizes = [image_shape[0], *(network.width * 2**i for i in range(network.depth))]
        layouts = [Layout.conv(out=o, in_=i, kernel=(3, 3)) for i, o in itertools.pairwise(sizes)]
        layouts.append(Layout.linear(out=num_outputs, in_=sizes[-1]))
        widths = [*sizes[1:], num_outputs]
    else:
        n, d = network.width, network.depth
        sizes = [num_inputs, *[n] * (2 * d + 1 if network.residual else d), num_outputs]
        layouts = [Layout.linear(out=o, in_=i) for i, o in itertools.pairwise(sizes)]
        widths = sizes[1:]
    inner = {hidden.into for hidden in hidden_layers(network)}
    found: list[Parameter] = []
    for index, (name, layout, width) in enumerate(zip(maps(network), layouts, widths, strict=True)):
        vector = Layout.vector(width)
        normalized = name in inner and network.norm == "weight"
        role = _role(name, index)
        found.append(Parameter(name=f"{name}.weight", role=role, layout=layout, map=name))
        if normalized:
            found.append(Parameter(name=f"{name}.magnitude", role=Role.MAGNITUDE, layout=vector, map=name))
        found.append(Parameter(name=f"{name}.bias", role=Role.BIAS, layout=vector, map=name))
        if name in inner and network.norm in ("batch", "layer"):
            found.append(Parameter(name=f"{name}.norm.weight", role=Role.NORM_SCALE, layout=vector, map=name))
            found.append(Parameter(name=f"{name}.norm.bias", role=Role.NORM_SHIFT, layout=vector, map=name))
        if network.gate and role is Role.RESIDUAL_OUT:
            found.append(Parameter(name=f"{name}.gate", role=Role.BRANCH_SCALE, layout=Layout.vector(1), map=name))
    return tuple(found)


def _role(name: str, index: int) -> Role:
    if name == "head":
        return Role.HEAD
    if name.endswith(".outer"):
        return Role.RESIDUAL_OUT
    return Role.STEM if index == 0 else Role.HIDDEN
