"""Structures made by hand, for what no small model shows."""

from dataclasses import replace

from exnihilo.layouts import Layout
from exnihilo.structure.records import Branch, Parameter, Reading, Role, Structure

READING = Reading(mode="meta", dtype="float32", training=False, num_ops=1)


def parameter(name, role, layout=None, **facts):
    layout = layout or (Layout.linear(8, 8) if role not in VECTORS else Layout.vector(8))
    return Parameter(
        name=name,
        path=name,
        shape=layout.shape,
        dtype="float32",
        layout=layout,
        role=role,
        evidence="made by hand",
        **facts,
    )


VECTORS = {Role.BIAS, Role.NORM_SCALE, Role.NORM_SHIFT, Role.BRANCH_SCALE, Role.SCALE, Role.UNKNOWN}


def structure(*parameters, branches=(), **facts):
    return Structure(model="Net", parameters=parameters, branches=tuple(branches), reading=READING, **facts)


def mlp_branch(prefix, index=0, *, behind=(), last=Role.RESIDUAL_OUT, **facts):
    """A branch of two maps and what stands behind them: its parameters, and the record."""
    parameters = [
        parameter(f"{prefix}.fc1.weight", Role.HIDDEN, activation="relu"),
        parameter(f"{prefix}.fc1.bias", Role.BIAS, follows=f"{prefix}.fc1.weight"),
        parameter(f"{prefix}.fc2.weight", last, activation="linear"),
        parameter(f"{prefix}.fc2.bias", Role.BIAS, follows=f"{prefix}.fc2.weight"),
        *behind,
    ]
    branch = Branch(
        index=index,
        name=prefix,
        shortcut="identity",
        members=tuple(p.name for p in parameters),
        maps=(f"{prefix}.fc2.weight",),
        outputs=(f"{prefix}.fc2.weight",),
        output_biases=(f"{prefix}.fc2.bias",),
    )
    return parameters, replace(branch, **facts)


def schemes(assigned):
    """Of each parameter that is written, its scheme."""
    return {name: entry.scheme for name, entry in assigned.items() if entry.scheme is not None}
