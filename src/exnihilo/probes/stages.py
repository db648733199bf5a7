"""The size of the signal along the depth, forward and backward."""

from typing import Any

from torch import Tensor, nn

from exnihilo.probes.records import StageSignal
from exnihilo.probes.statistics import rms_of
from exnihilo.probes.trial import Trial
from exnihilo.structure.recording import tensors_in


class Stages:
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
            self._found.append((path, is_block, rms_of(tensor.detach())))

            def back(gradient: Tensor) -> None:
                self._back[number] = rms_of(gradient)

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
