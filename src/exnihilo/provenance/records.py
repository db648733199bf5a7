"""How a model's start came to be, as plain values: digests of its tensors, a manifest, what a rebuild found."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exnihilo.plans.records import Plan

# A change of what a fingerprint covers, or of how it is computed, raises this number: it is hashed into each.
FINGERPRINT_VERSION = 1
# A change of a record's fields raises this number; a file of another version is refused.
MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDigest:
    """What one tensor of a model holds.

    Args:
        names: Canonical full names, sorted; several where the tensor is tied.
        kind: A parameter, or a buffer that is saved with the model.
        shape: Of the full logical tensor, also where it is sharded.
        dtype: Such as ``"float32"``.
        digest: BLAKE2b of its bytes, 16 of them, as 32 hex digits.

    Raises:
        ValueError: There is no name, or they are not sorted.
    """

    names: tuple[str, ...]
    kind: Literal["parameter", "buffer"]
    shape: tuple[int, ...]
    dtype: str
    digest: str

    def __post_init__(self) -> None:
        if not self.names or list(self.names) != sorted(set(self.names)):
            raise ValueError(f"its names are {list(self.names)}; they must be sorted, and one at least")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a model holds: equal for two models exactly where all names, ties, shapes, dtypes and bits are equal.

    Its text is ``hex``.

    Args:
        tensors: Sorted by their names.

    Raises:
        ValueError: They are not sorted, or one name is that of two.
    """

    tensors: tuple[TensorDigest, ...]

    def __post_init__(self) -> None:
        names = [name for tensor in self.tensors for name in tensor.names]
        if len(set(names)) < len(names) or list(self.tensors) != sorted(self.tensors, key=lambda entry: entry.names):
            raise ValueError("its tensors are not sorted by their names, or two share one")

    @property
    def hex(self) -> str:
        """Thirty-two hex digits: BLAKE2b of a line of JSON for each tensor, behind one that gives the version."""
        lines = [f"exnihilo fingerprint {FINGERPRINT_VERSION}"]
        for entry in self.tensors:
            lines.append(json.dumps([entry.kind, entry.names, entry.shape, entry.dtype, entry.digest]))
        return hashlib.blake2b("".join(f"{line}\n" for line in lines).encode(), digest_size=16).hexdigest()

    @property
    def by_name(self) -> dict[str, TensorDigest]:
        """Each tensor by each of its names."""
        return {name: entry for entry in self.tensors for name in entry.names}

    def differing(self, other: "Fingerprint") -> tuple[str, ...]:
        """Names whose tensors differ in ties, shape, dtype or bits, or that only one of both has; sorted."""
        own, theirs = self.by_name, other.by_name
        return tuple(name for name in sorted(own.keys() | theirs.keys()) if own.get(name) != theirs.get(name))

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that a start follows from, and what it came to: with the model's code, enough to build it again.

    Args:
        exnihilo: The version that wrote the values.
        fills_version: Of the specification of draws; another one draws other values.
        seed: What the values were drawn under, next to the names.
        plan: What was applied, whole.
        fingerprint: Of the model right after.
        torch: The version of PyTorch; for information.
        platform: System, machine and vector instructions. Laws that factor matrices keep their last bits on one alone.
    """

    exnihilo: str
    fills_version: int
    seed: int
    plan: Plan
    fingerprint: Fingerprint
    torch: str
    platform: str

    @property
    def metadata(self) -> dict[str, str]:
        """For the header of a safetensors file: ``save_file(state, path, metadata=manifest.metadata)``."""
        from exnihilo.provenance.files import metadata  # the records stand below what writes them

        return metadata(self)

    def save(self, path: str | Path) -> None:
        """Write it to a file as JSON, as ``provenance.files.save`` does."""
        from exnihilo.provenance.files import save  # as above

        save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Manifest":
        """The manifest in a file of JSON or safetensors, as ``provenance.files.load`` finds it."""
        from exnihilo.provenance.files import load  # as above

        return load(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One tensor of a model that was built again.

    Args:
        names: As in a fingerprint.
        origin: Written by the plan, left by it as the factory made it, or a buffer, which the factory makes too.
        scheme: The law of ``"assigned"``; else None.
        is_equal: Its names, shape, dtype and bits are those of the manifest.
        recorded: The digest in the manifest; None where it has no such tensor.
        rebuilt: The digest now; None where the model has no such tensor.
        stored: What the checkpoint holds under its names, next to the rebuilt values: ``"equal"``, ``"differs"``,
            ``"missing"``, or a shape or dtype that is another; None where no checkpoint was given.
        distance: The largest difference to the checkpoint's values; None where they cannot be compared.
    """

    names: tuple[str, ...]
    origin: Literal["assigned", "kept", "buffer"]
    scheme: str | None
    is_equal: bool
    recorded: str | None
    rebuilt: str | None
    stored: str | None = None
    distance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What came of building a start again.

    Args:
        model: The model's class.
        recipe: The plan's recipe.
        seed: The manifest's.
        plan: The plan's ``id``.
        recorded: The fingerprint in the manifest, in hex.
        rebuilt: That of the model now.
        tensors: Sorted by their names.
        surplus: Names in the checkpoint that the model lacks.
        recorded_on: PyTorch and platform of the manifest.
        rebuilt_on: Those here.
    """

    model: str
    recipe: str
    seed: int
    plan: str
    recorded: str
    rebuilt: str
    tensors: tuple[Compared, ...]
    surplus: tuple[str, ...] = ()
    recorded_on: str
    rebuilt_on: str

    @property
    def is_exact(self) -> bool:
        """All is as the manifest says, bit for bit, and so is the checkpoint where one was given."""
        is_stored = not self.surplus and all(entry.stored in (None, "equal") for entry in self.tensors)
        return self.recorded == self.rebuilt and is_stored

    def __str__(self) -> str:
        from exnihilo.provenance.text import rebuilt_lines  # as above

        return rebuilt_lines(self)
