"""Which parameters a pattern means: names with wildcards, or a role."""

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from exnihilo.errors import UnknownNameError
from exnihilo.structure.records import Role, Structure

_ROLE = "role:"


def matched(pattern: str, structure: Structure) -> tuple[str, ...]:
    """The owners of all tensors that a pattern means, in the model's order.

    Args:
        pattern: A canonical name; or, where there is none of that spelling, one in which ``*``, ``?`` and ``[...]``
            are wildcards; or ``"role:"`` and a role. A tied tensor is meant where any of its names, or its role under
            any of them, is.
        structure: What the model is made of.

    Raises:
        UnknownNameError: The pattern means nothing, or there is no such role; the nearest names are suggested.

    Example:
        >>> from exnihilo.layouts import Layout
        >>> from exnihilo.structure.records import Parameter, Reading
        >>> fc = Parameter(name="fc.weight", path="fc.weight", shape=(2, 3), dtype="float32",
        ...                layout=Layout.linear(2, 3), role=Role.HEAD, evidence="")
        >>> reading = Reading(mode="meta", dtype="float32", training=False, num_ops=1)
        >>> structure = Structure(model="Net", parameters=(fc,), branches=(), reading=reading)
        >>> matched("role:HEAD", structure), matched("fc.*", structure)
        (('fc.weight',), ('fc.weight',))
    """
    if pattern.startswith(_ROLE):
        role = _role(pattern)
        found = [parameter for parameter in structure.parameters if parameter.role is role]
    else:
        # A name may hold brackets itself: one that stands there as it is means that parameter alone.
        named = [parameter for parameter in structure.parameters if parameter.name == pattern]
        found = named or [parameter for parameter in structure.parameters if fnmatchcase(parameter.name, pattern)]
    if not found:
        raise _nothing(pattern, structure)
    return tuple(dict.fromkeys(parameter.tied_to or parameter.name for parameter in found))


def resolved(patterns: Iterable[str], structure: Structure) -> Mapping[str, str]:
    """By owner, the last of the patterns that means it."""
    return {name: pattern for pattern in patterns for name in matched(pattern, structure)}


def _role(pattern: str) -> Role:
    name = pattern.removeprefix(_ROLE).strip()
    if name not in Role.__members__:
        raise UnknownNameError.of("role", name, Role.__members__)
    return Role[name]


def _nothing(pattern: str, structure: Structure) -> UnknownNameError:
    if pattern.startswith(_ROLE):
        roles = sorted({parameter.role for parameter in structure.parameters})
        context, fix = f"roles in the model: {', '.join(roles)}", f'use "{_ROLE}{roles[0]}"' if roles else "no role"
    else:
        names = [parameter.name for parameter in structure.parameters]
        near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        context, fix = f"nearest names: {', '.join(near)}", f'use "{near[0]}"' if near else "no parameter"
    return UnknownNameError(
        f"Pattern '{pattern}' matches no parameter of {structure.model}.", context=[context], fix=fix
    )
