"""Every recipe on every architecture of the check's benchmark: planned, applied, and its promises measured.

    python -m benchmarks.recipes [--only rezero fixup]

A recipe makes sense for some models and refuses others; a refusal counts as one where it says why and how to go on.
Measured are: the standard deviation of each written parameter against its promise (five standard errors or five
hundredths, whichever is more); for recipes that close branches, that every branch they closed adds exactly nothing; and
that a check finds no dead end in the model that it did not have before.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import Counter
from dataclasses import dataclass, field

import torch
from benchmarks.check.cases import architectures
from benchmarks.check.subjects import Subject

import exnihilo as xn
from exnihilo.errors import ExnihiloError, RecipeError
from exnihilo.recipes.named import RECIPES

CLOSING = {"zero-residual", "rezero", "skipinit", "fixup", "adaln-zero"}
ENOUGH = 256


@dataclass
class Found:
    applied: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    closed: int = 0
    open: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)


def example_of(subject: Subject) -> object:
    return subject.batch if isinstance(subject.batch, dict) else subject.batch[0]


def dead_ends(subject: Subject) -> set[str]:
    found = xn.check(subject.model, subject.batch, subject.loss)
    return {finding.code for finding in found.findings if finding.severity == "FAIL"}


def look(recipe: str, name: str, found: Found, build) -> None:
    subject = build(0)
    example = example_of(subject)
    try:
        plan = xn.plan(subject.model, recipe, example=example, keep=())
        applied = xn.apply(plan, subject.model, seed=0)
    except RecipeError as refused:
        found.refused[refused.fact.partition(":")[0][:60]] += 1
        return
    except ExnihiloError as error:
        found.failed.append(f"{name}: {type(error).__name__}: {error.fact[:80]}")
        return
    found.applied += 1
    for written in applied.written:
        numel = math.prod(written.layout.shape)
        within = max(0.05, 5 / math.sqrt(2 * numel))
        if numel >= ENOUGH and abs(written.std - written.expected_std) > within * max(written.expected_std, 1e-12):
            found.off.append(f"{name}: {written.parameter} {written.std:.4g} for {written.expected_std:.4g}")
    if recipe in CLOSING:
        certificate = xn.certify(subject.model, example)
        closing = [branch for branch in certificate.branches if branch.exact]
        found.closed += len(closing)
        if not closing:
            found.open.append(name)
    new = dead_ends(subject) - dead_ends(build(0))
    if new and recipe not in {"zeros", "constant", "zeros+noise"}:
        found.dead.append(f"{name}: {', '.join(sorted(new))}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=list(RECIPES))
    parser.add_argument("--every", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    subjects = architectures()[:: chosen.every]
    print(
        f"| recipe | applied, of {len(subjects)} | refused | other errors | std off | branches closed | new dead ends |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    notes: list[str] = []
    for recipe in chosen.only:
        found = Found()
        for architecture in subjects:
            look(recipe, architecture.name, found, architecture.build)
        closed = str(found.closed) if recipe in CLOSING else ""
        refused = sum(found.refused.values())
        cells = [found.applied, refused, len(found.failed), len(found.off), closed, len(found.dead)]
        print(f"| {recipe} | {' | '.join(map(str, cells))} |", flush=True)
        notes += [f"{recipe}: {note}" for note in (*found.failed[:4], *found.off[:4], *found.open[:4], *found.dead[:6])]
        notes += [f"{recipe}: refuses {count}: {why}" for why, count in found.refused.most_common(4)]
    print("\n".join(notes))


if __name__ == "__main__":
    main()
