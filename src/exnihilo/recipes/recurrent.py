"""Recurrent networks that can remember."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import InvalidValueError, RecipeError
from exnihilo.recipes.laws import FROZEN, keep, owners
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Chrono, Identity, Normal, Ones, Orthogonal, Weighted, Zeros, xavier_uniform
from exnihilo.schemes.scheme import require_finite
from exnihilo.structure.records import Parameter, Role, Structure

_LSTM, _PLAIN = 4, 1  # gates in one weight
_IDENTITY_STD = 0.001  # of the input map beside an identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """Orthogonal recurrences and forget gates that start open; what is not recurrent is kept.

    Rule:
        Recurrent weights: each gate orthogonal. Input weights: each gate Xavier's. Biases zero, but the forget gate's
        of an LSTM, which is ``forget_bias``; with ``chrono`` it is ``ln u``, ``u`` uniform in ``[1, chrono - 1]``, and
        the input gate's its negative. PyTorch adds two biases: the first holds all of it, the second is zero. With
        ``identity`` a network of one gate gets the identity as its recurrence, and input weights of standard deviation
        0.001.

    Promise:
        At the start an LSTM keeps ``sigmoid(forget_bias)`` of its cell at every step; a ReLU network with ``identity``
        keeps its state.

    Fails when:
        There is no recurrent module: refused. ``identity`` is for ReLU: with tanh the state shrinks.

    Args:
        forget_bias: Of LSTMs. Default 1.0.
        chrono: The longest dependence to be learned, in steps, more than 2. Default 0.0, which leaves it out.
        identity: The identity as the recurrence of networks of one gate. Default False.

    Raises:
        InvalidValueError: ``forget_bias`` is not finite, or ``chrono`` is 2 or less.
        RecipeError: On ``assign``: there is no recurrent module; or an LSTM's or a one-gate option finds none.

    Example:
        >>> Recurrent(chrono=100.0).forget_bias
        1.0

    References:
        Jozefowicz, Zaremba, Sutskever (2015), An Empirical Exploration of Recurrent Network Architectures, section 4.
        Le, Jaitly, Hinton (2015), A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, section 3.
        Tallec, Ollivier (2018), Can Recurrent Neural Networks Warp Time?, section 2.
    """

    name: ClassVar[str] = "recurrent"
    forget_bias: float = 1.0
    chrono: float = 0.0
    identity: bool = False

    def __post_init__(self) -> None:
        require_finite("recurrent", "forget_bias", self.forget_bias, 1.0)
        if self.chrono and not self.chrono > 2.0:
            raise InvalidValueError(
                f"recurrent.chrono is {self.chrono}; it must be more than 2 steps, or 0 to leave it out.",
                fix='recipe="recurrent(chrono=100)"',
            )

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The laws of recurrent modules, keep for the rest."""
        weights = {p.name: p for p in structure.with_role(Role.RECURRENT)}
        gates = {parameter.layout.stacked for parameter in weights.values()}
        wanted = _PLAIN if self.identity else _LSTM if self.chrono else None
        if not weights or (wanted is not None and wanted not in gates):
            kind = {None: "recurrent module", _PLAIN: "recurrent module of one gate", _LSTM: "LSTM"}[wanted]
            raise RecipeError(
                f"Recipe 'recurrent' has nothing to do: {structure.model} has no {kind}.",
                context=["nn.RNN has one gate, nn.LSTM four, nn.GRU three"],
                fix='recipe="xavier"' if not weights else 'recipe="recurrent"',
            )
        kept = {p.name: keep(FROZEN if p.frozen else "not recurrent") for p in owners(structure)}
        written = {p.name: self._weight(p) for p in weights.values() if not p.frozen}
        for bias in structure.with_role(Role.BIAS):
            beside = weights.get(bias.follows or "")
            if beside is not None and not bias.frozen:
                written[bias.name] = self._bias(bias, beside)
        return {**kept, **written}

    def _weight(self, parameter: Parameter) -> Assignment:
        is_plain = self.identity and parameter.layout.stacked == _PLAIN
        if is_input(parameter):
            law = Normal(std=_IDENTITY_STD) if is_plain else xavier_uniform()
            return Assignment(scheme=law, reason="takes the input in")
        return Assignment(scheme=Identity() if is_plain else Orthogonal(), reason="takes the state on")

    def _bias(self, bias: Parameter, beside: Parameter) -> Assignment:
        if beside.layout.stacked != _LSTM or not is_input(beside):
            return Assignment(scheme=Zeros(), reason="adds nothing at the start")
        if self.chrono:
            return Assignment(scheme=Chrono(horizon=self.chrono), reason=f"remembers for up to {self.chrono:g} steps")
        size = float(bias.shape[0] // _LSTM)
        scheme = Weighted(base=Ones(), factors=(0.0, self.forget_bias, 0.0, 0.0), lengths=(size,) * _LSTM)
        return Assignment(scheme=scheme, reason=f"forget gates start at {self.forget_bias:g}")


def is_input(parameter: Parameter) -> bool:
    """Whether a recurrent weight takes the input in; what takes the state on meets no activation of its own."""
    return parameter.activation is not None
