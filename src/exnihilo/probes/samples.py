"""Whether each sample's output depends on that sample, and on it alone.

The model is called anew with what its loss called it with: with all samples but the last in other places, which leaves
every mean over samples as it was, and changes what a recurrence along them hands to the last; and with parameters that
hold nothing of the old ones, asking whether any input reaches an output at all.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from exnihilo.probes.other_values import fresh_values
from exnihilo.probes.records import Samples
from exnihilo.probes.statistics import rms_of
from exnihilo.probes.trial import Trial
from exnihilo.structure.names import canonical_names
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import unwrapped

# Far above what rounding in float32 makes of another order of summation, far below what a sample sees of another.
_CHANGES = 1e-3
_DRAWS = 2
Example = tuple[tuple[Any, ...], dict[str, Any]]

_TIME_FIRST = (nn.RNNBase, nn.MultiheadAttention, nn.Transformer)


def samples_of(trial: Trial, example: Example | None, output: Tensor | None) -> Samples:
    """What the model's largest output owes to each sample.

    Args:
        trial: At its start, evaluated before.
        example: What the model was first called with there; None where it was not called as a whole.
        output: The largest output of that call; None where there was none.
    """
    n = trial.num_samples
    if output is None or example is None or n < 3 or output.shape[0] != n or output.shape[1:] == (n,):
        return Samples()
    inputs = [t for t in tensors_in(example) if t.dim() and t.shape[0] == n and t.layout is torch.strided]
    if not any(_differ(t) for t in inputs):
        return Samples()
    if not _differ(output):
        return Samples(ignored=_ignored(trial, example))
    try:
        moved = _largest(_called(trial, example, partial(_rolled, n)))
    except Exception:  # lengths must be sorted, or whatever else the model's own code asks for
        return Samples()
    if moved is None or moved.shape != output.shape:
        return Samples()
    change = rms_of((moved[-1] - output[-1]).double()) / (rms_of(output.double()) or 1.0)
    if not change > _CHANGES or not _is_repeatable(trial, example, output):
        return Samples()
    path = _first_to_mix(trial, example, n)
    return Samples(
        mixed_by=path or type(trial.model).__name__,
        change=change,
        parameters=_parameters_of(trial.model, path),
        may_be_meant=_why_it_may_be_meant(trial, example, n),
    )


def _differ(rows: Tensor) -> bool:
    return not bool((rows == rows[:1]).all())


def _rolled(n: int, value: Tensor) -> Tensor:
    """All samples but the last one place further."""
    has_samples = value.dim() and value.shape[0] == n and value.layout is torch.strided
    return torch.cat([value[:-1].roll(1, 0), value[-1:]]) if has_samples else value


def _is_repeatable(trial: Trial, example: Example, output: Tensor) -> bool:
    """Whether the same call gives the same again; not where the model draws what its loss drew before."""
    again = _largest(_called(trial, example, lambda value: value))
    return again is not None and _same(output, again)


def _called(trial: Trial, example: Example, change: Callable[[Tensor], Tensor]) -> Any:
    """What the model returns for an example, changed."""
    args, kwargs = example
    return trial.call(*tree_map(partial(_changed, change), args), **tree_map(partial(_changed, change), kwargs))


def _changed(change: Callable[[Tensor], Tensor], leaf: Any) -> Any:
    return change(leaf) if isinstance(leaf, Tensor) else leaf


def _largest(output: Any) -> Tensor | None:
    tensors = [t for t in tensors_in(output) if t.is_floating_point() and t.dim() > 1]
    return max(tensors, key=lambda t: t.numel()).detach() if tensors else None


def _ignored(trial: Trial, example: Example) -> bool:
    """Whether outputs are the same for all samples, and no gradient leads to an input, for fresh parameters too."""
    start = trial.start()
    try:
        for draw in range(_DRAWS):
            trial.set(fresh_values(trial, start, draw))
            if not _blind_here(trial, example):
                return False
    except Exception:  # an input that autograd cannot follow, or code that needs it to be a leaf
        return False
    finally:
        trial.set(start)
    return True


def _blind_here(trial: Trial, example: Example) -> bool:
    followed: list[Tensor] = []

    def follow(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        followed.append(value.detach().requires_grad_())
        return followed[-1]

    tensors = [t for t in tensors_in(_called(trial, example, follow)) if t.is_floating_point() and t.dim()]
    if any(t.shape[0] == trial.num_samples and _differ(t.detach()) for t in tensors):
        return False
    graphs = [t.sum() for t in tensors if t.requires_grad]
    if not followed or not graphs:
        return True
    with trial.running():
        back = torch.autograd.grad(torch.stack(graphs).sum(), followed, allow_unused=True)
    found: list[Tensor | None] = list(back)
    return not any(gradient is not None and bool(gradient.any()) for gradient in found)


def _first_to_mix(trial: Trial, example: Example, n: int) -> str:
    """The first module to end whose last sample is as it was on the way in, and is not on the way out."""
    heard: list[dict[int, tuple[str, Tensor | None, Tensor]]] = []

    def listen(change: Callable[[Tensor], Tensor]) -> None:
        calls: dict[int, tuple[str, Tensor | None, Tensor]] = {}
        heard.append(calls)

        def note(path: str, _module: nn.Module, args: Any, output: Any) -> None:
            given, made = (_last_row(value, n) for value in (args, output))
            if made is not None:
                calls[len(calls)] = path, given, made

        hooks = [
            m.register_forward_hook(partial(note, path)) for path, m in unwrapped(trial.twin).named_modules() if path
        ]
        try:
            _called(trial, example, change)
        finally:
            for hook in hooks:
                hook.remove()

    listen(lambda value: value)
    listen(partial(_rolled, n))
    if heard[0].keys() != heard[1].keys():
        return ""
    for call, (path, given, made) in heard[0].items():
        _, given_then, made_then = heard[1][call]
        if _same(given, given_then) and not _same(made, made_then):
            return path
    return ""


def _last_row(value: Any, n: int) -> Tensor | None:
    rows = [t[-1].detach().clone() for t in tensors_in(value) if t.is_floating_point() and t.dim() and t.shape[0] == n]
    return rows[0] if rows else None


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return True
    return rms_of((one - other).double()) <= _CHANGES * (rms_of(one.double()) or 1.0)


def _parameters_of(model: nn.Module, path: str) -> tuple[str, ...]:
    canonical: Mapping[str, str] = canonical_names(model)
    inside = [n for n, p in model.named_parameters() if path and n.startswith(f"{path}.") and p.requires_grad]
    return tuple(dict.fromkeys(canonical[name] for name in inside))


def _why_it_may_be_meant(trial: Trial, example: Example, n: int) -> str:
    inputs = tensors_in(example)
    if any(t.layout is not torch.strided or (t.dim() > 1 and t.shape[:2] == (n, n)) for t in inputs):
        return "an input relates samples to each other, as a graph does"
    if any(t.dim() == 2 and t.shape[0] == 2 and not t.is_floating_point() for t in inputs) and n != 2:
        return "an input lists pairs of samples, as a graph's edges"
    one_each = any(t.dim() == 1 and t.shape[0] == n for t in tensors_in(trial.batch))
    time_first = [m for m in trial.twin.modules() if isinstance(m, _TIME_FIRST) and not _batch_first(m)]
    if time_first and not one_each:
        return f"{type(time_first[0]).__name__} takes the first dim for time"
    return ""


def _batch_first(module: nn.Module) -> bool:
    return bool(getattr(module, "batch_first", True))
