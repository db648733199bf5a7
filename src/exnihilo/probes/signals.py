"""One instrumented pass: what maps, activations and attentions give out, below autograd, in the order of execution.

Where a value came from is followed through memory: what an operation writes comes from the map, or from the first of
its inputs that comes from one.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from exnihilo.probes.promotion import MATRICES, Promoting, aten
from exnihilo.probes.records import ActivationSignal, AttentionSignal, MapSignal, Signals, StageSignal
from exnihilo.probes.trial import Trial
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import unwrapped

# Places that ranks are estimated from: enough to tell one direction from several.
_PLACES = 64
_FEATURES = 4096
# Below it a map's output is looked at again beside its input: one direction is 1.
_THIN = 1.5
_ONE_SIDED = {aten.relu.default: "relu", aten.relu_.default: "relu", aten.hardtanh.default: "relu6"}
_TWO_SIDED: dict[Any, tuple[str, float, float]] = {
    aten.tanh.default: ("tanh", -1.0, 1.0),
    aten.tanh_.default: ("tanh", -1.0, 1.0),
    aten.sigmoid.default: ("sigmoid", 0.0, 1.0),
    aten.sigmoid_.default: ("sigmoid", 0.0, 1.0),
}
_FUSED: frozenset[Any] = frozenset(
    getattr(aten, name).default
    for name in (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    )
    if hasattr(aten, name)
)
_SUMS: frozenset[Any] = frozenset({aten.add.Tensor, aten.add_.Tensor})
_SATURATED = 0.01  # of the range: beyond it tanh and sigmoid pass less than four hundredths of their largest slope


class Listening(Promoting):
    """Notes what maps, activations and attentions give out."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.dtype, trial.parameters)
        self._trial = trial
        self.forget()

    def forget(self) -> None:
        """Listen anew."""
        self._from: dict[int, str] = {}  # which map what lies at an address came from
        self.maps: list[MapSignal] = []
        self.activations: list[ActivationSignal] = []
        self.attentions: list[AttentionSignal] = []
        self.probabilities = False
        self.has_sums = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation, and note what it gave out."""
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if self._trial.num_passes == 0:
            self._listen(func, args, kwargs or {}, out)
        return out

    def origin(self, tensor: Tensor) -> str:
        """The weight of the map that a value came from; empty where there is none."""
        return self._from.get(_address(tensor), "")

    def _listen(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        result = out[0] if isinstance(out, tuple) and out else out
        if not isinstance(result, Tensor) or not result.is_floating_point() or result.layout is not torch.strided:
            return
        if func is aten.convolution.default or func in MATRICES:
            self._map(func, args, result)
            return
        if func in _SUMS and _is_sum_of_two(args) and self.origin(args[0]) and self.origin(args[1]):
            self.has_sums = True
        if func in _ONE_SIDED or func in _TWO_SIDED:
            self._activation(func, args, result)
        elif func is aten._softmax.default and result.dim() > 2 and result.shape[-1] > 2:
            self._attention(args[0], args[0], result)
        elif func in _FUSED:
            self._attention(args[0], args[1], _weights(args, kwargs))
        elif func is aten._log_softmax.default:
            self.probabilities = self.probabilities or _are_probabilities(args[0], args[1])
        sources = [a for a in args if isinstance(a, Tensor)] or [a for a in _first_list(args) if isinstance(a, Tensor)]
        origin = next((found for found in map(self.origin, sources) if found), "")
        if origin:
            self._from[_address(result)] = origin
        else:
            self._from.pop(_address(result), None)

    def _map(self, func: Any, args: tuple[Any, ...], out: Tensor) -> None:
        places = ((1, 1),) if func is aten.convolution.default else MATRICES[func]
        for place, dim in places:
            name = self.name_of(args[place])
            if name is None:
                continue
            self._from[_address(out)] = name
            if out.dim() < 2:
                return
            values = out.detach().movedim(dim, -1)
            given = args[0 if place == 1 else 1] if func is not aten.convolution.default else args[0]
            given = given.movedim(1, -1) if func is aten.convolution.default else given
            rank = rank_of(values)
            is_thin = rank < _THIN and isinstance(given, Tensor) and given.dim() > 1
            self.maps.append(
                MapSignal(
                    parameter=name,
                    units=values.shape[-1],
                    places=values[..., 0].numel(),
                    rms=_rms(values),
                    spread=spread_of(values, self._trial.num_samples),
                    rank=rank,
                    rank_in=rank_of(given.detach()) if is_thin else 0.0,
                )
            )
            return
        sources = [found for found in (self.origin(a) for a in args if isinstance(a, Tensor)) if found]
        if sources:
            self._from[_address(out)] = sources[0]
        else:
            self._from.pop(_address(out), None)

    def _activation(self, func: Any, args: tuple[Any, ...], out: Tensor) -> None:
        values = out.detach()
        if values.dim() < 2:
            return
        rows = values.movedim(1, -1).flatten(0, -2) if values.dim() == 4 else values.flatten(0, -2)
        dead = saturated = 0.0
        if func in _ONE_SIDED:
            kind = _ONE_SIDED[func]
            dead = float((rows == 0).all(0).float().mean())
        else:
            kind, low, high = _TWO_SIDED[func]
            edge = _SATURATED * (high - low) / 2
            saturated = float(((rows < low + edge) | (rows > high - edge)).float().mean())
        self.activations.append(
            ActivationSignal(
                kind=kind,
                parameter=self.origin(args[0]),
                units=rows.shape[1],
                places=rows.shape[0],
                dead=dead,
                saturated=saturated,
            )
        )

    def _attention(self, query: Tensor, key: Tensor, weights: Tensor) -> None:
        self.attentions.append(
            AttentionSignal(query=self.origin(query), key=self.origin(key), entropy=entropy_of(weights.detach()))
        )


class Listener:
    """Listens to a trial's first pass, whatever that is made for.

    Args:
        trial: Not evaluated yet.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._mode = Listening(trial)
        trial.promoting = self._mode
        self._stages = _Stages(trial)
        self._output: tuple[Tensor, str] | None = None
        self._hook = unwrapped(trial.twin).register_forward_hook(self._see_output)
        trial.when_begun_anew(self._forget)

    def _forget(self) -> None:
        self._mode.forget()
        self._stages.forget()
        self._output = None

    def _see_output(self, _module: nn.Module, _args: Any, output: Any) -> None:
        tensors = [t for t in tensors_in(output) if t.is_floating_point() and t.dim() > 1]
        self._trial.has_own_loss = any(t.is_floating_point() and t.dim() == 0 for t in tensors_in(output))
        if self._output is None and tensors:
            largest = max(tensors, key=lambda t: t.numel())
            self._output = largest.detach(), self._mode.origin(largest)

    def signals(self) -> Signals:
        """What was heard in the first pass; the trial is put back to its start.

        The reference is the loss with zero in place of what the model returns; where the model returns its own loss,
        with zero for the weight and bias of the map that made its largest output.
        """
        self._stages.remove()
        self._hook.remove()
        mode, trial = self._mode, self._trial
        output, head = self._output if self._output is not None else (None, "")
        trial.set(trial.start())
        return Signals(
            maps=tuple(mode.maps),
            activations=tuple(mode.activations),
            attentions=tuple(mode.attentions),
            stages=self._stages.stages(),
            output_spread=spread_of(output, trial.num_samples) if output is not None else None,
            head=head,
            output_std=float(output.std()) if output is not None and output.numel() > 1 else 0.0,
            probabilities=mode.probabilities,
            has_sums=mode.has_sums,
            reference=reference_loss(trial, head),
        )


def reference_loss(trial: Trial, head: str) -> float | None:
    """The loss where what the model returns is zero; None where that cannot be had."""
    if trial.question.form == "own" or trial.has_own_loss:
        names = [name for name in (head, f"{head.rpartition('.')[0]}.bias") if name in trial.parameters]
        if not names:
            return None
        kept = trial.values()
        trial.set({name: torch.zeros_like(trial.parameters[name]) for name in names})
        try:
            evaluation = trial.evaluate()
        finally:
            trial.set(kept)
        largest = max((o for o in evaluation.outputs if o.dim() > 1), key=lambda o: o.numel(), default=None)
        is_zero = largest is not None and not bool(largest.any())
        return _finite(float(evaluation.loss.detach())) if is_zero else None
    seen: list[bool] = []

    def emptied(_module: nn.Module, _args: Any, output: Any) -> Any:
        seen.append(True)
        return tree_map(_zero, output)

    hook = trial.twin.register_forward_hook(emptied)
    try:
        loss = float(trial.evaluate().loss.detach())
    except Exception:  # a loss may need what its model returns to be as it is
        return None
    finally:
        hook.remove()
    return _finite(loss) if seen else None


def _zero(leaf: Any) -> Any:
    return leaf * 0.0 if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Stages:
    """The size of every module's output and of the gradient that comes back to it."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.forget()
        paths = dict(trial.twin.named_modules())
        blocks = {
            f"{path}.{name}" if path else name
            for path, module in paths.items()
            if isinstance(module, nn.ModuleList | nn.Sequential)
            for name, child in module.named_children()
            if any(child.children())
        }
        self._hooks = [
            module.register_forward_hook(self._noting(path, path in blocks))
            for path, module in paths.items()
            if path and (path in blocks or any(True for _ in module.parameters(recurse=False)))
        ]

    def forget(self) -> None:
        """Listen anew."""
        self._found: list[tuple[str, bool, float]] = []
        self._back: dict[int, float] = {}

    def _noting(self, path: str, is_block: bool) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            if self._trial.num_passes:
                return
            tensor = next((t for t in tensors_in(output) if t.is_floating_point()), None)
            if tensor is None or not tensor.requires_grad:
                return
            number = len(self._found)
            self._found.append((path, is_block, _rms(tensor.detach())))

            def back(gradient: Tensor) -> None:
                self._back[number] = _rms(gradient)

            tensor.register_hook(back)

        return note

    def stages(self) -> tuple[StageSignal, ...]:
        """In the order of execution, each module at its first call."""
        made: dict[str, StageSignal] = {}
        for number, (path, is_block, forward) in enumerate(self._found):
            back = self._back.get(number, 0.0)
            made.setdefault(path, StageSignal(name=path, forward=forward, backward=back, is_block=is_block))
        return tuple(made.values())

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()


def spread_of(values: Tensor, num_samples: int) -> float:
    """Of the mean square of values, the share that differs between samples.

    Example:
        >>> spread_of(torch.tensor([[1.0], [-1.0]]), 2), spread_of(torch.ones(2, 3), 2)
        (1.0, 0.0)
    """
    if num_samples < 2 or values.numel() % num_samples:
        return 1.0
    rows = values.reshape(num_samples, -1)
    rows = rows[:, :: max(rows.shape[1] // _FEATURES, 1)].double()
    total = float(rows.square().mean())
    return float(rows.var(0, correction=0).mean()) / total if total > 0 else 0.0


def rank_of(values: Tensor) -> float:
    """How many directions the differences between places take: the participation ratio of their covariance."""
    rows = values.flatten(0, -2)
    step = max(rows.shape[0] // _PLACES, 1)
    rows = rows[::step][:_PLACES].double()
    rows = rows - rows.mean(0)
    gram = rows @ rows.T
    total = float(gram.diagonal().sum())
    squares = float(gram.square().sum())
    return total**2 / squares if squares > 0 else 0.0


def entropy_of(weights: Tensor) -> float:
    """Mean entropy of rows of weights over that of equal ones, among places that have any weight.

    Example:
        >>> entropy_of(torch.full((1, 1, 2, 4), 0.25))
        1.0
    """
    places = (weights > 0).sum(-1)
    entropy = -(weights * weights.clamp_min(torch.finfo(weights.dtype).tiny).log()).sum(-1)
    open_rows = weights.shape[-1] if bool((places == weights.shape[-1]).all()) else None
    count = torch.full_like(entropy, float(open_rows)) if open_rows else _allowed(weights)
    some = count > 1.5
    return float((entropy[some] / count[some].log()).mean()) if bool(some.any()) else 1.0


def _allowed(weights: Tensor) -> Tensor:
    """How many places each row may look at: all, or under a causal mask those up to its own."""
    rows, columns = weights.shape[-2:]
    upper = torch.ones(rows, columns, device=weights.device).triu(1 + columns - rows).bool()
    if rows <= columns and bool((weights[..., upper] == 0).all()):
        return torch.arange(columns - rows + 1, columns + 1, device=weights.device).expand_as(weights[..., 0]).float()
    return (weights > 0).sum(-1).float()


def _weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The weights that a fused attention does not give out."""
    query, key = args[0].detach(), args[1].detach()
    if key.shape[1] != query.shape[1]:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scale = kwargs.get("scale") or query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale
    mask = kwargs.get("attn_mask")
    if isinstance(mask, Tensor):
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    is_causal = next((a for a in args[3:] if a is True), kwargs.get("is_causal", False))
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores[0, 0]).triu(1).bool(), -math.inf)
    return scores.softmax(-1)


def _are_probabilities(values: Tensor, dim: int) -> bool:
    if values.shape[dim] < 2 or bool((values < 0).any()):
        return False
    return bool(((values.sum(dim) - 1).abs() < 1e-3).all())


def _is_sum_of_two(args: tuple[Any, ...]) -> bool:
    first, second = args[0], args[1]
    return isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape and first.dim() > 1


def _first_list(args: tuple[Any, ...]) -> list[Any]:
    return next((list(a) for a in args if isinstance(a, list | tuple)), [])


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _rms(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) / math.sqrt(values.numel()) if values.numel() else 0.0
