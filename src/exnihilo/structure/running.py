"""Runs a copy of a model without its weights, so that what it computes can be recorded; the model stays as it was.

The copy's tensors have no memory (meta), else they pretend to lie on the model's device (fake), both tried again in
bfloat16 where some operation refuses float32, else they are real. Each reads models that the others cannot.
"""

import gc
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from exnihilo.errors import ReadError
from exnihilo.structure.calls import Calls
from exnihilo.structure.copying import (
    copy_of,
    deep_enough_for,
    example_copy,
    held_tensors,
    left_as_it_was,
    require_own_parameters,
    require_plain_modules,
)
from exnihilo.structure.names import canonical_names
from exnihilo.structure.randomness import undisturbed
from exnihilo.structure.recording import Recorder, Recording, reached_by_gradient, tensors_in
from exnihilo.structure.records import Mode, Reading

# A buffer this small keeps its values on a fake run, so that a model may ask for them.
_KEPT_ELEMENTS = 2**16
# What has no memory costs none to keep; a real run keeps every activation.
_WAYS: tuple[tuple[Mode, torch.dtype | None], ...] = (
    ("meta", None),
    ("fake", None),
    ("meta", torch.bfloat16),
    ("fake", torch.bfloat16),
    ("real", None),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recording, how it was made, and what the model returned."""

    recording: Recording
    reading: Reading


def run(model: nn.Module, example: Any, *, modes: tuple[Mode, ...] = ("meta", "fake", "real")) -> Run:
    """Record one forward pass, in the first way that works.

    A pass in training mode may leave layers out at random. Where it reads some parameter not at all, one in eval mode
    is made too, and taken if it reads more of them.

    Args:
        model: Any module; it is not run itself, nor changed (``left_as_it_was`` says what that covers).
        example: What the model is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        modes: The ways that may be tried.

    Raises:
        ReadError: The model does not run on the example in any way, cannot be copied, or has a parameter without a
            shape or elements.
    """
    require_plain_modules(model)
    _require_shapes(model)
    _require_one_device(model, example)
    failures: list[str] = []
    last: Exception | None = None
    for training in dict.fromkeys((model.training, False)):
        for mode, dtype in _WAYS:
            if mode not in modes or (mode == "real" and _is_on_meta(model)):
                continue
            try:
                made = _recorded(model, example, mode, dtype, training, tuple(failures))
                return _fuller(made, partial(_recorded, model, example, mode, dtype, False, tuple(failures)))
            except ReadError:  # it cannot be copied, or its copy is not apart from it: so in every way
                raise
            except Exception as error:  # whatever a model's own code raises: the next way may do
                last = error
                kind = f"{mode}{', bfloat16' if dtype else ''}{'' if training == model.training else ', eval mode'}"
                failures.append(f"{kind}: {_said(error)}")
    raise ReadError(
        f"{type(model).__name__} does not run on the example: {_said(last)}",
        context=[*_reached(last), f"example: {_described(example)}", *(f"tried {failure}" for failure in failures)],
        fix="pass what the model's forward takes: read(model, (x, mask)), or read(model, {'input_ids': ids})",
    )


def _fuller(made: Run, again_in_eval_mode: Callable[[], Run]) -> Run:
    """Of a run in training mode and one in eval mode, that which reads more parameters."""
    if not made.reading.training or made.recording.num_read == len(made.recording.parameters):
        return made
    try:
        other = again_in_eval_mode()
    except Exception:  # the model's own code may do without eval mode: then there is but one run
        return made
    return other if other.recording.num_read > made.recording.num_read else made


def _require_shapes(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ReadError(
                f"Parameter '{name}' of {type(model).__name__} has no shape yet.",
                context=["a lazy module learns its shape from the first input"],
                fix="run the model once on a batch, then read it",
            )
        if parameter.numel() == 0:
            raise ReadError(
                f"Parameter '{name}' of {type(model).__name__} has no element: its shape is {tuple(parameter.shape)}.",
                fix="leave the parameter out of the model, or give each of its dims at least one unit",
            )


def _require_one_device(model: nn.Module, example: Any) -> None:
    """A run without memory would not notice; the user's own call would. Meta tensors go with any device."""
    mine = {str(parameter.device) for parameter in model.parameters()} - {"meta"}
    given = {str(tensor.device) for tensor in tensors_in(example)} - {"meta"}
    if mine and given and not mine & given:
        raise ReadError(
            f"The example is on {', '.join(sorted(given))}, the parameters of {type(model).__name__} on"
            f" {', '.join(sorted(mine))}.",
            fix=f"move one of them: example.to('{min(mine)}')",
        )


def require_values(model: nn.Module) -> None:
    """Raise ReadError where a model lies on the meta device, and so has no values."""
    if _is_on_meta(model):
        raise ReadError(
            f"{type(model).__name__} has parameters on the meta device, and so no values to look at.",
            fix="materialize the model first: model.to_empty(device='cpu'), then apply a plan or load a checkpoint",
        )


def _is_on_meta(model: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in model.parameters())


def _said(error: Exception | None) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"


def _reached(error: Exception | None) -> list[str]:
    """The deepest module whose forward was running."""
    frame = error.__traceback__ if error is not None else None
    deepest = None
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            deepest = type(owner).__name__
        frame = frame.tb_next
    return [f"it got as far as a {deepest}"] if deepest else []


def _described(example: Any) -> str:
    tensors = tensors_in(example)
    shapes = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')} on {t.device}" for t in tensors)
    return shapes or f"{type(example).__name__} without tensors"


def _recorded(
    model: nn.Module, example: Any, mode: Mode, dtype: torch.dtype | None, training: bool, failures: tuple[str, ...]
) -> Run:
    fake = FakeTensorMode(allow_non_fake_inputs=True) if mode == "fake" else None
    twin = copy_of(model, _stand_in(mode, dtype, fake))
    twin.train(training) if training != model.training else None
    away = mode == "meta" or _is_on_meta(model)
    inputs = example_copy(example, partial(_input, dtype=dtype, away=away, fake=fake))
    canonical = canonical_names(model)
    parameters = _by_canonical(twin, canonical)
    mine = {id(parameter) for parameter in parameters.values()}
    held = [tensor for tensor in held_tensors(twin) if id(tensor) not in mine]
    with deep_enough_for(model), left_as_it_was(model), _quietly(fake) as stack:
        recorder = stack.enter_context(Recorder())
        calls = Calls(recorder.events)
        stack.enter_context(calls.noted(twin))
        output = call(unwrapped(twin), inputs)
    require_own_parameters(model, recorder.events)
    outputs = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() or tensor.is_complex()]
    with _quietly(None):
        reached = reached_by_gradient(outputs, parameters)
    recording = Recording(
        events=recorder.events,
        parameters=parameters,
        buffers=held,
        inputs=tensors_in(inputs),
        outputs=outputs,
        reached=reached,
        recurrent=_recurrent(model, canonical),
        calls=calls.made(),
    )
    dtypes = dict.fromkeys(str(p.dtype).removeprefix("torch.") for p in parameters.values())
    reading = Reading(
        mode=mode,
        dtype=", ".join(dtypes),
        training=training,
        num_ops=len(recorder.events),
        failures=failures,
    )
    return Run(recording=recording, reading=reading)


def observe(model: nn.Module, example: Any, mode: TorchDispatchMode, *, training: bool) -> None:
    """Run a copy with its real values under a mode of one's own; the model stays as it was."""
    twin = copy_of(model, _stand_in("real", None, None)).train(training)
    inputs = example_copy(example, partial(_input, dtype=None, away=False, fake=None))
    with deep_enough_for(model), left_as_it_was(model), _quietly(None) as stack:
        stack.enter_context(mode)
        call(unwrapped(twin), inputs)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside data-parallel wrappers, whose forward would talk to other devices."""
    while isinstance(model, DataParallel | DistributedDataParallel):
        model = model.module
    return model


def call(model: nn.Module, example: Any) -> Any:
    """Call a model on an example: a mapping is keyword arguments, a tuple or list is positional ones."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple | list) else model(example)


@contextmanager
def _quietly(fake: FakeTensorMode | None) -> Generator[ExitStack]:
    """Gradients on, compiled modules eager, warnings silent, random state put back."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(undisturbed())
        stack.enter_context(_silent(logging.getLogger("torch._subclasses.fake_tensor")))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if fake is not None:
            stack.enter_context(fake)
        yield stack


@contextmanager
def uncollected() -> Generator[None]:
    """Without garbage collection: a recording makes many objects that all live, and each pass would visit them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _silent(logger: logging.Logger) -> Generator[None]:
    """A way that fails is told by its error, not by a log."""
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _stand_in(mode: Mode, dtype: torch.dtype | None, fake: FakeTensorMode | None) -> Callable[[Tensor], Tensor]:
    def stand_in(tensor: Tensor) -> Tensor:
        cast = dtype if dtype is not None and tensor.dtype == torch.float32 else tensor.dtype
        if mode == "meta":
            return torch.empty_like(tensor, device="meta", dtype=cast).detach()
        small = not isinstance(tensor, nn.Parameter) and tensor.numel() <= _KEPT_ELEMENTS and not tensor.is_meta
        if mode == "real" or fake is None or small:
            return tensor.detach().clone().to(cast)
        with torch.no_grad():
            return fake.from_tensor(tensor.detach()).to(cast)

    return stand_in


def _input(leaf: Tensor, *, dtype: torch.dtype | None, away: bool, fake: FakeTensorMode | None) -> Tensor:
    cast = dtype if dtype is not None and leaf.dtype == torch.float32 else leaf.dtype
    if away:
        leaf = torch.empty_like(leaf, device="meta")
    leaf = leaf.detach().clone().to(cast)
    return leaf if fake is None else fake.from_tensor(leaf)


def _by_canonical(twin: nn.Module, canonical: dict[str, str]) -> dict[str, Tensor]:
    """The twin's parameters, each once, under the first of its names."""
    return {canonical[path]: parameter for path, parameter in twin.named_parameters()}


def _recurrent(model: nn.Module, canonical: dict[str, str]) -> frozenset[str]:
    return frozenset(
        canonical[f"{path}.{name}" if path else name]
        for path, module in model.named_modules()
        if isinstance(module, nn.RNNBase | nn.RNNCellBase)
        for name, _ in module.named_parameters(recurse=False)
        if name.startswith("weight_")
    )
