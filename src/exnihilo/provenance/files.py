"""Manifests as JSON: in a file of their own, or in the header of a safetensors file, and back."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from exnihilo.errors import InvalidValueError, ManifestError, OutputError, PlanFileError
from exnihilo.fills import Key
from exnihilo.plain import MalformedError, from_plain, to_plain
from exnihilo.plans import files as plan_files
from exnihilo.plans.records import PLAN_VERSION
from exnihilo.provenance.records import FINGERPRINT_VERSION, MANIFEST_VERSION, Manifest

_FIX = "exnihilo.manifest(model, plan, seed).save('manifest.json')"
# The entry of a safetensors header that holds the manifest, and the longest header that the format allows.
METADATA = "exnihilo"
_LONGEST_HEADER = 100_000_000


def to_json(manifest: Manifest, *, indent: int | None = 1) -> str:
    """The manifest as JSON.

    Its keys are ``version``, ``exnihilo``, ``fills_version``, ``seed``, ``plan`` as a plan's own file has it with its
    ``id``, ``fingerprint`` with its ``hex`` and the digest of each tensor, ``torch`` and ``platform``.

    Args:
        manifest: To write.
        indent: Spaces a level; None for one line.
    """
    plain = to_plain(manifest)
    plain["plan"] = {"version": PLAN_VERSION, "id": manifest.plan.id, **plain["plan"]}
    whole = {"version": FINGERPRINT_VERSION, "hex": manifest.fingerprint.hex, **plain["fingerprint"]}
    return json.dumps({"version": MANIFEST_VERSION, **plain, "fingerprint": whole}, indent=indent, ensure_ascii=False)


def from_json(text: str, source: str = "This text") -> Manifest:
    """The manifest that ``to_json`` wrote, unedited: its digests, its plan and their hashes agree.

    Agreement shows a slip. It is no signature: whoever edits a manifest can hash it anew.

    Args:
        text: JSON.
        source: What to call it in an error.

    Raises:
        ManifestError: The text is no JSON, holds something else, was written by another version, or contradicts
            itself.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source} is no manifest: it is no JSON. {error}", fix=_FIX) from None
    fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    version = fields.pop("version", None)
    if type(version) is not int or version != MANIFEST_VERSION:
        raise ManifestError(
            f"{source} is no manifest of version {MANIFEST_VERSION}: its version is {version!r}.", fix=_FIX
        )
    try:
        return _consistent(fields)
    except MalformedError as error:
        raise ManifestError(f"{source} is no manifest: {error}.", fix=_FIX) from None
    except (PlanFileError, InvalidValueError) as error:
        raise ManifestError(f"{source} is no manifest: {error.fact}", context=error.context, fix=_FIX) from None


def metadata(manifest: Manifest) -> dict[str, str]:
    """The manifest as an entry of a safetensors header, where ``load`` finds it.

    Example:
        >>> import torch
        >>> import exnihilo as xn
        >>> model = torch.nn.Linear(4, 2)
        >>> plan = xn.plan(model, "he", example=torch.zeros(1, 4))
        >>> list(metadata(xn.manifest(model, plan, seed=0)))
        ['exnihilo']
    """
    return {METADATA: to_json(manifest, indent=None)}


def save(manifest: Manifest, path: str | Path) -> None:
    """Write the manifest to a file as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        Path(path).write_text(to_json(manifest) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", fix="choose another path") from None


def load(path: str | Path) -> Manifest:
    """The manifest in a file: JSON, or safetensors with ``Manifest.metadata`` in their header.

    Args:
        path: One that ends in ``.safetensors`` is read as such; its tensors are not.

    Raises:
        ManifestError: The file cannot be read, or holds no manifest.
    """
    try:
        text = _header_entry(Path(path)) if Path(path).suffix == ".safetensors" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ManifestError(f"{path} cannot be read: {why}.", fix=_FIX) from None
    return from_json(text, str(path))


def _header_entry(path: Path) -> str:
    """The manifest's text in the header of a safetensors file: eight bytes give the length of the JSON behind them."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ManifestError(f"{path} cannot be read: it is no safetensors file.", fix=_FIX)
        raw = file.read(length)
    try:
        header: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise ManifestError(f"{path} cannot be read: it is no safetensors file.", fix=_FIX) from None
    given = cast("dict[str, Any]", header).get("__metadata__", {}) if isinstance(header, dict) else {}
    text = cast("dict[str, Any]", given).get(METADATA) if isinstance(given, dict) else None
    if not isinstance(text, str):
        raise ManifestError(
            f"{path} holds no manifest: its header has no '{METADATA}'.",
            fix="safetensors.torch.save_file(state, path, metadata=exnihilo.manifest(model, plan, seed).metadata)",
        )
    return text


def _consistent(fields: Mapping[str, Any]) -> Manifest:
    """The record, once its parts agree with what is said of them."""
    plan, identity = _without(fields.get("plan"), "id")
    plan_files.from_json(json.dumps(plan), "Its plan")  # schemes, promises, rows that contradict themselves
    plan, _ = _without(plan, "version")
    whole, version = _without(fields.get("fingerprint"), "version")
    whole, digits = _without(whole, "hex")
    if version != FINGERPRINT_VERSION:
        raise MalformedError(f"its fingerprint is of version {version!r}, and this is {FINGERPRINT_VERSION}")
    manifest = from_plain(Manifest, {**fields, "plan": plan, "fingerprint": whole}, "manifest")
    Key(manifest.seed, "seed")  # refuses a seed out of range
    if manifest.plan.id != identity:
        raise MalformedError(f"its plan is {manifest.plan.id}, and {identity!r} was recorded; one of both was changed")
    if manifest.fingerprint.hex != digits:
        raise MalformedError(
            f"its digests make {manifest.fingerprint}, and {digits!r} was recorded; one of both was changed"
        )
    _require_same_tensors(manifest)
    return manifest


def _without(data: object, key: str) -> tuple[Any, Any]:
    """Plain data without one of its entries, and that entry; what is no object is left to the reader of records."""
    if not isinstance(data, dict):
        return data, None
    fields = cast("dict[str, Any]", data)
    return {name: value for name, value in fields.items() if name != key}, fields.get(key)


def _require_same_tensors(manifest: Manifest) -> None:
    """Raise MalformedError where the plan and the fingerprint speak of different parameters."""
    held = manifest.fingerprint.by_name
    for row in manifest.plan.rows:
        found = held.get(row.parameter)
        if found is None or (found.shape, found.dtype) != (row.shape, row.dtype):
            raise MalformedError(f"its plan has '{row.parameter}' as {row.shape} {row.dtype}, its fingerprint does not")
    planned = manifest.plan.by_name
    for name, entry in held.items():
        if entry.kind == "parameter" and name not in planned:
            raise MalformedError(f"its fingerprint has the parameter '{name}', its plan does not")
