"""Samples or tokens that a model cannot tell apart, or maps that give out one direction alone.

Finds:
    Maps whose outputs hardly differ between samples (a share of their mean square below a ten-thousandth) in front of
    an output that does not either, and still do not after some steps; attentions whose values hardly differ between
    the places of a sample, though those of the first attention do; and maps that turn inputs of many directions into
    outputs of one.

Why it is bad:
    What follows sees the same for every sample, and can only learn the mean answer; a map of one direction passes one
    number.

What it misses:
    A collapse of tokens in models without attention.

When it is innocent:
    Where the output starts at zero or at one value on purpose and differs after a step.

How to fix:
    Give the branch a shortcut, or draw the maps with the gain of their activation; draw a map of rank one anew.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.checks.rules.wording import counted

CODE = "rank-collapse"
# Untrained networks whose samples are told apart keep a hundredth and more.
_SPREAD = 1e-4
_ONE = 1.05
_SEVERAL = 2.0
_UNITS = 8


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for samples that collapse along the depth, and one for maps of one direction."""
    signals = measured.signals
    if signals is None or measured.samples.ignored:
        return ()
    found: list[Finding] = [*_tokens(measured)]
    closed = {
        o.parameter for o in measured.learning.openings if o.fate in {"stuck", "dead"}
    }  # a certificate tells more
    collapsed = [m for m in signals.maps if m.rms > 0 and m.spread < _SPREAD and m.parameter not in closed]
    later = measured.later.output_spread if measured.later is not None else None
    if collapsed and later is not None and later < _SPREAD and signals.output_spread is not None:
        first = collapsed[0]
        found.append(
            Finding(
                code=CODE,
                severity="WARN",
                basis="measured",
                parameters=tuple(dict.fromkeys(m.parameter for m in collapsed)),
                evidence=f"share of outputs that differs between samples {first.spread:.1e} behind {first.parameter},"
                f" and {later:.1e} at the output after some steps",
                cause="each layer brings the samples closer together than the one before",
                remedy=measured.redrawn(first.parameter),
            )
        )
    equal = {width.parameter for width in measured.learning.widths}  # told by twin-units, or told apart by a step
    thin = [
        m
        for m in signals.maps
        if m.parameter not in equal
        and m.units >= _UNITS
        and m.places >= _UNITS
        and m.rms > 0
        and 0 < m.rank < _ONE
        and m.rank_in > _SEVERAL
    ]
    if thin:
        found.append(
            Finding(
                code=CODE,
                severity="WARN",
                basis="measured",
                parameters=tuple(dict.fromkeys(m.parameter for m in thin)),
                evidence=f"outputs of {thin[0].parameter} vary in {thin[0].rank:.2f} directions, its inputs in"
                f" {thin[0].rank_in:.1f}",
                cause="the map has rank one",
                remedy=measured.redrawn(thin[0].parameter),
            )
        )
    return tuple(found)


def _tokens(measured: Measured) -> tuple[Finding, ...]:
    """A warning for attentions whose places become alike on the way; a failure where that hides their gradients."""
    alike, signals = measured.alike, measured.signals
    if not alike or signals is None:
        return ()
    begin = next(a.apart for a in signals.attentions if a.apart is not None)
    hidden = measured.lost_in_rounding
    names = tuple(dict.fromkeys([*(name for a in alike for name in (a.query, a.key) if name), *hidden]))
    first = alike[0]
    return (
        Finding(
            code=CODE,
            severity="FAIL" if hidden else "WARN",
            basis="exact" if hidden else "measured",
            parameters=names,
            evidence=f"share of an attention's values that differs between {first.places} places:"
            f" {begin:.2g} at the first, {first.apart:.1e} behind {first.query}, after some steps too"
            + (f"; the gradient of {counted(len(hidden), 'parameter')} is lost in rounding" if hidden else ""),
            cause="each attention averages over places, and no shortcut brings back what differs",
            remedy=Remedy(line="add a shortcut around each attention: x = x + attention(norm(x))"),
        ),
    )
