"""Trains one run of a model by itself: an ordinary loop over an ordinary module, started by a plan.

What is keyed in the stacked engine is keyed here too: the split, the order of the data and the initial values depend on
the run's seed alone. On one thread, equal runs give equal bits.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from math import isfinite, nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.lab.adapted import STEPS, AdaptedMLP, pretrain
from exnihilo.lab.batches import Batches, batches_of, data_order
from exnihilo.lab.losses import loss_and_score
from exnihilo.lab.models import build, example, start_of
from exnihilo.lab.optimizers import MOMENTUM
from exnihilo.lab.recording import Evaluated, Log, LossAndScore, Measured, evenly
from exnihilo.lab.records import MODEL_EVALUATED_ROWS, Model, Optimizer, OptimizerName, Run, RunRecord, Start
from exnihilo.lab.tasks import Task
from exnihilo.plans.apply import apply
from exnihilo.plans.groups import param_groups
from exnihilo.plans.make import plan
from exnihilo.plans.records import Plan
from exnihilo.structure.randomness import undisturbed

_OPTIMIZERS: Mapping[OptimizerName, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
# NumPy's legacy state, which a constructor may draw from, takes no larger seed.
_SEEDS = 2**32


def train(task: Task, run: Run) -> RunRecord:
    """Train a run of a model.

    Args:
        task: The task that the run names.
        run: Its network is a ``Model``.

    Raises:
        ExnihiloError: The recipe makes no sense for the model, or the batch is larger than the training rows.
    """
    return _Training(task, run).record()


def begun(task: Task, model: Model, start: Start, seed: int) -> tuple[nn.Module, Plan]:
    """A model as a run of that seed begins, and the plan behind it; an adapted one's frozen part is not trained yet."""
    with undisturbed(seed % _SEEDS):
        module = build(model, task)
    made = _planned(task, model, start)
    apply(made, module, seed)
    return module, made


@lru_cache(maxsize=64)
def _planned(task: Task, model: Model, start: Start) -> Plan:
    """The plan of a start: the same for all seeds."""
    with undisturbed():
        module = build(model, task)
    asked = start_of(start)
    return plan(module, asked.recipe, example=example(model, task), overrides=asked.overrides)


@lru_cache(maxsize=32)
def _pretrained(task: Task, model: Model, seed: int, split: int | None, batch_size: int) -> Mapping[str, Tensor]:
    """What an adapted network keeps frozen: the same for all starts and rates of a seed. Never write into it.

    Its batches are those of the run's own split, in an order of their own.
    """
    run = Run(
        task=task.name,
        network=model,
        start=Start(name="default"),
        optimizer=Optimizer(),
        lr=1.0,
        seed=seed,
        steps=1,
        batch_size=batch_size,
        split=split,
    )
    batches = batches_of(task, [run])
    order = data_order(f"{task.name}/turned", seed, len(batches.inputs), batch_size, STEPS)
    with undisturbed(seed % _SEEDS):
        module = AdaptedMLP(model, task)
    pretrain(module, ((batches.inputs[of], batches.targets[of]) for of in order))
    return {name: value for name, value in module.state_dict().items() if ".base." in name}


class _Training:
    """One run while it trains."""

    def __init__(self, task: Task, run: Run) -> None:
        if not isinstance(run.network, Model):
            raise InvalidValueError(
                f"Run.network is a {type(run.network).__name__}; a Model trains alone.",
                fix="training.train(task, runs)",
            )
        self.task, self.run = task, run
        self.batches: Batches = batches_of(task, [run])
        self.module, made = begun(task, run.network, run.start, run.seed)
        if isinstance(self.module, AdaptedMLP):
            self.module.load_state_dict(
                _pretrained(task, run.network, run.seed, run.split, run.batch_size), strict=False
            )
        groups = param_groups(made, self.module, run.lr, run.optimizer.weight_decay)
        self.optimizer = _OPTIMIZERS[run.optimizer.name](groups)
        self.weights = {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and parameter.dim() >= 2
        }

    def record(self) -> RunRecord:
        """All steps, with the evaluations and measurements on the way; a loss that is not finite ends them."""
        last = self.run.steps
        evaluated_at, measured_at = evenly(last, self.run.evaluations), evenly(last, self.run.measurements)
        begun_at = {name: weight.detach().clone() for name, weight in self.weights.items()}
        log = Log(runs=[self.run], layers=tuple(self.weights))
        finite, test = True, _LOST
        for step in range(last + 1):
            if step in evaluated_at:
                train, validation = (self._evaluate(part) if finite else _LOST for part in ("train", "validation"))
                log.evaluated.append(Evaluated(step=step, train=train, validation=validation))
            if step == last and finite:
                test = self._evaluate("test")  # before the last gradient, which would move running statistics
            if finite and (step < last or step in measured_at):
                finite = self._differentiate(step)
            if step in measured_at:
                log.measured.append(self._measure(step, finite=finite))
            if step < last and finite:
                self.optimizer.step()
        finite = finite and all(bool(torch.isfinite(p).all()) for p in self.module.parameters())
        moved = any(not torch.equal(begun_at[name], weight) for name, weight in self.weights.items())
        return log.records(test, [finite], [moved])[0]

    def _differentiate(self, step: int) -> bool:
        """Gradients of the mean loss of this step's batch; whether the loss is finite."""
        inputs, targets = self.batches.at(step)
        self.optimizer.zero_grad()
        outputs = self.module(self._shaped(inputs[0]))
        loss = (
            F.mse_loss(outputs, targets)
            if self.task.kind == "regression"
            else F.cross_entropy(outputs.flatten(0, -2), targets.flatten())
        )
        loss.backward()
        return isfinite(loss.item())

    @torch.no_grad()
    def _evaluate(self, part: str) -> LossAndScore:
        of = self.batches.parts[part]
        rows = min(of.rows, MODEL_EVALUATED_ROWS)
        self.module.eval()
        outputs = self.module(self._shaped(of.inputs[0, :rows]))
        self.module.train()
        targets = of.targets[0, :rows]
        if self.task.kind == "sequence":
            outputs, targets = outputs.flatten(0, 1), targets.flatten()
        return loss_and_score(self.task, outputs.unsqueeze(0), targets.unsqueeze(0))

    def _shaped(self, inputs: Tensor) -> Tensor:
        return inputs.long() if self.task.kind == "sequence" else inputs

    def _measure(self, step: int, *, finite: bool) -> Measured:
        """Gradient norms and exact zeros; units are not counted."""
        norms = [_norm(weight.grad) if finite else nan for weight in self.weights.values()]
        zeros = sum(int((weight == 0).sum()) for weight in self.weights.values())
        return Measured(
            step=step,
            gradient_norm=[norms],
            effective_width=[[]],
            effective_width_relative=[[]],
            dead_units=[[]],
            saturated_units=[[]],
            zero_weights=[zeros / sum(weight.numel() for weight in self.weights.values())],
            zero_activations=[nan],
        )


_LOST: LossAndScore = ([nan], [nan])


def _norm(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient))
