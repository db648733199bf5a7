"""Whether a plan would meet a zero that the model already has, in one product: then neither would ever move."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from torch import nn

from exnihilo.errors import RecipeError
from exnihilo.gates.records import GATE_NAMES, Gate
from exnihilo.plans.records import Row
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Constant, Ones, Zeros
from exnihilo.schemes.spec import from_text
from exnihilo.structure.records import Branch, Parameter, Role, Structure

NO_GATES: Mapping[Gate, Assignment] = MappingProxyType({})


def require_openable(
    structure: Structure,
    rows: Sequence[Row],
    live: Mapping[str, nn.Parameter],
    gates: Mapping[Gate, Assignment] = NO_GATES,
) -> None:
    """Raise RecipeError where a branch's end or gate is planned zero while another factor of its product is kept zero.

    The last map, the norm or scale behind it, and the gate are factors of one product: with two of them zero, the
    gradient of each is zero for ever. A plan that zeroes both itself says so in its rows; here the other zero is hidden
    in values that the model already has. On the meta device there are none, and nothing is checked.
    """
    by_name = structure.by_name
    planned = {row.parameter for row in rows if row.action == "assign" and _is_zero(row, by_name[row.parameter])}
    kept = {row.parameter for row in rows if row.action == "keep"}
    closed = {name for name in kept if _holds_zero(by_name[name], live[name])}
    biases: dict[str, tuple[str, ...]] = {}
    for bias in structure.with_role(Role.BIAS):
        biases[bias.follows or ""] = (*biases.get(bias.follows or "", ()), bias.name)
    found: list[tuple[Branch, str, tuple[str, ...]]] = []
    for branch in structure.branches:
        gate = _zero_gate(branch, gates)
        # Behind a gate the last biases keep something alive, where the plan itself would write those.
        alive = branch.output_biases if gate else ()
        groups = _factors(branch, by_name, biases, alive)
        factors = [tuple(by_name[n].tied_to or n for n in names) for names in groups if names]
        written = gate or next((names[0] for names in factors if planned.issuperset(names)), None)
        again = next((names for names in factors if written and closed.issuperset(names)), None)
        if written and again:
            found.append((branch, written, again))
    if found:
        raise _closed_twice(found, by_name)


def _closed_twice(found: list[tuple[Branch, str, tuple[str, ...]]], by_name: Mapping[str, Parameter]) -> RecipeError:
    branch, written, again = found[0]
    more = f" So would {len(found) - 1} more." if len(found) > 1 else ""
    names = list(dict.fromkeys(names[0] for _, _, names in found))
    law = _open(by_name[again[0]])
    opening = f'{{"{names[0]}": "{law}"}}' if len(names) == 1 else f'dict.fromkeys({names}, "{law}")'
    keeping = "" if written not in by_name else f', or keep=["{written}"]'
    return RecipeError(
        f"Branch '{branch.name}' would be closed twice: '{written}' is planned zero, and '{again[0]}', "
        f"which is kept, is zero already.{more}",
        context=["both are factors of one product, so that neither would ever receive a gradient"],
        fix=f"overrides={opening}{keeping}",
    )


def _zero_gate(branch: Branch, gates: Mapping[Gate, Assignment]) -> str | None:
    """The gate that starts a branch at zero, where the plan adds such to all of its paths."""
    ends = {end.module for end in branch.ends}
    own = [
        g for g in gates if GATE_NAMES[g.kind] == "branch_gate" and (g.parameter in branch.outputs or g.module in ends)
    ]
    zero = own and all(isinstance(gates[gate].scheme, Zeros) for gate in own)
    return own[0].name if zero else None


def _factors(
    branch: Branch, by_name: Mapping[str, Parameter], biases: Mapping[str, tuple[str, ...]], alive: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Groups of parameters whose products make the branch's output; a bias counts into the sum that it is part of."""
    behind = tuple(name for name in branch.outputs if name not in branch.maps)
    # A norm takes a constant out again, so that a bias before it keeps nothing alive.
    is_normed = any(by_name[name].role is Role.NORM_SCALE for name in behind)
    maps = branch.maps if is_normed else _with_biases(branch.maps, biases)
    yield (*maps, *alive) if maps else ()
    yield (*behind, *alive) if behind else ()
    yield tuple(name for name in branch.scales if name not in behind)
    yield _with_biases(branch.modulated_by, biases)


def _with_biases(weights: tuple[str, ...], biases: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return (*weights, *(bias for weight in weights for bias in biases.get(weight, ())))


def _is_zero(row: Row, parameter: Parameter) -> bool:
    if row.expected_std != 0.0:
        return False
    match from_text(row.scheme or ""):
        case Zeros():
            return parameter.offset == 0.0
        case Ones():
            return parameter.offset == -1.0
        case Constant(value=value):
            return value == -parameter.offset
        case _:
            return False


def _holds_zero(parameter: Parameter, tensor: nn.Parameter) -> bool:
    return not tensor.is_meta and bool((tensor.detach() == -parameter.offset).all())


def _open(parameter: Parameter) -> str:
    return "lecun_normal" if parameter.layout.in_dims else "ones"
