"""``exnihilo apply``: from a plan and a seed to a file of weights."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from exnihilo.cli.models import Named, model_named
from exnihilo.cli.outputs import require_folder, written_whole
from exnihilo.cli.plan import load_plan
from exnihilo.cli.planned import applied_lines
from exnihilo.cli.shown import columns_of, console, fold, printed
from exnihilo.cli.weights import SAFETENSORS, require_values, require_writable, written
from exnihilo.errors import InvalidValueError, OutputError, StalePlanError
from exnihilo.fills import Key
from exnihilo.plain import to_plain
from exnihilo.plans.apply import apply
from exnihilo.plans.records import Applied, Plan
from exnihilo.provenance.files import save
from exnihilo.provenance.manifest import manifest as manifest_of


def ask_apply(
    path: Path,
    spec: str,
    *,
    seed: int,
    sizes: Sequence[str],
    out: Path,
    manifest: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Build the model, write to it what the plan assigns, and to files its state dict and the manifest."""
    require_writable(out, force=force)
    if manifest is not None:
        _require_manifest(manifest, force=force)
    Key(seed, "seed")  # refuses a seed out of range before a model is built
    plan = load_plan(path)
    named = model_named(spec, sizes=sizes, on_meta=False)
    require_values(named.model, out)
    applied = _applied(plan, path, named, seed)
    made = manifest_of(named.model, plan, seed)
    left_out = written(named.model, out, made.metadata)
    if manifest is not None:
        written_whole(manifest, lambda aside: save(made, aside))
    if as_json:
        files = {
            "file": str(out),
            "manifest": str(manifest) if manifest else None,
            "fingerprint": str(made.fingerprint),
        }
        print(json.dumps({**to_plain(applied), **files}, indent=1, ensure_ascii=False))
        return
    to = console()
    columns = columns_of(to)
    printed(to, [*applied_lines(applied, columns), "", *fold(f"Written to {out}. To load it:", columns)])
    attaching = [f"  exnihilo.attach(model, exnihilo.plans.files.load({str(path)!r}).gates)"] if plan.gates else []
    printed(to, [*attaching, f"  {_loading(out, left_out)}", *_said_of(left_out, columns)])
    held = manifest or (out if out.suffix == SAFETENSORS else None)
    if held is not None:
        words = ["exnihilo", "rebuild", str(held), spec, *(word for size in sizes for word in ("--size", size))]
        where = f"Manifest written to {held}." if manifest else "The manifest is in its header."
        printed(to, ["", *fold(f"{where} To prove that this start can be built again:", columns)])
        printed(to, [f"  {shlex.join(words)}"])


def _require_manifest(path: Path, *, force: bool) -> None:
    if path.suffix != ".json":
        raise InvalidValueError(
            f"--manifest is '{path}'; it must end in .json.", fix=f"--manifest {path.with_suffix('.json')}"
        )
    require_folder(path)
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; nothing was written.", fix="--force, or another name for --manifest")


def _applied(plan: Plan, path: Path, named: Named, seed: int) -> Applied:
    try:
        return apply(plan, named.model, seed)
    except StalePlanError as error:
        again = shlex.join(["exnihilo", "plan", named.spec, "--recipe", plan.recipe, "--out", str(path)])
        fix = f"give each --size of that plan, or plan anew: {again}"
        raise StalePlanError(error.fact, context=error.context, fix=fix) from error


def _loading(out: Path, left_out: Mapping[str, str]) -> str:
    if out.suffix != SAFETENSORS:
        return f'model.load_state_dict(torch.load("{out}"))'
    if left_out:
        return f'safetensors.torch.load_model(model, "{out}")'
    return f'model.load_state_dict(safetensors.torch.load_file("{out}"))'


def _said_of(left_out: Mapping[str, str], columns: int) -> list[str]:
    lines = [f"  {name} is {first}: one tensor, in the file once" for name, first in left_out.items()]
    return [piece for line in lines for piece in fold(line, columns)]
