"""One instrumented pass: what maps, activations and attentions give out, below autograd, in the order of execution.

Where a value came from is followed through memory: what an operation writes comes from the map, or from the first of
its inputs that comes from one.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.probes.norms import Norms
from exnihilo.probes.promotion import MATRICES, Promoting, address_of, aten
from exnihilo.probes.records import ActivationSignal, AttentionSignal, MapSignal, NormSignal, RouterSignal, Signals
from exnihilo.probes.reference import reference_loss
from exnihilo.probes.stages import Stages
from exnihilo.probes.statistics import apart_of, effective_number, entropy_of, fused_weights, rank_of, rms_of, spread_of
from exnihilo.probes.trial import Trial
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import unwrapped

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
_CHOICES: frozenset[Any] = frozenset({aten.topk.default, aten.max.dim})
_PRODUCTS: frozenset[Any] = frozenset({aten.bmm.default, aten.mm.default})
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
        self.attentions: dict[int, AttentionSignal] = {}
        self._num_attentions = 0
        self._weights: dict[int, int] = {}  # which attention's weights lie at an address
        self.routers: list[RouterSignal] = []
        self.norms: dict[str, NormSignal] = {}
        self._norms = Norms()
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
        return self._from.get(address_of(tensor), "")

    def _listen(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        result = out[0] if isinstance(out, tuple) and out else out
        if not isinstance(result, Tensor) or not result.is_floating_point() or result.layout is not torch.strided:
            return
        if func in _PRODUCTS:
            self._values_of(args)
        if not func.is_view:
            self._follow_weights(func, args, result)
        if func is aten.convolution.default or func in MATRICES:
            self._map(func, args, result)
            return
        self._norm(func, args, out, result)
        if func in _SUMS and _is_sum_of_two(args) and self.origin(args[0]) and self.origin(args[1]):
            self.has_sums = True
        if func in _ONE_SIDED or func in _TWO_SIDED:
            self._activation(func, args, result)
        elif func is aten._softmax.default and result.dim() > 2 and result.shape[-1] > 2:
            self._weights[address_of(result)] = self._num_attentions
            self._attention(args[0], args[0], result)
        elif func in _FUSED:
            self._attention(args[0], args[1], fused_weights(args, kwargs), values=args[2])
        elif func in _CHOICES and isinstance(out, tuple | list):
            self._router(args[0], args[1] if func is aten.max.dim else (*args, -1)[2], out[1])
        elif func is aten._log_softmax.default:
            self.probabilities = self.probabilities or _are_probabilities(args[0], args[1])
        sources = [a for a in args if isinstance(a, Tensor)] or [a for a in _first_list(args) if isinstance(a, Tensor)]
        origin = next((found for found in map(self.origin, sources) if found), "")
        if origin:
            self._from[address_of(result)] = origin
        else:
            self._from.pop(address_of(result), None)

    def _norm(self, func: Any, args: tuple[Any, ...], out: Any, result: Tensor) -> None:
        found = self._norms.note(func, args, out, result)
        name = self.origin(found.given) if found is not None else ""
        if found is not None and name:
            factor = max(found.factor, self.norms[name].factor if name in self.norms else 0.0)
            self.norms[name] = NormSignal(parameter=name, factor=factor)

    def _map(self, func: Any, args: tuple[Any, ...], out: Tensor) -> None:
        places = ((1, 1),) if func is aten.convolution.default else MATRICES[func]
        for place, dim in places:
            name = self.name_of(args[place])
            if name is None:
                continue
            self._from[address_of(out)] = name
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
                    rms=rms_of(values),
                    spread=spread_of(values, self._trial.num_samples),
                    rank=rank,
                    rank_in=rank_of(given.detach()) if is_thin else 0.0,
                )
            )
            return
        sources = [found for found in (self.origin(a) for a in args if isinstance(a, Tensor)) if found]
        if sources:
            self._from[address_of(out)] = sources[0]
        else:
            self._from.pop(address_of(out), None)

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

    def _attention(self, query: Tensor, key: Tensor, weights: Tensor, *, values: Tensor | None = None) -> None:
        self.attentions[self._num_attentions] = AttentionSignal(
            query=self.origin(query),
            key=self.origin(key),
            entropy=entropy_of(weights.detach()),
            places=weights.shape[-1],
            apart=apart_of(values.detach()) if values is not None else None,
        )
        self._num_attentions += 1

    def _follow_weights(self, func: Any, args: tuple[Any, ...], result: Tensor) -> None:
        """What else is written where an attention's weights lay is none of them; a cast of them is."""
        same = self._weights.get(address_of(args[0])) if func is aten._to_copy.default else None
        self._weights.pop(address_of(result), None)
        if same is not None:
            self._weights[address_of(result)] = same

    def _values_of(self, args: tuple[Any, ...]) -> None:
        """The values of an attention whose weights are a factor of this product."""
        for weights, values in (args[:2], args[1::-1]):
            number = self._weights.get(address_of(weights)) if isinstance(weights, Tensor) else None
            if number is None or number not in self.attentions or self.attentions[number].apart is not None:
                continue
            is_left = weights is args[0]
            if values.shape[-2 if is_left else -1] == self.attentions[number].places:
                apart = apart_of(values.detach(), -2 if is_left else -1)
                self.attentions[number] = replace(self.attentions[number], apart=apart)

    def _router(self, scores: Tensor, dim: int, chosen: Tensor) -> None:
        """A choice of some of what a map gave out, as many as it has units, by each place."""
        name = self.origin(scores)
        experts = scores.shape[-1] if scores.dim() > 1 else 0
        if not name or dim not in {-1, scores.dim() - 1} or experts != self.num_units(name):
            return
        each = chosen.shape[-1] if chosen.dim() == scores.dim() else 1
        if 0 < each < experts:
            self.attentions.pop(self._weights.get(address_of(scores), -1), None)  # a softmax over experts is none
            self.routers.append(
                RouterSignal(
                    parameter=name,
                    experts=experts,
                    chosen=each,
                    places=scores.numel() // experts,
                    effective=effective_number(chosen.flatten().bincount(minlength=experts)),
                )
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
        self._stages = Stages(trial)
        self._output: tuple[Tensor, str] | None = None
        self.example: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # what the model was first called with
        self._hook = unwrapped(trial.twin).register_forward_hook(self._see_output, with_kwargs=True)
        trial.when_begun_anew(self._forget)

    def _forget(self) -> None:
        self._mode.forget()
        self._stages.forget()
        self._output = None

    def _see_output(self, _module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        tensors = [t for t in tensors_in(output) if t.is_floating_point() and t.dim() > 1 and address_of(t)]
        self._trial.has_own_loss = any(t.is_floating_point() and t.dim() == 0 for t in tensors_in(output))
        if self._output is None and tensors:
            largest = max(tensors, key=lambda t: t.numel())
            self._output = largest.detach(), self._mode.origin(largest)
            self.example = args, kwargs

    @property
    def output(self) -> Tensor | None:
        """The largest tensor that the model returned in its first pass; None where there was none."""
        return self._output[0] if self._output is not None else None

    def signals(self) -> Signals:
        """What was heard in the first pass; the trial is put back to its start.

        The reference is the loss with zero in place of what the model returns; where the model returns its own loss,
        with zero for the weight and bias of the map that made its largest output.
        """
        self._stages.remove()
        self._hook.remove()
        mode, trial = self._mode, self._trial
        output, head = self.output, self._output[1] if self._output is not None else ""
        trial.set(trial.start())
        return Signals(
            maps=tuple(mode.maps),
            activations=tuple(mode.activations),
            attentions=tuple(mode.attentions.values()),
            routers=tuple(router for router in mode.routers if router.parameter != head),
            stages=self._stages.stages(),
            output_spread=spread_of(output, trial.num_samples) if output is not None else None,
            head=head,
            output_std=float(output.std()) if output is not None and output.numel() > 1 else 0.0,
            probabilities=mode.probabilities,
            has_sums=mode.has_sums,
            reference=reference_loss(trial, head, output),
            norms=tuple(mode.norms.values()),
        )


def _are_probabilities(values: Tensor, dim: int) -> bool:
    if values.shape[dim] < 2 or bool((values < 0).any()):
        return False
    return bool(((values.sum(dim) - 1).abs() < 1e-3).all())


def _is_sum_of_two(args: tuple[Any, ...]) -> bool:
    first, second = args[0], args[1]
    return isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape and first.dim() > 1


def _first_list(args: tuple[Any, ...]) -> list[Any]:
    return next((list(a) for a in args if isinstance(a, list | tuple)), [])
