"""Structures as JSON, and back."""

import json
from typing import Any, cast

from exnihilo.errors import StructureFileError
from exnihilo.plain import MalformedError, from_plain, to_plain
from exnihilo.structure.records import STRUCTURE_VERSION, Structure

_FIX = "exnihilo.structure.files.to_json(exnihilo.read(model, example))"


def to_json(structure: Structure) -> str:
    """The structure as indented JSON.

    Its keys are ``version``, ``model``, ``parameters``, ``branches``, ``attentions``, ``gated_maps``,
    ``tied_heads`` and ``reading``.
    """
    return json.dumps({"version": STRUCTURE_VERSION, **to_plain(structure)}, indent=1, ensure_ascii=False)


def from_json(text: str) -> Structure:
    """The structure that ``to_json`` wrote.

    Raises:
        StructureFileError: The text is no JSON, holds something else, or was written by another version.
    """
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise StructureFileError(f"This is no structure: it is no JSON. {error}", fix=_FIX) from None
    fields = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    version = fields.pop("version", None)
    if version != STRUCTURE_VERSION:
        raise StructureFileError(
            f"This is no structure of version {STRUCTURE_VERSION}: its version is {version!r}.",
            context=["a structure is read anew by every version that changes its records"],
            fix=_FIX,
        )
    try:
        return from_plain(Structure, fields, "structure")
    except MalformedError as error:
        raise StructureFileError(f"This is no structure: {error}.", fix=_FIX) from None
