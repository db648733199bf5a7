"""``exnihilo rebuild``: the proof that a start can be built again from its manifest."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from exnihilo.cli.models import model_named
from exnihilo.cli.shown import columns_of, console, fold, printed
from exnihilo.cli.weights import stored
from exnihilo.errors import ManifestError, StalePlanError
from exnihilo.plain import to_plain
from exnihilo.provenance.files import load
from exnihilo.provenance.rebuild import rebuild
from exnihilo.provenance.records import Manifest, Rebuilt

DIFFERS = 1


def ask_rebuild(path: Path, spec: str, *, sizes: Sequence[str], checkpoint: Path | None, as_json: bool) -> None:
    """Build the start of a manifest again, and say whether every bit is as recorded; exit with 1 where one is not."""
    manifest = _loaded(path)
    weights = None if checkpoint is None else stored(checkpoint)
    try:
        rebuilt = rebuild(manifest, lambda: model_named(spec, sizes=sizes, on_meta=False).model, weights)
    except StalePlanError as error:
        raise _another_model(error, manifest, path, spec) from error
    _show(rebuilt, as_json=as_json)
    if not rebuilt.is_exact:
        raise typer.Exit(DIFFERS)


def _loaded(path: Path) -> Manifest:
    try:
        return load(path)
    except ManifestError as error:
        fix = "exnihilo apply PLAN.json MODEL --seed 0 --out weights.safetensors --manifest manifest.json"
        raise ManifestError(error.fact, context=error.context, fix=fix) from error


def _another_model(error: StalePlanError, manifest: Manifest, path: Path, spec: str) -> StalePlanError:
    words = shlex.join(["exnihilo", "rebuild", str(path), spec])
    return StalePlanError(
        f"'{spec}' makes another model than the manifest's {manifest.plan.model}; nothing was compared.",
        context=error.context,
        fix=f"the factory of that run, with each size that it was given: {words} --size NAME=VALUE",
    )


def _show(rebuilt: Rebuilt, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"is_exact": rebuilt.is_exact, **to_plain(rebuilt)}, indent=1, ensure_ascii=False))
        return
    to = console()
    printed(to, [piece for line in str(rebuilt).splitlines() for piece in fold(line, columns_of(to))])
