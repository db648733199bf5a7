"""Trains many runs at once: their parameters are rows of one buffer, and every step is one pass over all of them.

A run's record does not depend on which runs it was trained with: data order, initial values and dropout masks are
keyed by the run, every operation keeps the runs apart, and matrix products have the bits of the run's own
(``exnihilo.lab.products``). A run that diverges stays alone with its NaN.

Shape legend: R runs, P padded values of a parameter.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key, uniforms
from exnihilo.lab import measures
from exnihilo.lab.batches import batches_of
from exnihilo.lab.layers import Pass, Statistics, build
from exnihilo.lab.losses import loss_and_score, loss_gradient
from exnihilo.lab.memory import ALIGNMENT
from exnihilo.lab.networks import Parameter, Role, hidden_layers, maps, parameters
from exnihilo.lab.optimizers import Update
from exnihilo.lab.recording import Evaluated, Log, LossAndScore, Measured, by_run, evenly
from exnihilo.lab.records import MEASURED_ROWS, Network, Run, RunRecord
from exnihilo.lab.starts import begin, check_start
from exnihilo.lab.tasks import Task

# A stack's values, gradients, moments and activations should stay in the cache of one core: larger stacks wait for
# memory, smaller ones for Python (measured by benchmarks/engine.py).
STACK_BYTES = 6 * 2**20
MAX_STACK = 64
MIN_STACK = 8


def stack_key(run: Run) -> Hashable:
    """Runs with equal keys can train together."""
    return (run.task, run.network, run.optimizer.name, run.steps, run.batch_size, run.evaluations, run.measurements)


def network_of(run: Run) -> Network:
    """The network of a run of the engine.

    Raises:
        InvalidValueError: The run is of a model, which trains alone.
    """
    if isinstance(run.network, Network):
        return run.network
    raise InvalidValueError(
        f"Run.network is the model '{run.network.label}'; the stacked engine trains networks alone.",
        fix="from exnihilo.lab.training import train",
    )


def stack_size(task: Task, run: Run) -> int:
    """How many such runs are best trained at once on one core."""
    network = network_of(run)
    found = parameters(network, task.num_inputs, task.num_outputs, task.image_shape)
    num_values = sum(prod(parameter.layout.shape) for parameter in found)
    outputs = [parameter for parameter in found if parameter.role is Role.BIAS]  # one number for each unit
    positions = prod(task.image_shape[1:]) if network.kind == "cnn" and task.image_shape else 1
    num_activations = run.batch_size * (task.num_inputs + sum(prod(p.layout.shape) * positions for p in outputs))
    # Values, gradients and a moment; activations and their gradients.
    size = 4 * (3 * num_values + 2 * num_activations)
    return min(MAX_STACK, max(MIN_STACK, STACK_BYTES // size))


def train(task: Task, runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    """Train the runs and return their records in the same order.

    Args:
        task: The task that every run names.
        runs: Any mix; those with equal ``stack_key`` train together.

    Raises:
        InvalidValueError: A run of another task, a start that its network has no home for, or a batch larger than
            the training rows.
    """
    stacks: dict[Hashable, list[int]] = {}
    for index, run in enumerate(runs):
        if run.task != task.name:
            raise InvalidValueError(
                f"Run.task is '{run.task}', and the task given is '{task.name}'.",
                fix=f"train(task_named('{run.task}'), runs)",
            )
        check_start(run.start, network_of(run))
        stacks.setdefault(stack_key(run), []).append(index)
    records: dict[int, RunRecord] = {}
    for indices in stacks.values():
        num_stacks = -(-len(indices) // stack_size(task, runs[indices[0]]))
        for part in range(num_stacks):
            stacked = indices[part::num_stacks]
            records.update(zip(stacked, _Stack(task, [runs[i] for i in stacked]).train(), strict=True))
    return tuple(records[index] for index in range(len(runs)))


def _views(found: Sequence[Parameter], buffers: Sequence[Tensor]) -> dict[str, Tensor]:
    """``[R, *shape]`` of each parameter, a view of its padded buffer ``[R, P]``."""
    return {
        parameter.name: buffer[:, : prod(parameter.layout.shape)].view(-1, *parameter.layout.shape)
        for parameter, buffer in zip(found, buffers, strict=True)
    }


class _Stack:
    """Runs with one ``stack_key``, and the buffers that they share while they train."""

    def __init__(self, task: Task, runs: Sequence[Run]) -> None:
        self.task, self.runs, self.network = task, runs, network_of(runs[0])
        found = parameters(self.network, task.num_inputs, task.num_outputs, task.image_shape)
        self.maps, self.hidden = maps(self.network), hidden_layers(self.network)
        # Each run's part of a parameter begins at a 64-byte border: see exnihilo.lab.memory.
        sizes = [-(-prod(parameter.layout.shape) // ALIGNMENT) * ALIGNMENT for parameter in found]
        values = [torch.zeros(len(runs), size) for size in sizes]
        gradients = [torch.zeros(len(runs), size) for size in sizes]
        self.tensors, self.gradients = _views(found, values), _views(found, gradients)
        self.layers = build(self.network, self.tensors, self.gradients)
        self.statistics: Statistics = {}
        self.batches = batches_of(task, runs)
        self._fill(found)
        rates, decays = [r.lr for r in runs], [r.optimizer.weight_decay for r in runs]
        self.update = Update(runs[0].optimizer.name, rates, decays, values, gradients)

    def _fill(self, found: tuple[Parameter, ...]) -> None:
        begun: dict[Hashable, Mapping[str, Tensor]] = {}
        for index, run in enumerate(self.runs):
            # Runs that differ in their rates alone begin with the same values.
            key = (run.start, run.seed)
            if key not in begun:
                begun[key] = begin(run.start, found, run.seed)
            for name, value in begun[key].items():
                self.tensors[name][index].copy_(value)

    @torch.no_grad()
    def train(self) -> list[RunRecord]:
        """All steps, with the evaluations and measurements on the way."""
        run, last = self.runs[0], self.runs[0].steps
        evaluated_at, measured_at = evenly(last, run.evaluations), evenly(last, run.measurements)
        begun = {name: self.tensors[f"{name}.weight"].clone() for name in self.maps}
        log = Log(runs=self.runs, layers=self.maps)
        for step in range(last + 1):
            if step in evaluated_at:
                train, validation = self._evaluate("train"), self._evaluate("validation")
                log.evaluated.append(Evaluated(step=step, train=train, validation=validation))
            if step < last or step in measured_at:
                self._differentiate(step)
            if step in measured_at:
                log.measured.append(self._measure(step))
            if step < last:
                self.update()
        return log.records(self._evaluate("test"), self._finite(), self._moved(begun))

    def _finite(self) -> list[bool]:
        finite = torch.ones(len(self.runs), dtype=torch.bool)
        for tensor in self.tensors.values():
            finite &= torch.isfinite(tensor).flatten(1).all(1)
        return finite.tolist()

    def _moved(self, begun: Mapping[str, Tensor]) -> list[bool]:
        moved = torch.zeros(len(self.runs), dtype=torch.bool)
        for name, weight in begun.items():
            moved |= (self.tensors[f"{name}.weight"] != weight).flatten(1).any(1)
        return moved.tolist()

    def _differentiate(self, step: int) -> None:
        """Gradients of the mean loss of this step's batch, into the buffers."""
        inputs, targets = self.batches.at(step)
        # The gradient behind the last update is only measured: it must not move the running statistics.
        statistics = self.statistics if step < self.runs[0].steps else dict(self.statistics)
        outputs = self.layers.forward(inputs, Pass(training=True, statistics=statistics, masks=self._masks(step)))
        self.layers.backward(loss_gradient(self.task, outputs, targets), to_input=False)

    def _masks(self, step: int) -> Callable[[int, tuple[int, ...]], Tensor] | None:
        rate = self.network.dropout
        if not rate:
            return None

        def masks(layer: int, shape: tuple[int, ...]) -> Tensor:
            size = prod(shape[1:])
            keys = [Key(run.seed, f"dropout/{layer}") for run in self.runs]
            return (uniforms(keys, size, start=step * size) >= rate).view(shape).float()

        return masks

    def _evaluate(self, part: str) -> LossAndScore:
        of = self.batches.parts[part]
        outputs = self.layers.forward(of.inputs, Pass(statistics=self.statistics))
        return loss_and_score(self.task, outputs[:, : of.rows], of.targets[:, : of.rows])

    def _measure(self, step: int) -> Measured:
        of = self.batches.parts["validation"]
        trace: list[tuple[Tensor, Tensor]] = []
        self.layers.forward(of.inputs[:, : min(of.rows, MEASURED_ROWS)], Pass(statistics=self.statistics, trace=trace))
        units = [measures.unit_descriptions(self.tensors, hidden) for hidden in self.hidden]
        weights = [f"{name}.weight" for name in self.maps]
        return Measured(
            step=step,
            gradient_norm=measures.gradient_norms([self.gradients[name] for name in weights]),
            effective_width=by_run([measures.distinct_units(u) for u in units]),
            effective_width_relative=by_run([measures.distinct_units(u, measures.RELATIVE_DISTANCE) for u in units]),
            dead_units=by_run([measures.dead_share(h) for _, h in trace]),
            saturated_units=by_run([measures.saturated_share(z, self.network.activation) for z, _ in trace]),
            zero_weights=measures.zero_share([self.tensors[name] for name in weights]),
            zero_activations=measures.zero_share([h for _, h in trace]),
        )
