"""What a gate is, as plain values."""

from dataclasses import dataclass
from typing import Literal

# scale multiplies what a module makes by its weight, so that it can be folded into that; scale_last and scale_second
# multiply whatever a module gives out, whose channels are its last dim or its second one; shift_in is added to what a
# module is given, shift_out to what it gives out.
GateKind = Literal["scale", "scale_last", "scale_second", "shift_in", "shift_out"]
GATE_NAMES: dict[GateKind, str] = {
    "scale": "branch_gate",
    "scale_last": "branch_gate",
    "scale_second": "branch_gate",
    "shift_in": "shift_in",
    "shift_out": "shift_out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A parameter that is added to a module: a factor of its output, or a number added to its input or output.

    Args:
        module: Canonical path of the module; empty for the model itself.
        parameter: Canonical name of the weight or scale that it goes with, whose dtype and device it takes.
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
