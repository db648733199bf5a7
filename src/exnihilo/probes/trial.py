"""A copy of a model with its batch and its loss, on which a probe may do what it likes."""

import math
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]
from torch.nn.utils.stateless import _reparametrize_module  # pyright: ignore[reportPrivateUsage]

from exnihilo.errors import CheckError, ExnihiloError, ReadError
from exnihilo.probes.apart import take_hooks_off, without_autocast
from exnihilo.probes.batches import copied, parts
from exnihilo.probes.explained import explained
from exnihilo.probes.promotion import Promoting, WithoutDropout
from exnihilo.probes.question import Question, described
from exnihilo.structure.copying import copy_of, deep_enough_for, held_tensors, left_as_it_was
from exnihilo.structure.names import canonical_names
from exnihilo.structure.randomness import generators_of, undisturbed
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import unwrapped


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One forward pass.

    Args:
        loss: The scalar, with its graph.
        outputs: The floating-point tensors that the model returned, where it was called as a whole.
    """

    loss: Tensor
    outputs: list[Tensor]


class Trial:
    """A copy of a model in one dtype, with the question that is asked of it.

    Args:
        model: Left as it was.
        question: Its batch and loss.
        dtype: What the copy's floating-point tensors are cast to.
        samples: How many samples of the batch are enough; None for all. Where the model needs more, more are taken.
        dropout: The model's own dropout and drop path act.
        values: Of some parameters, in the place of the model's own.
        original: The copy's tensors are the model's own values, uncast: for what the dtype itself does.

    Raises:
        CheckError: The model or the loss raises, the loss is no scalar, or does not depend on the copy.
    """

    def __init__(
        self,
        model: nn.Module,
        question: Question,
        *,
        dtype: torch.dtype = torch.float64,
        samples: int | None = 8,
        dropout: bool = False,
        values: Mapping[str, Tensor] | None = None,
        original: bool = False,
    ) -> None:
        self.model, self.question, self.dtype = model, question, dtype
        self._dropout, self._given = dropout, dict(values or {})
        self.has_own_loss = False  # the model returns a scalar beside what else it returns
        self._own: dict[str, Tensor] | None = None  # the model's parameters by canonical name, once they are asked for
        self._seed = 0
        self.num_passes = 0  # once the first pass showed that nothing is to be promoted, later ones go without
        self._cast: Callable[[Tensor], Tensor] = _same if original else partial(cast, dtype)
        self.twin, self._borrowed = _twin_of(model, self._cast)
        self.parameters = self._trainable()
        self.set(self._given)
        self._buffers = [(b, b.detach().clone()) for b in self._held() if not _shares(b, self.parameters)]
        self._generators = [(g, g.get_state()) for g in generators_of(self.twin)]
        self._part, *self._larger = parts(question.batch, samples)
        self.example: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # what the model was last called with
        self.promoting = Promoting(dtype, self.parameters)
        self.silencing = WithoutDropout()
        self._when_begun_anew: list[Callable[[], None]] = []

    @property
    def batch(self) -> Any:
        """What is looked at: a part of the batch, or all of it."""
        return self._part.batch

    @property
    def num_samples(self) -> int:
        """How many samples are looked at."""
        return self._part.num_samples

    @property
    def is_whole(self) -> bool:
        """All of the batch is looked at."""
        return self._part.is_whole

    def when_begun_anew(self, forget: Callable[[], None]) -> None:
        """Call this where a first pass failed on a part of the batch, and a larger one is taken."""
        self._when_begun_anew.append(forget)

    def _trainable(self) -> dict[str, Tensor]:
        canonical = canonical_names(self.model)
        if self._borrowed is not None:
            named = self.model.named_parameters()
            mine = {p for p, t in named if t.requires_grad and _is_trainable(t)}
            return {canonical[path]: tensor for path, tensor in self._borrowed.items() if path in mine}
        wanted = {path: p.requires_grad for path, p in self.model.named_parameters()}
        found: dict[str, Tensor] = {}
        for path, parameter in self.twin.named_parameters():
            trains = wanted[path] and _is_trainable(parameter)
            parameter.requires_grad_(trains)
            if trains:
                found[canonical[path]] = parameter
        return found

    def _held(self) -> list[Tensor]:
        held = [*self.twin.buffers(), *held_tensors(self.twin)]
        return list({id(tensor): tensor for tensor in held}.values())

    def evaluate(self) -> Evaluation:
        """One forward pass to the loss, always with the same random numbers and the same buffers.

        Raises:
            CheckError: The loss is no scalar of real numbers.
            Exception: Whatever the model or the loss raises.
        """
        while self._larger and not self.num_passes:
            try:
                evaluation = self._evaluated()
            except Exception:  # the model's own code may need more of the batch; whether it runs at all is seen on all
                self._take_more()
                continue
            if math.isfinite(float(evaluation.loss.detach())):  # of masked labels the first ones may all be missing
                return evaluation
            self._take_more()
        return self._evaluated()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for inputs of its own kind, under the surroundings of every pass.

        Raises:
            Exception: Whatever the model itself raises.
        """
        self._restore_buffers()
        try:
            with self.running():
                return unwrapped(self.twin)(*args, **kwargs)
        finally:
            self.promoting.let_go()

    def _take_more(self) -> None:
        self._part, *self._larger = self._larger
        self.num_passes = 0
        for forget in self._when_begun_anew:
            forget()

    def read_under(self, seed: int) -> frozenset[str]:
        """The parameters that the model reads under other random numbers.

        Raises:
            Exception: Whatever the model or the loss raises.
        """
        noting, self.promoting = self.promoting, Promoting(self.dtype, self.parameters)
        num_passes, self.num_passes, self._seed = self.num_passes, 0, seed
        try:
            self._evaluated()
            return frozenset(self.promoting.used)
        finally:
            self.promoting, self.num_passes, self._seed = noting, num_passes, 0

    def loss_of_whole(self) -> float:
        """The loss of the whole batch at the start, without gradients.

        Raises:
            Exception: Whatever the model or the loss raises.
        """
        values, example = self.values(), self.example
        self.set(self.start())
        try:
            return float(self._evaluated(self.question.batch).loss.detach())
        finally:
            self.example = example
            self.set(values)

    def _evaluated(self, whole: Any = None) -> Evaluation:
        self._restore_buffers()
        calls: list[Any] = []
        inputs: list[Any] = []
        batch = copied(self.batch if whole is None else whole, self._follow)
        top = unwrapped(self.twin)
        hook = top.register_forward_hook(lambda _m, _a, out: calls.append(out))
        before = top.register_forward_pre_hook(lambda _m, a, k: inputs.append((a, k)), with_kwargs=True)
        try:
            with self.running():
                loss = self.question.ask(self.twin, batch)
        finally:
            hook.remove()
            before.remove()
            self.promoting.let_go()
        if inputs:
            self.example = inputs[-1]
        if not self.num_passes and inputs and self._borrowed is None and self._reads_the_model_itself(loss):
            self._borrow()
            return self._evaluated(whole)
        self.num_passes += 1
        outputs = [t for out in calls for t in tensors_in(out) if t.is_floating_point() and t.requires_grad]
        return Evaluation(loss=loss, outputs=outputs)

    def _reads_the_model_itself(self, loss: Tensor) -> bool:
        """Whether the copy's forward reaches the model's own parameters through a closure, which a copy shares."""
        return not _leaves(loss).isdisjoint(id(parameter) for parameter in self.model.parameters())

    def _borrow(self) -> None:
        """Run the model itself, with stand-ins in the place of its tensors, instead of a copy."""
        values = self.values()
        self.twin, self._borrowed = self.model, _stand_ins(self.model, self._cast)
        self.parameters = self._trainable()
        self.set(values)
        self._buffers = [(b, b.detach().clone()) for b in self._held() if not _shares(b, self.parameters)]
        self.promoting.follow(self.parameters)

    @contextmanager
    def running(self) -> Generator[None]:
        """The surroundings of every pass, forward and backward."""
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(undisturbed(self._seed))
            stack.enter_context(deep_enough_for(self.model))
            stack.enter_context(left_as_it_was(self.model)) if self._borrowed is not None else None
            stack.enter_context(without_autocast(self.model))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            if self._borrowed is not None:
                self.model.train(True) if not self.model.training else None
                stack.enter_context(_reparametrize_module(self.model, self._borrowed))
            if not self._dropout:
                stack.enter_context(self.silencing)
            if self._cast is not _same and (not self.num_passes or self.promoting.num_promoted):
                stack.enter_context(self.promoting)
            yield

    def gradients(self, of: Tensor, *, keep_graph: bool = False) -> dict[str, Tensor | None]:
        """The gradient of a scalar with respect to each trainable parameter; None where no path leads to it."""
        if not of.requires_grad:
            return dict.fromkeys(self.parameters)
        with self.running():
            # Not ``of.backward()``: that sets function modes aside, and what a checkpoint computes anew needs them.
            one = torch.ones_like(of)
            _engine_run_backward((of,), (one,), keep_graph, False, (), allow_unreachable=True, accumulate_grad=True)
        found = {name: parameter.grad for name, parameter in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.grad = None
        return {name: _dense(gradient) if gradient is not None else None for name, gradient in found.items()}

    def set(self, values: Mapping[str, Tensor]) -> None:
        """Write values into the copy's parameters."""
        with torch.no_grad():
            for name, value in values.items():
                self.parameters[name].copy_(value)

    def values(self) -> dict[str, Tensor]:
        """Copies of the values that the copy's parameters have now."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def start(self) -> dict[str, Tensor]:
        """The values that the parameters began with, in the trial's dtype."""
        if self._own is None:
            canonical = canonical_names(self.model)
            self._own = {canonical[path]: parameter for path, parameter in self.model.named_parameters()}
        mine = {**self._own, **self._given}
        return {name: cast(self.dtype, mine[name]) for name in self.parameters}

    def _follow(self, tensor: Tensor) -> Tensor:
        """A tensor of the batch in the trial's dtype; it asks for a gradient where the user's does."""
        return self._cast(tensor).requires_grad_(tensor.requires_grad)

    def _restore_buffers(self) -> None:
        for generator, state in self._generators:
            generator.set_state(state)
        with torch.no_grad():
            for buffer, values in self._buffers:
                if buffer.shape == values.shape:
                    buffer.copy_(values)


def first_evaluation(trial: Trial) -> Evaluation:
    """The first pass of a trial, whose failures are explained.

    Raises:
        CheckError: The model or the loss raises, or the loss does not depend on the trial's parameters.
    """
    try:
        evaluation = trial.evaluate()
    except Exception as error:
        if isinstance(error, ExnihiloError):
            raise
        raise explained(error, trial.model, trial.twin, trial.question.batch) from error
    leaves = _leaves(evaluation.loss)
    mine = {id(parameter) for parameter in trial.parameters.values()}
    if leaves & mine:
        return evaluation
    theirs = {id(parameter): name for name, parameter in trial.model.named_parameters()}
    foreign = sorted(theirs[leaf] for leaf in leaves & theirs.keys())
    if foreign:
        raise CheckError(
            f"The loss ignores its model argument: it was given a copy, and reads '{foreign[0]}' of the model itself.",
            context=["it refers to the model by a name of its own"],
            fix="use the argument: loss=lambda model, batch: criterion(model(batch[0]), batch[1])",
        )
    raise CheckError(
        f"The loss does not depend on any trainable parameter of {type(trial.model).__name__}.",
        context=[
            f"it is {float(evaluation.loss.detach()):.4g}",
            f"batch: {described(trial.batch)}",
            "reentrant checkpointing cuts the graph too, where no input of it asks for a gradient",
        ],
        fix="compute it from the model's output, without .detach(), .item() or torch.no_grad()",
    )


def first_gradients(trial: Trial, evaluation: Evaluation) -> dict[str, Tensor | None]:
    """The gradients of a trial's first pass, whose failures are explained; its graph is kept.

    Raises:
        CheckError: The backward pass raises.
    """
    try:
        return trial.gradients(evaluation.loss, keep_graph=True)
    except Exception as error:  # whatever autograd, or the model's own backward, raises
        raise explained(error, trial.model, trial.twin, trial.question.batch, backward=True) from error


def _twin_of(model: nn.Module, cast: Callable[[Tensor], Tensor]) -> tuple[nn.Module, dict[str, Tensor] | None]:
    """A copy; or the model itself and the tensors that stand in its parameters' place, where it cannot be copied."""
    try:
        twin = copy_of(model, cast)
    except ReadError:
        return model, _stand_ins(model, cast)
    take_hooks_off(twin)
    return (twin if model.training else twin.train()), None


def _stand_ins(model: nn.Module, cast: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Tensors to take the place of a model's own while it runs itself; of tied ones one, under each of their names."""
    made: dict[int, Tensor] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        made[id(tensor)] = cast(tensor).requires_grad_(tensor.requires_grad)
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {path: made[id(tensor)] for path, tensor in named}


def cast(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """A copy in a dtype; of complex numbers in the complex one of that precision, of whole ones in their own."""
    values = tensor.detach().clone()
    if values.is_complex():
        return values.to(dtype.to_complex())
    return values.to(dtype) if values.is_floating_point() else values


def _is_trainable(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel() > 0


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.layout is not torch.strided else gradient


def _same(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _shares(tensor: Tensor, parameters: Mapping[str, Tensor]) -> bool:
    return any(tensor is parameter for parameter in parameters.values()) or isinstance(tensor, nn.Parameter)


def _leaves(loss: Tensor) -> set[int]:
    """The identities of the tensors that autograd's graph behind a loss ends in."""
    found, seen = set[int](), set[Any]()
    waiting: list[Any] = [loss.grad_fn] if loss.grad_fn is not None else []
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.add(id(variable))
        waiting += [following for following, _ in node.next_functions if following is not None]
    return found
