"""What plans are made of, as plain values: rows, what was written, what survived, what differs."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from exnihilo.gates.records import Gate
from exnihilo.layouts import Layout
from exnihilo.structure.records import Role

# A change of a record's fields raises this number; a file of another version is refused.
PLAN_VERSION = 4

Action = Literal["assign", "keep", "tied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What becomes of one parameter.

    Args:
        parameter: Canonical full name.
        role: What it does in its model.
        action: ``"assign"`` writes it, ``"keep"`` leaves it as it is, ``"tied"`` leaves it to its owner.
        scheme: Of ``"assign"``: the law of its values, as ``schemes.spec`` spells it, such as ``"Normal(std=0.02)"``;
            else None.
        expected_std: Of ``"assign"``: the standard deviation that the scheme promises; else None.
        reason: Why, in one line.
        shape: Of the full logical tensor.
        dtype: Such as ``"float32"``.
        tied_to: Of ``"tied"``: the owner's name; else None.
        frozen: It had ``requires_grad=False`` when the plan was made: what the recipe chose may rest on it.
        layout: Which dims are out, in and kernel.
        fingerprint: Of name, shape, dtype, tie and ``frozen``: what must be so when the plan is applied.
        rate: What the recipe multiplies its learning rate by.
        decay: Weight decay applies to it, as far as the recipe says.
    """

    parameter: str
    role: Role
    action: Action
    scheme: str | None = None
    expected_std: float | None = None
    reason: str
    shape: tuple[int, ...]
    dtype: str
    tied_to: str | None = None
    frozen: bool = False
    layout: Layout
    fingerprint: str
    rate: float = 1.0
    decay: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of each parameter of a model: a complete table, one row each.

    Args:
        recipe: The recipe as it is spelled, such as ``"he"`` or ``"constant(value=0.5)"``.
        model: The model's class.
        rows: In the model's order; those of gates that the plan adds last.
        gates: Parameters that ``apply`` adds to the model before it writes, unless they are there.
    """

    recipe: str
    model: str
    rows: tuple[Row, ...]
    gates: tuple[Gate, ...] = ()

    @property
    def by_name(self) -> dict[str, Row]:
        """Each row by its parameter's name."""
        return {row.parameter: row for row in self.rows}

    @property
    def counts(self) -> dict[Action, int]:
        """How many rows there are of each action."""
        found = Counter(row.action for row in self.rows)
        return {"assign": found["assign"], "keep": found["keep"], "tied": found["tied"]}

    @property
    def id(self) -> str:
        """Sixteen hex digits that equal plans share and others do not."""
        return hashlib.blake2b(repr(self).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def __str__(self) -> str:
        from exnihilo.plans.text import table  # the records stand below what shows them

        return table(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written to one parameter.

    Args:
        parameter: Canonical full name.
        scheme: The law of its values, as the plan's row spells it.
        dtype: The parameter's dtype, in which the values were stored.
        layout: Which dims are out, in and kernel: with seed, name and scheme it gives the values again.
        digest: BLAKE2b of the bytes written.
        expected_std: What the scheme promises.
        std: Root mean square distance from the mean, of the values as stored.
        mean: Their mean.
        max_abs: Their largest magnitude.
    """

    parameter: str
    scheme: str
    dtype: str
    layout: Layout
    digest: str
    expected_std: float
    std: float
    mean: float
    max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What ``apply`` did.

    Args:
        plan: The plan's ``id``.
        recipe: The plan's recipe.
        model: The model's class.
        seed: What the values were drawn under, next to the names.
        written: In the model's order.
        num_kept: Parameters that were left as they were.
        num_tied: Names that share a tensor with an owner.
        added: Canonical names of the gates that were added to the model.
    """

    plan: str
    recipe: str
    model: str
    seed: int
    written: tuple[Written, ...]
    num_kept: int
    num_tied: int
    added: tuple[str, ...] = ()

    def __str__(self) -> str:
        from exnihilo.plans.text import applied_lines

        return applied_lines(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwritten:
    """A parameter that no longer holds what was written.

    Args:
        parameter: Canonical full name.
        scheme: The law of what was written.
        expected_std: What that scheme promises.
        found: What it holds now, such as ``"std 0.02"``, in words.
    """

    parameter: str
    scheme: str
    expected_std: float
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """Which of the written parameters still hold what was written.

    Args:
        kept: Names of those that do, bit for bit.
        cast: Names of those that hold it cast to the dtype that the parameter has now, and nothing else.
        overwritten: Those that do not.
        gone: Names that the model no longer has.
    """

    kept: tuple[str, ...]
    cast: tuple[str, ...] = ()
    overwritten: tuple[Overwritten, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Every written parameter still holds what was written, perhaps cast to another dtype."""
        return not self.overwritten and not self.gone

    def __str__(self) -> str:
        from exnihilo.plans.text import survival_lines

        return survival_lines(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field of one row that differs between two plans, each value in words."""

    parameter: str
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between two plans.

    Args:
        added: Rows of the second whose parameter the first lacks.
        removed: Rows of the first whose parameter the second lacks.
        changed: In the first plan's order.
    """

    added: tuple[Row, ...] = ()
    removed: tuple[Row, ...] = ()
    changed: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """The plans say the same of the same parameters."""
        return not (self.added or self.removed or self.changed)

    def __str__(self) -> str:
        from exnihilo.plans.text import difference_lines

        return difference_lines(self)
