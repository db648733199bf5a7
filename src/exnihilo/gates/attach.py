"""Attaching gates to a model: its function stays what it was until a plan writes them.

A gate is a parameter of the module whose output or input it changes, and a hook that reads it there: names of other
parameters stay, copies and compiled or sharded models work as the module itself does, and a checkpoint of the plain
model loads with the gate open.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.errors import GateError
from exnihilo.gates.records import GATE_NAMES, Gate, GateKind
from exnihilo.structure.names import as_attribute, canonical_modules, canonical_names

_NEUTRAL: dict[str, float] = {"branch_gate": 1.0, "shift_in": 0.0, "shift_out": 0.0}
# Modules whose channels are the second dim of what they give out; of all others it is the last.
_CHANNELS_SECOND = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


def attach(model: nn.Module, gates: Iterable[Gate]) -> tuple[str, ...]:
    """Add gates to a model, open: factors 1 and shifts 0, so that it computes what it did.

    Args:
        model: Changed in place; its parameters keep their names and values.
        gates: From a plan.

    Returns:
        The canonical names of the parameters that were added.

    Raises:
        GateError: The model has such a gate already, or lacks the module; a module is shared under several names; or
            what is given are no gates, or one of them twice. Nothing was added.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> attach(model, [Gate(module="0", parameter="0.weight")])
        ('0.branch_gate',)
        >>> sorted(model.state_dict())
        ['0.bias', '0.branch_gate', '0.weight']
    """
    seen = _Seen(model)
    found = [(gate, *seen.place_of(gate)) for gate in _each_once(gates)]
    for gate, module, weight in found:
        _require_attachable(seen, gate, module, weight)
    for gate, module, weight in found:
        _add(gate, module, weight, seen.attentions.get(module))
    return tuple(gate.name for gate, _, _ in found)


def _each_once(gates: Iterable[Gate]) -> list[Gate]:
    listed: list[Any] = list(gates)
    other = next((gate for gate in listed if not isinstance(gate, Gate)), None)
    counted = Counter(gate.name for gate in listed if isinstance(gate, Gate))
    twice = next((name for name, count in counted.items() if count > 1), None)
    if other is not None or twice is not None:
        said = f"{other!r} is no gate." if other is not None else f"'{twice}' is to be added twice."
        raise GateError(f"{said} Nothing was added.", fix="exnihilo.attach(model, plan.gates)")
    return listed


def detach(model: nn.Module, gates: Iterable[Gate]) -> None:
    """Take gates off again, whatever they hold."""
    seen = _Seen(model)
    for gate in gates:
        module = seen.place_of(gate)[0]
        remove(module, gate.kind, seen.attentions.get(module))


def remove(module: nn.Module, kind: GateKind, attention: nn.Module | None) -> None:
    """Take one gate off its module, or off the attention that reads the module's weight, with its hooks."""
    name = GATE_NAMES[kind]
    if attention is not None and kind == "scale":
        _unhook(attention._forward_hooks, _scale_attention)  # pyright: ignore[reportPrivateUsage]
    module._parameters.pop(name, None)  # pyright: ignore[reportPrivateUsage]  # del would not find a buffer
    module._buffers.pop(name, None)  # pyright: ignore[reportPrivateUsage]
    for hooks in (module._forward_hooks, module._forward_pre_hooks):  # pyright: ignore[reportPrivateUsage]
        _unhook(hooks, _HOOKS[kind])
    loading = module._load_state_dict_pre_hooks  # pyright: ignore[reportPrivateUsage]
    for number in [n for n, hook in loading.items() if getattr(hook, "hook", hook) is _LOADING[name]]:
        del loading[number]


def _unhook(hooks: dict[int, Any], hook: Any) -> None:
    for number in [number for number, one in hooks.items() if one is hook]:
        del hooks[number]


def gates_of(model: nn.Module) -> dict[str, tuple[nn.Module, GateKind]]:
    """The gates that a model has, by the name that it gives them: the module, and what they do.

    Example:
        >>> gates_of(nn.Linear(2, 2))
        {}
    """
    found: dict[str, tuple[nn.Module, GateKind]] = {}
    for path, module in model.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # pyright: ignore[reportPrivateUsage]
        prefix = f"{path}." if path else ""
        for kind, hook in _HOOKS.items():
            if any(one is hook for one in hooks):
                found[prefix + GATE_NAMES[kind]] = module, kind
        if any(one is _scale_attention for one in hooks):
            found[f"{prefix}out_proj.{GATE_NAMES['scale']}"] = module.get_submodule("out_proj"), "scale"
    return found


class _Seen:
    """A model looked over once: a gate for each of a thousand blocks asks the same of it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.attentions = attentions_of(model)
        self._modules = canonical_modules(model)
        self._paths: dict[str, str] = {}
        for path, name in canonical_names(model).items():
            self._paths.setdefault(name, path)
        self._names: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._names.setdefault(module, []).append(path)

    def names_of(self, module: nn.Module) -> list[str]:
        """Every path that leads to a module."""
        return self._names[module]

    def place_of(self, gate: Gate) -> tuple[nn.Module, nn.Parameter]:
        """The module that a gate belongs to, and the parameter that it goes with."""
        path, module = self._paths.get(gate.parameter), self._modules.get(gate.module)
        if path is None or module is None:
            lacking = f"module '{gate.module}'" if path is not None else f"parameter '{gate.parameter}'"
            raise GateError(
                f"{type(self.model).__name__} has no {lacking} to put a gate behind.",
                context=["the plan was made for another model"],
                fix="plan = exnihilo.plan(model, recipe, example=example)",
            )
        return module, self.model.get_parameter(path)


def _require_attachable(seen: _Seen, gate: Gate, module: nn.Module, weight: nn.Parameter) -> None:
    name, kind = GATE_NAMES[gate.kind], type(seen.model).__name__
    if not weight.is_floating_point():
        raise GateError(
            f"'{gate.parameter}' of {kind} holds {weight.dtype}, in which no gate can be.",
            context=["a gate takes the dtype of what it goes with"],
            fix="attach gates before the model is quantized",
        )
    if hasattr(module, name):
        raise GateError(
            f"'{gate.module}' of {kind} has '{name}' already: it is gated.",
            fix="exnihilo.fuse(model), which folds gates in; then plan anew",
        )
    names = seen.names_of(module)
    if len(names) > 1:
        raise GateError(
            f"'{gate.module}' of {kind} is one module under {len(names)} names: {', '.join(names)}.",
            context=["a gate on it would change all of them"],
            fix=f"give each place a module of its own: copy.deepcopy({as_attribute(names[0])})",
        )


def _add(gate: Gate, module: nn.Module, like: nn.Parameter, attention: nn.Module | None) -> None:
    name = GATE_NAMES[gate.kind]
    value = torch.full((gate.channels,), _NEUTRAL[name], dtype=like.dtype, device=like.device)
    if gate.trains:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)
    if attention is not None and gate.kind == "scale":
        attention.register_forward_hook(_scale_attention)
    elif gate.kind == "shift_in":
        module.register_forward_pre_hook(_HOOKS["shift_in"])
    else:
        module.register_forward_hook(_HOOKS[gate.kind])
    module.register_load_state_dict_pre_hook(_LOADING[name])


def attentions_of(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """By the map whose weight it reads without calling it: each attention, which gives out what that map makes."""
    return {m.out_proj: m for m in model.modules() if isinstance(m, nn.MultiheadAttention)}


# Hooks are functions of the module, with nothing of their own: copies, pickles and compiled models take them along.


def along_channels(module: nn.Module, factor: Tensor, output: Tensor) -> Tensor:
    """A gate's values, shaped to meet a module's output."""
    if factor.numel() == 1 or not isinstance(module, _CHANNELS_SECOND):
        return factor
    return _along_second(factor, output)


def _along_second(factor: Tensor, output: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (output.dim() - 2))


def _scale(module: Any, _args: Any, output: Tensor) -> Tensor:
    return output * along_channels(module, module.branch_gate, output).to(output.dtype)


def _scale_last(module: Any, _args: Any, output: Tensor) -> Tensor:
    return output * module.branch_gate.to(output.dtype)


def _scale_second(module: Any, _args: Any, output: Tensor) -> Tensor:
    return output * _along_second(module.branch_gate, output).to(output.dtype)


def _scale_attention(module: Any, _args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (output[0] * module.out_proj.branch_gate.to(output[0].dtype), *output[1:])


def _shift_out(module: Any, _args: Any, output: Tensor) -> Tensor:
    return output + module.shift_out.to(output.dtype)


def _shift_in(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0] + module.shift_in.to(args[0].dtype), *args[1:])


_HOOKS: dict[GateKind, Any] = {
    "scale": _scale,
    "scale_last": _scale_last,
    "scale_second": _scale_second,
    "shift_in": _shift_in,
    "shift_out": _shift_out,
}


def _open(name: str, module: nn.Module, state: dict[str, Any], prefix: str) -> None:
    """Where a checkpoint of the plain model lacks a gate, it is loaded open: that is what the plain model computes."""
    if any(key.startswith(prefix) for key in state):
        state.setdefault(prefix + name, torch.full_like(getattr(module, name).detach(), _NEUTRAL[name]))


def _open_scale(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _open("branch_gate", module, state, prefix)


def _open_shift_in(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _open("shift_in", module, state, prefix)


def _open_shift_out(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _open("shift_out", module, state, prefix)


_LOADING: dict[str, Any] = {"branch_gate": _open_scale, "shift_in": _open_shift_in, "shift_out": _open_shift_out}
