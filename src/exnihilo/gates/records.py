"""What a gate is, as plain values."""

from dataclasses import dataclass
from typing import Literal

# scale multiplies what a module gives out; shift_in is added to what it is given, shift_out to what it gives out.
GateKind = Literal["scale", "shift_in", "shift_out"]
GATE_NAMES: dict[GateKind, str] = {"scale": "branch_gate", "shift_in": "shift_in", "shift_out": "shift_out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A parameter that is added to a module: a factor of its output, or a number added to its input or output.

    Args:
        module: Canonical path of the module; empty for the model itself.
        parameter: Canonical name of the module's weight or scale, by which the module is found again.
        kind: What it does.
        channels: One factor for each of so many channels of the output; 1 for a single number.
        trains: It is a parameter that is trained; else a constant that is saved with the model.
    """

    module: str
    parameter: str
    kind: GateKind = "scale"
    channels: int = 1
    trains: bool = True

    @property
    def name(self) -> str:
        """Canonical name of the new parameter."""
        return f"{self.module}.{GATE_NAMES[self.kind]}" if self.module else GATE_NAMES[self.kind]
