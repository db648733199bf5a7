"""Every recipe on every architecture of the check's benchmark: planned, applied, and its promises measured.

    python -m benchmarks.recipes [--only rezero fixup] [--named timm- hf-] [--every 3] [--page docs/recipes-measured.md]

A recipe makes sense for some models and refuses others; a refusal counts as one where it says why and how to go on.
Measured are: the standard deviation of each written parameter against its promise (five standard errors or five
hundredths, whichever is more); for recipes that close branches, that the branches they closed add exactly nothing; and
that a check finds no dead end in the model that it did not have before.
"""

from __future__ import annotations

import argparse
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch
from benchmarks.check.cases import architectures
from benchmarks.check.subjects import Subject

import exnihilo as xn
from exnihilo.errors import ExnihiloError, RecipeError
from exnihilo.plans.records import Written
from exnihilo.recipes.named import RECIPES

CLOSING = {"zero-residual", "rezero", "skipinit", "fixup", "adaln-zero"}
# What they are for, or what their pages warn of: these starts are dead ends in most models.
DEAD_ON_PURPOSE = {"zeros", "constant", "zeros+noise"}
ENOUGH = 256


@dataclass(frozen=True)
class Case:
    """What one recipe came to on one architecture."""

    architecture: str
    recipe: str
    refused: str = ""
    failed: str = ""
    off: tuple[str, ...] = ()
    num_checked: int = 0
    num_closed: int = 0
    dead: tuple[str, ...] = ()

    @property
    def applied(self) -> bool:
        return not (self.refused or self.failed)


@dataclass
class Found:
    """What one recipe came to on all of them."""

    cases: list[Case] = field(default_factory=list)

    def row(self, recipe: str) -> str:
        applied = [case for case in self.cases if case.applied]
        closed = [case.num_closed for case in applied]
        cells = (
            len(applied),
            sum(bool(case.refused) for case in self.cases),
            sum(bool(case.failed) for case in self.cases),
            f"{sum(len(case.off) for case in applied)} of {sum(case.num_checked for case in applied):,}",
            f"{sum(closed)}, in {sum(map(bool, closed))} models" if recipe in CLOSING else "",
            sum(bool(case.dead) for case in applied),
        )
        return f"| [{recipe}](recipes/{recipe}.md) | {' | '.join(map(str, cells))} |"

    def notes(self, recipe: str) -> Iterator[str]:
        for case in self.cases:
            if case.failed:
                yield f"- `{recipe}` on {case.architecture} failed: {case.failed}"
            for off in case.off:
                yield f"- `{recipe}` on {case.architecture} is off: {off}"
            if case.dead:
                yield f"- `{recipe}` on {case.architecture}: {', '.join(case.dead)}"
        for why, count in Counter(case.refused for case in self.cases if case.refused).most_common(3):
            yield f"- `{recipe}` refuses {count}: {why}"


def example_of(subject: Subject) -> object:
    return subject.batch if isinstance(subject.batch, dict) else subject.batch[0]


def dead_ends(subject: Subject) -> set[str]:
    found = xn.check(subject.model, subject.batch, subject.loss)
    return {finding.code for finding in found.findings if finding.severity == "FAIL"}


def look(name: str, recipes: Sequence[str]) -> list[Case]:
    """All recipes on one architecture: its structure is read once, and its own dead ends are found once."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    architecture = next(architecture for architecture in architectures() if architecture.name == name)
    plain = architecture.build(0)
    structure = xn.read(plain.model, example_of(plain))
    before = dead_ends(plain)
    return [case_of(recipe, architecture.name, architecture.build(0), structure, before) for recipe in recipes]


def case_of(recipe: str, name: str, subject: Subject, structure: xn.Structure, before: set[str]) -> Case:
    try:
        plan = xn.plan(subject.model, recipe, structure=structure)
        applied = xn.apply(plan, subject.model, seed=0)
    except RecipeError as refused:
        return Case(name, recipe, refused=refused.fact.replace(f" {structure.model} ", " the model "))
    except ExnihiloError as error:
        return Case(name, recipe, failed=f"{type(error).__name__}: {error.fact[:100]}")
    checked = [written for written in applied.written if is_large(written)]
    off = tuple(
        f"{written.parameter} {written.std:.4g} for {written.expected_std:.4g}"
        for written in checked
        if is_off(written)
    )
    num_closed = 0
    if recipe in CLOSING:
        num_closed = sum(branch.exact for branch in xn.certify(subject.model, example_of(subject)).branches)
    new = () if recipe in DEAD_ON_PURPOSE else tuple(sorted(dead_ends(subject) - before))
    return Case(name, recipe, off=off, num_checked=len(checked), num_closed=num_closed, dead=new)


def is_large(written: Written) -> bool:
    """Whether a parameter has values enough for its standard deviation to be judged."""
    return math.prod(written.layout.shape) >= ENOUGH


def is_off(written: Written) -> bool:
    """Whether a standard deviation differs from its promise by five standard errors and by five hundredths."""
    within = max(0.05, 5 / math.sqrt(2 * math.prod(written.layout.shape)))
    return abs(written.std - written.expected_std) > within * max(written.expected_std, 1e-12)


def page(cases: Sequence[Case], recipes: Sequence[str]) -> str:
    found = {recipe: Found([case for case in cases if case.recipe == recipe]) for recipe in recipes}
    names = sorted({case.architecture for case in cases})
    lines = [
        "# Every recipe, measured on real architectures",
        "",
        f"Written by `python -m benchmarks.recipes` on {date.today()}, torch {torch.__version__.partition('+')[0]}, "
        f"{os.uname().machine}, CPU; {len(names)} architectures, {len(cases):,} cases, one seed.",
        "",
        "A refusal says why and how to go on. *Off* counts parameters of 256 values or more whose standard deviation "
        "differs from the promise by more than five standard errors and five hundredths. *Closed* are branches that "
        "add exactly nothing. *Dead ends* are models in which `exnihilo check` fails where it did not before.",
        "",
        "| recipe | applied | refused | other errors | std off | branches closed | new dead ends |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(found[recipe].row(recipe) for recipe in recipes),
        "",
        f"Architectures: {', '.join(names)}.",
        "",
        "## What fails, and why recipes refuse",
        "",
        *(note for recipe in recipes for note in found[recipe].notes(recipe)),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(RECIPES))
    parser.add_argument("--named", nargs="*", default=[""], help="how the names of architectures begin")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path)
    chosen = parser.parse_args()
    names = [a.name for a in architectures() if a.name.startswith(tuple(chosen.named))][:: chosen.every]
    with ProcessPoolExecutor(chosen.workers) as pool:
        asked = pool.map(look, names, [chosen.only] * len(names))
        cases = [case for of in asked for case in of]
    written = page(cases, chosen.only)
    if chosen.page is not None:
        chosen.page.write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
