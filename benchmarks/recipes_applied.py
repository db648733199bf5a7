"""On how many real models each recipe is planned and applied, with the standard deviations that it promises.

    cd benchmarks; PYTHONPATH=.. python recipes_applied.py [--seconds 300]

The models are those of `benchmarks/structure.py`. Nothing is trained or checked: that is `benchmarks/recipes.py`.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import torch
from benchmarks.recipes import is_large, is_off

import exnihilo as xn
import structure as listed_models
from exnihilo.errors import ExnihiloError, RecipeError

RECIPES = (
    *("deepnorm", "admin", "sub-ln", "mimetic", "rezero", "depth-scaled", "zero-head", "delta-orthogonal"),
    *("prior-bias", "fixup", "t-fixup", "adaln-zero", "recurrent", "looks-linear"),
)
LARGEST = 20_000_000


def outcomes(name: str, until: float) -> dict[str, str]:
    """Of one model, by recipe: applied, off, refused or failed; nothing once the time is over."""
    if time.time() > until:
        return {}
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    spec = next(spec for spec in listed_models.listed() if spec.name == name)
    model, example = spec.build(), spec.example()
    if sum(p.numel() for p in model.parameters()) > LARGEST:
        return {}
    found = xn.read(model, example)
    return {recipe: _outcome(recipe, model, found) for recipe in RECIPES}


def _outcome(recipe: str, model: torch.nn.Module, found: xn.Structure) -> str:
    try:
        plan = xn.plan(model, recipe, structure=found)
    except RecipeError:
        return "refused"
    except ExnihiloError as error:
        return f"failed: {type(error).__name__}"
    applied = xn.apply(plan, copy.deepcopy(model), seed=0)
    return "off" if any(is_large(written) and is_off(written) for written in applied.written) else "applied"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    until = time.time() + parser.parse_args().seconds
    names = [
        spec.name for spec in listed_models.listed() if spec.name.partition(":")[0] in {"hf", "timm", "torchvision"}
    ]
    names = [name for start in range(7) for name in names[start::7]]  # a cut-off run still sees all families
    with ProcessPoolExecutor(2) as pool:
        found = [of for of in pool.map(outcomes, names, [until] * len(names)) if of]
    print(f"{len(found)} of {len(names)} models")
    for recipe in RECIPES:
        print(recipe, dict(Counter(of[recipe] for of in found)))


if __name__ == "__main__":
    main()
