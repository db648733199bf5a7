"""What a zoo is made of: a model, an example input, and what is true of it, written by hand."""

import random
import string
from collections.abc import Callable, KeysView
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

UNJUDGED: Any = "unjudged"


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The truth about one residual branch; what is ``UNJUDGED`` may be read either way.

    ``outputs`` and ``biases`` are the parameters whose zeros make the branch's output zero.
    """

    outputs: frozenset[str]
    shortcut: str = "identity"
    norm: str = UNJUDGED
    parent: int | None = None
    biases: frozenset[str] = UNJUDGED
    maps: frozenset[str] = UNJUDGED
    scales: frozenset[str] = UNJUDGED
    modulated_by: frozenset[str] = UNJUDGED
    ends_in: str | None = UNJUDGED
    drop_path: bool = UNJUDGED


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One odd model and the truth about it.

    Args:
        name: What is odd about it.
        build: Makes the model.
        example: What it is read with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        branches: Its residual branches, in the order of their sums.
        otherwise: Other truths that are as good, where one sum may be read as two branches.
        roles: Roles of the parameters whose role is beyond doubt.
        slices: Of packed parameters, role → half-open ranges of output units.
        fans: Of matrices, (fan_in, fan_out) of one logical matrix; None for what may be read either way.
        activations: The nonlinearity that a map's output meets first.
        offsets: What the model adds to a scale before it multiplies.
        follows: Bias or shift → its weight or scale.
        ties: Tied name → owner.
        unused, detached, frozen: Names; all other parameters must not be so.
        training: The model is read in training mode.
        renamable: Every submodule can be renamed without breaking the model's forward.
    """

    name: str
    build: Callable[[], nn.Module]
    example: Callable[[], Any]
    branches: tuple[Residual, ...] = ()
    otherwise: tuple[tuple[Residual, ...], ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    slices: dict[str, dict[str, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    fans: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    activations: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)
    ties: dict[str, str] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    detached: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    training: bool = False
    renamable: bool = True

    def model(self) -> nn.Module:
        """A fresh model with values of its own, in the mode that it is read in; draws from a forked random state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build().train(self.training)


SPECIMENS: list[Specimen] = []


def specimen(name: str, example: Callable[[], Any], *branches: Residual, **truth: Any) -> Callable[[Any], Any]:
    """Puts a model class, or a function that makes a model, into the zoo."""

    def put(build: Any) -> Any:
        for key in ("unused", "detached", "frozen"):
            if key in truth:
                truth[key] = _names(truth[key])
        SPECIMENS.append(Specimen(name=name, build=build, example=example, branches=branches, **truth))
        return build

    return put


def residual(outputs: str, **truth: Any) -> Residual:
    """A branch whose residual outputs are these names, separated by spaces."""
    for key in ("biases", "maps", "scales", "modulated_by"):
        if key in truth:
            truth[key] = _names(truth[key])
    return Residual(outputs=_names(outputs), **truth)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def floats(*shape: int, seed: int = 0) -> Callable[[], Tensor]:
    """A standard normal tensor of its own generator."""
    return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape: int, vocabulary: int = 11) -> Callable[[], Tensor]:
    """Integers below ``vocabulary``."""
    return lambda: torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(0))


def several(*parts: Callable[[], Any]) -> Callable[[], tuple[Any, ...]]:
    """A tuple of arguments."""
    return lambda: tuple(part() for part in parts)


def keywords(**parts: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    """A dict of keyword arguments."""
    return lambda: {name: part() for name, part in parts.items()}


# --- renaming ---------------------------------------------------------------------------------------------------------


class Aliases(dict):
    """A module's children under new names, found by their old names too: a forward that says ``self.fc`` still runs."""

    def __init__(self, children: dict[str, Any], new: dict[str, str]) -> None:
        super().__init__({new[name]: child for name, child in children.items()})
        self.new = new

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.new

    def keys(self) -> Any:
        return KeysView(self)  # asks __contains__ above, as a dict's own view does not

    def __missing__(self, name: str) -> Any:
        return self[self.new[name]]


# Names that a wrapper gives, and by which it is told: not the user's to choose.
_KEPT = {"parametrizations", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def rename(model: nn.Module, seed: int = 0) -> dict[str, str]:
    """Give every submodule a random name; returns each parameter's old full name by its new one.

    Containers are renamed too, in their order. A model that is wrapped keeps its wrappers.
    """
    old = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    draw = random.Random(seed)
    for module in list(model.modules()):
        wrapper = isinstance(module, nn.DataParallel | nn.utils.parametrize.ParametrizationList)
        # A kind of ModuleDict with a forward of its own may go by the names, which are then the model's data.
        wrapper = wrapper or (isinstance(module, nn.ModuleDict) and type(module).forward is not nn.Module.forward)
        children = module._modules
        if wrapper or not children or _KEPT & set(children):
            continue
        new = {name: "".join(draw.choices(string.ascii_lowercase, k=8)) for name in children}
        module.__dict__["_modules"] = Aliases(children, new)
    return dict(zip((name for name, _ in model.named_parameters(remove_duplicate=False)), old, strict=True))
