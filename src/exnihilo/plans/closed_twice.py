"""Whether a plan would meet a zero that the model already has, in one product: then neither would ever move."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """Raise RecipeError where one factor of a product is planned zero while another is kept, and zero already.

    The last map of a branch, the norm or scale behind it, and the gate are factors of one product, and so are two maps
    in a row: with two of them zero, the gradient of each is zero for ever. A plan that zeroes both itself says so in
    its rows; here the other zero is hidden in values that the model already has. On the meta device there are none, and
    nothing is checked.
    """
    by_name = structure.by_name
    zeros = _Zeros(
        by_name=by_name,
        planned=frozenset(r.parameter for r in rows if r.action == "assign" and _is_zero(r, by_name[r.parameter])),
        kept=frozenset(row.parameter for row in rows if row.action == "keep"),
        live=live,
    )
    biases: dict[str, tuple[str, ...]] = {}
    for bias in structure.with_role(Role.BIAS):
        biases[bias.follows or ""] = (*biases.get(bias.follows or "", ()), bias.tied_to or bias.name)
    found = [twice for branch in structure.branches for twice in _twice(branch, zeros, biases, gates)]
    if found:
        raise _closed_twice(found, by_name)
    for parameter in structure.parameters:
        if parameter.tied_to is None and parameter.fed_by is not None:
            _require_fed(parameter.name, parameter.fed_by, zeros, biases)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zeros:
    """What a plan makes zero, and what it keeps that is zero already."""

    by_name: Mapping[str, Parameter]
    planned: frozenset[str]
    kept: frozenset[str]
    live: Mapping[str, nn.Parameter]

    def hides(self, name: str) -> bool:
        """Whether a parameter is kept, and zero already."""
        return name in self.kept and _holds_zero(self.by_name[name], self.live[name])


def _twice(
    branch: Branch, zeros: _Zeros, biases: Mapping[str, tuple[str, ...]], gates: Mapping[Gate, Assignment]
) -> Iterator[tuple[Branch, str, tuple[str, ...]]]:
    """The branch, what is planned zero and what is zero already, where it would be closed twice."""
    gate = _zero_gate(branch, gates)
    # Behind a gate the last biases keep something alive, where the plan itself would write those.
    alive = branch.output_biases if gate else ()
    groups = _factors(branch, zeros.by_name, biases, alive)
    factors = [tuple(zeros.by_name[n].tied_to or n for n in names) for names in groups if names]
    written = gate or next((names[0] for names in factors if zeros.planned.issuperset(names)), None)
    again = next((names for names in factors if written and all(map(zeros.hides, names))), None)
    if written and again:
        yield branch, written, again


def _require_fed(second: str, first: str, zeros: _Zeros, biases: Mapping[str, tuple[str, ...]]) -> None:
    """Raise RecipeError where a map, and the one that alone feeds it, would both be zero, one of them unnoticed."""
    written, other = (first, second) if first in zeros.planned else (second, first)
    if written not in zeros.planned or not zeros.hides(other):
        return
    # A bias behind the first map feeds the second, whatever the weights are.
    if all(bias in zeros.planned or zeros.hides(bias) for bias in biases.get(first, ())):
        raise RecipeError(
            f"'{written}' is planned zero, and '{other}', which is kept, is zero already: two zeros in a row.",
            context=[f"'{second}' reads '{first}' alone, so that neither would ever receive a gradient"],
            fix=f'overrides={{"{other}": "{_open(zeros.by_name[other])}"}}, or keep=["{written}"]',
        )


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
