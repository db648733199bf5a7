"""An oracle for recorded plans: the same factory, run for real from several seeds, entry against entry.

It knows nothing of laws. What a plan assigns is drawn as many times, and both samples must be of one distribution
(Kolmogorov and Smirnov, two samples) and vary at the same entries; what it keeps must be what the factory writes, at
every seed; and parameters are copies of one another where the plan says so, and nowhere else.
"""

import math

import torch

from exnihilo.fills import Key
from exnihilo.plans.record import record
from exnihilo.schemes import Shared
from exnihilo.schemes.spec import from_text
from exnihilo.structure.names import canonical_names

SEEDS = (11, 12, 13, 14)
# A right law is above this once in 10^7 tensors, at any number of entries; 0.5 % off in std is seen at 10^6 entries.
_STRICT = 2.9
_MOST = 200_000


def module_of(built):
    return built[0] if isinstance(built, tuple) else built


def real_values(factory):
    """Per name, values of all seeds: parameters by canonical name, and buffers by their own."""
    found = []
    state = torch.get_rng_state()
    try:
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = module_of(factory())
            names = canonical_names(model)
            parameters = {names[path]: p.detach() for path, p in model.named_parameters(remove_duplicate=False)}
            found.append((parameters, {name: buffer.detach() for name, buffer in model.named_buffers()}))
    finally:
        torch.set_rng_state(state)
    stacked = {name: torch.stack([parameters[name] for parameters, _ in found]) for name in found[0][0]}
    return stacked, {name: torch.stack([buffers[name] for _, buffers in found]) for name in found[0][1]}


def disagreements(factory):
    """What of a recorded plan differs from the factory's own values, in words, by name; empty where nothing does."""
    model, plan = record(factory)
    real, buffers = real_values(factory)
    live = {canonical_names(model)[path]: p for path, p in model.named_parameters(remove_duplicate=False)}
    found = {row.parameter: _of_row(row, live[row.parameter].detach(), real[row.parameter]) for row in plan.rows}
    kept = dict(model.named_buffers())
    for name, values in buffers.items():
        if not all(same(value, kept[name]) for value in values):
            found[f"buffer {name}"] = "other values"
    return {name: what for name, what in {**found, **_copies(plan, real)}.items() if what}


def same(first, second):
    equal = (first == second) | ((first != first) & (second != second))
    return first.dtype == second.dtype and first.shape == second.shape and bool(equal.all())


def _of_row(row, parameter, real):
    if row.action == "tied":
        return ""
    if row.action == "keep":
        return "" if all(same(value, parameter) for value in real) else "kept, and other values"
    scheme = from_text(row.scheme)
    keys = [Key(seed, row.parameter) for seed in SEEDS]
    ours = torch.stack([scheme.sample(row.layout, key) for key in keys]).to(real.dtype)
    if not parameter.is_meta and not all(same(value, parameter) for value in real):
        return f"{row.scheme}, and the model holds other values"
    fixed, ours_fixed = (real == real[0]).all(dim=0), (ours == ours[0]).all(dim=0)
    # Rounded to few digits, or cut back to one number, draws of several seeds may agree by chance.
    if (fixed != ours_fixed).double().mean() > 1e-3:
        return f"{row.scheme}, and other entries are fixed"
    both = fixed & ours_fixed
    if not bool((real[0][both] == ours[0][both]).all()):
        return f"{row.scheme}, and fixed entries have other values"
    distance, limit = _distance(real[:, ~fixed], ours[:, ~ours_fixed])
    return f"{row.scheme} is at a distance of {distance:.4f} > {limit:.4f}" if distance > limit else ""


def _distance(real, ours):
    """The largest gap between two empirical distributions, and what equal laws keep below."""
    real, ours = (values.flatten().double()[:_MOST] for values in (real, ours))
    if not len(real) or not len(ours):
        return float(len(real) != len(ours)), 0.5
    ours, real = ours.sort().values, real.sort().values
    both = torch.cat([real, ours])
    shares = [torch.searchsorted(one, both, right=True).double() / len(one) for one in (real, ours)]
    return (shares[0] - shares[1]).abs().max().item(), _STRICT * math.sqrt(1 / len(real) + 1 / len(ours))


def _copies(plan, real):
    """Parameters of more than one entry that vary and are equal at every seed must be told as copies, and no others."""
    varying = {row.parameter: real[row.parameter] for row in plan.rows if row.action == "assign"}
    varying = {name: v for name, v in varying.items() if v[0].numel() > 1 and not same(v[0], v[1])}
    by_values, found = {}, {}
    told = {
        row.parameter: from_text(row.scheme).name
        for row in plan.rows
        if row.action == "assign" and isinstance(from_text(row.scheme), Shared)
    }
    for name, values in varying.items():
        first = by_values.setdefault((tuple(values.shape), values.flatten()[:64].double().numpy().tobytes()), name)
        original = first if first != name and same(values, varying[first]) else None
        if told.get(name) != original:
            found[f"copy {name}"] = f"told as a copy of {told.get(name)}, and is one of {original}"
    return found
