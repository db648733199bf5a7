"""``exnihilo plan``: what a recipe does to a model, and what differs between two plans."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from exnihilo.cli.fixes import fixes_as_options
from exnihilo.cli.models import model_named, structure_of
from exnihilo.cli.outputs import require_folder
from exnihilo.cli.planned import plan_lines
from exnihilo.cli.shown import columns_of, console, fold, printed
from exnihilo.errors import InvalidValueError, PlanFileError
from exnihilo.plain import to_plain
from exnihilo.plans.diff import diff
from exnihilo.plans.files import load, save, to_json
from exnihilo.plans.make import plan
from exnihilo.plans.records import Plan
from exnihilo.plans.text import difference_lines
from exnihilo.recipes.named import RECIPES, recipe_named
from exnihilo.schemes.spec import from_text


def ask_plan(
    spec: str,
    *,
    recipe: str,
    overrides: Sequence[str],
    keep: Sequence[str],
    inputs: Sequence[str],
    sizes: Sequence[str],
    out: Path | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Plan a recipe for a model, print the plan, and save it where that was asked."""
    chosen, setting = recipe_named(recipe), _overrides(overrides)  # before a model is built, which takes seconds
    if out is not None:
        require_folder(out)
    named = model_named(spec, sizes=sizes, inputs=inputs)
    structure = structure_of(named)
    with fixes_as_options():
        made = plan(named.model, chosen, structure=structure, overrides=setting, keep=keep)
    if out is not None:
        save(made, out)
    if as_json:
        print(to_json(made))
        return
    to = console()
    printed(to, plan_lines(made, columns_of(to), everything=everything))
    if out is not None:
        words = ["exnihilo", "apply", str(out), spec, *(word for size in sizes for word in ("--size", size))]
        again = shlex.join([*words, "--seed", "0", "--out", "weights.safetensors"])
        printed(to, ["", f"Written to {out}. To apply it:", f"  {again}"])


def ask_diff(before: Path, after: Path, *, as_json: bool) -> None:
    """Print what the second plan says otherwise than the first."""
    difference = diff(load_plan(before), load_plan(after))
    if as_json:
        print(json.dumps(to_plain(difference), indent=1, ensure_ascii=False))
        return
    to = console()
    lines = difference_lines(difference).splitlines()
    printed(to, [f"  {piece}" for line in lines for piece in fold(line, columns_of(to) - 2)])


def require_either(asked: Mapping[str, object], others: Mapping[str, object], compared: object) -> None:
    """Refuse a call that asks neither for a plan nor for a comparison of two, or for both.

    Args:
        asked: What a plan needs, by its name on the command line.
        others: What it may have.
        compared: The plans to compare.

    Raises:
        InvalidValueError: It does.
    """
    given = [name for name, value in {**asked, **others}.items() if value]
    if compared and given:
        raise InvalidValueError(
            f"--diff compares two saved plans, and takes no {given[0]}.", fix="exnihilo plan --diff A.json B.json"
        )
    missing = [name for name, value in asked.items() if not value]
    if not compared and missing:
        raise InvalidValueError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; a plan needs MODEL and --recipe.",
            context=[f"recipes: {', '.join(RECIPES)}"] if "--recipe" in missing else [],
            fix="exnihilo plan hf:gpt2 --recipe depth-scaled   or exnihilo plan --diff A.json B.json",
        )


def load_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        PlanFileError: The file cannot be read, or holds no plan.
    """
    try:
        return load(path)
    except PlanFileError as error:
        fix = "exnihilo plan MODEL --recipe NAME --out plan.json"
        raise PlanFileError(error.fact, context=error.context, fix=fix) from error


def _overrides(texts: Sequence[str]) -> dict[str, str]:
    """The schemes by pattern, each of them looked up; patterns need the model."""
    found: dict[str, str] = {}
    for text in texts:
        pattern, equals, scheme = (part.strip() for part in text.partition("="))
        if not (pattern and equals and scheme):
            raise InvalidValueError(f"'{text}' sets nothing: it must be PATTERN=SCHEME.", fix="--set 'head.*=zeros'")
        if pattern in found:
            raise InvalidValueError(
                f"--set means '{pattern}' twice: {found[pattern]} and {scheme}.", fix="give it once"
            )
        from_text(scheme)
        found[pattern] = scheme
    return found
