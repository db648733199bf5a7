"""The exception tree.

    ExnihiloError
    ├── UnknownNameError      a scheme, activation, claim ... that does not exist   (also ValueError)
    ├── InvalidValueError     a value outside its range, or options that clash       (also ValueError)
    │   └── DrawError         numbers that no law has, where torch raises it too     (also RuntimeError)
    │       └── DtypeError    a dtype that a law does not cover                      (also NotImplementedError)
    ├── LayoutError           a tensor that lacks the dims a scheme needs            (also ValueError)
    ├── ReadError             a model that cannot be read                            (also RuntimeError)
    ├── StructureFileError    a file that holds no structure                         (also ValueError)
    ├── RecipeError           a recipe that makes no sense for a model                (also ValueError)
    ├── UnassignedError       a parameter that no rule of a recipe covers             (also ValueError)
    ├── PlanFileError         a file that holds no plan                               (also ValueError)
    ├── RecordError           a factory whose draws no plan can tell                  (also ValueError)
    ├── StalePlanError        a plan for another model, or for this one as it was     (also ValueError)
    ├── ManifestError         a file that holds no manifest, or one of other draws    (also ValueError)
    ├── ShardError            a shard that its placements do not explain              (also ValueError)
    ├── CheckError            a model, batch or loss that cannot be checked           (also ValueError)
    ├── DiagnosisFileError    a file that holds no diagnosis                          (also ValueError)
    ├── UntrainableError      a model that was checked, and fails                     (also AssertionError)
    ├── DataError             a data file that cannot be used                        (also ValueError)
    ├── LedgerError           a ledger that is corrupt or from another version       (also RuntimeError)
    ├── WorkerError           a worker process that died                             (also RuntimeError)
    ├── OutputError           a folder or file that cannot be written                (also OSError)
    └── MissingExtraError     an optional dependency that is not installed           (also ImportError)

Every message has one form: the fact with its value, the context indented, ``Fix:`` with something to paste,
and a code with the anchor in ``docs/errors.md``.
"""

import difflib
from collections.abc import Iterable


class ExnihiloError(Exception):
    """Base of every error that exnihilo raises on purpose.

    Args:
        fact: What is wrong, with the value and the full name, in one line.
        context: Lines that say what was asked, what was found and where.
        fix: One or two concrete actions that can be pasted.

    Example:
        >>> print(InvalidValueError("lr is -0.1; it must be positive.", fix="pass lr=0.1"))
        lr is -0.1; it must be positive.
          Fix: pass lr=0.1
          [invalid-value]  docs/errors.md#invalid-value
    """

    code = "error"

    def __init__(self, fact: str, *, context: Iterable[str] = (), fix: str) -> None:
        self.fact = fact
        self.context = tuple(context)
        self.fix = fix
        super().__init__(fact)

    def __str__(self) -> str:
        lines = [self.fact, *(f"  {line}" for line in self.context), f"  Fix: {self.fix}"]
        return "\n".join([*lines, f"  [{self.code}]  docs/errors.md#{self.code}"])

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross process borders.
        return (_rebuild, (type(self), self.fact, self.context, self.fix))


def _rebuild(kind: type[ExnihiloError], fact: str, context: tuple[str, ...], fix: str) -> ExnihiloError:
    error = kind.__new__(kind)
    ExnihiloError.__init__(error, fact, context=context, fix=fix)
    return error


class UnknownNameError(ExnihiloError, ValueError):
    """A name that is not in its list; the nearest known name is suggested.

    Example:
        >>> print(UnknownNameError.of("scheme", "xaiver_uniform", ["xavier_uniform", "zeros"]))
        Unknown scheme 'xaiver_uniform'. Did you mean 'xavier_uniform'?
          Known schemes: xavier_uniform, zeros
          Fix: use 'xavier_uniform'
          [unknown-name]  docs/errors.md#unknown-name
    """

    code = "unknown-name"

    @classmethod
    def of(cls, noun: str, name: str, known: Iterable[str], *, plural: str | None = None) -> "UnknownNameError":
        """The error for a name of a kind (``noun``) that is not among the known ones."""
        names = sorted(known)
        folded = {entry.lower(): entry for entry in names}
        near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.4)
        hint = f" Did you mean '{folded[near[0]]}'?" if near else ""
        fix = f"use '{folded[near[0]]}'" if near else f"use one of the known {plural or noun + 's'}"
        return cls(
            f"Unknown {noun} '{name}'.{hint}",
            context=[f"Known {plural or noun + 's'}: {', '.join(names)}"],
            fix=fix,
        )


class InvalidValueError(ExnihiloError, ValueError):
    """A value outside its range, or options that do not go together."""

    code = "invalid-value"


class DrawError(InvalidValueError, RuntimeError):
    """Numbers that no law has, given to a function of ``exnihilo.init``; torch.nn.init raises RuntimeError for them."""

    code = "draw"


class DtypeError(DrawError, NotImplementedError):
    """A dtype that a law does not cover, such as integers for a normal one."""


class LayoutError(ExnihiloError, ValueError):
    """A tensor that lacks the dims a scheme needs, or a shape that a layout cannot describe."""

    code = "layout"


class ReadError(ExnihiloError, RuntimeError):
    """A model that does not run on its example, or from whose run nothing can be read."""

    code = "read"


class StructureFileError(ExnihiloError, ValueError):
    """A file or text that holds no structure, or one of another version."""

    code = "structure-file"


class RecipeError(ExnihiloError, ValueError):
    """A recipe that makes no sense for a model, such as zero-residual where there is no residual branch."""

    code = "recipe"


class GateError(ExnihiloError, ValueError):
    """A gate that cannot be added to a model, or folded in: it is gated already, or the module is shared."""

    code = "gate"


class UnassignedError(ExnihiloError, ValueError):
    """Parameters that no rule of a recipe covers."""

    code = "unassigned"


class PlanFileError(ExnihiloError, ValueError):
    """A file or text that holds no plan, or one of another version."""

    code = "plan-file"


class RecordError(ExnihiloError, ValueError):
    """A factory whose draws no plan can tell: values made from drawn ones, or read while it builds the model."""

    code = "record"


class StalePlanError(ExnihiloError, ValueError):
    """A plan for another model, or for this one as it was before it changed."""

    code = "stale-plan"


class ManifestError(ExnihiloError, ValueError):
    """A file or text that holds no manifest, one that contradicts itself, or one of another specification of draws."""

    code = "manifest"


class ShardError(ExnihiloError, ValueError):
    """A sharded tensor that cannot be written: its placements do not say what a rank holds, or another rank failed."""

    code = "shard"


class CheckError(ExnihiloError, ValueError):
    """A model, batch or loss that cannot be checked: it raises, or its loss is no scalar of the parameters."""

    code = "check"


class DiagnosisFileError(ExnihiloError, ValueError):
    """A file or text that holds no diagnosis, or one of another version."""

    code = "diagnosis-file"


class UntrainableError(ExnihiloError, AssertionError):
    """A model that was checked and fails, where a test or a training run asked that it passes."""

    code = "untrainable"


class DataError(ExnihiloError, ValueError):
    """A data file or array that cannot be used as a task."""

    code = "data"


class LedgerError(ExnihiloError, RuntimeError):
    """A ledger that is corrupt, or was written by another version."""

    code = "ledger"


class WorkerError(ExnihiloError, RuntimeError):
    """A worker process that died while it trained."""

    code = "worker"


class OutputError(ExnihiloError, OSError):
    """A folder or file that cannot be written."""

    code = "output"


class MissingExtraError(ExnihiloError, ImportError):
    """A part of exnihilo whose optional dependencies are not installed."""

    code = "missing-extra"
