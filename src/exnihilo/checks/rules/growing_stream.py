"""Residual streams that grow beyond measure.

Finds:
    Models with shortcuts in which, along four blocks or more of one container, the stream's size or the gradient that
    comes back along it changes by four powers of ten.

Why it is bad:
    Every block without a norm adds as much as there is, so the stream doubles and doubles again: the first step is
    taken in a landscape as steep, and a deeper model overflows.

What it misses:
    Growth that a norm at the end takes out again before the loss, where the blocks' own outputs stay moderate.

When it is innocent:
    Never that we know of: streams of published models stay within two powers of ten.

How to fix:
    Start the last map of each branch at zero, or divide it by the root of the depth.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.probes.records import StageSignal

CODE = "growing-stream"
_DECADES = 4.0
_BLOCKS = 4


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for the container whose stream changes most."""
    signals = measured.signals
    if signals is None or not signals.has_sums:
        return ()
    streams = [(max(_decades(blocks), key=abs), blocks) for blocks in _streams(signals.stages)]
    growth, blocks = max(streams, key=lambda stream: abs(stream[0]), default=(0.0, []))
    if abs(growth) < _DECADES:
        return ()
    forward, backward = _decades(blocks)
    inside = tuple(f"{block.name}." for block in blocks)
    maps = dict.fromkeys(m.parameter for m in signals.maps if m.parameter.startswith(inside))
    edits = measured.closed_branches.edits if measured.closed_branches is not None else ()
    first = [edit.parameter for edit in edits if edit.parameter.startswith(inside)]
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(dict.fromkeys([*first, *maps])),
            num_roots=max(len(first), 1),
            evidence=f"from {blocks[0].name} to {blocks[-1].name} the stream changes by 10^{forward:.1f}, the gradient"
            f" on its way back by 10^{backward:.1f}: 10^{growth / (len(blocks) - 1):.2f} a block",
            cause="each branch adds as much as the stream holds, and no norm or scale holds it",
            remedy=measured.closed_branches,
        ),
    )


def _streams(stages: tuple[StageSignal, ...]) -> list[list[StageSignal]]:
    """The blocks of each container, in the order of execution."""
    found: dict[str, list[StageSignal]] = {}
    for stage in stages:
        if stage.is_block and stage.forward > 0:
            found.setdefault(stage.name.rpartition(".")[0], []).append(stage)
    return [blocks for blocks in found.values() if len(blocks) >= _BLOCKS]


def _decades(blocks: list[StageSignal]) -> tuple[float, float]:
    """Powers of ten between the first block and the last, forward and on the way back."""
    forward = math.log10(blocks[-1].forward / blocks[0].forward)
    if not blocks[0].backward > 0 or not blocks[-1].backward > 0:
        return forward, 0.0
    return forward, math.log10(blocks[0].backward / blocks[-1].backward)
