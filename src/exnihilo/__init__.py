"""exnihilo: start PyTorch networks right, from zero or from anything.

>>> import exnihilo as xn
>>> layer = xn.Layout.linear(out=64, in_=128)
>>> round(xn.he_normal().expected_std(layer), 4)
0.125
"""

import importlib as _importlib
import typing as _typing

from exnihilo.version import __version__

if _typing.TYPE_CHECKING:
    from exnihilo.fills import Key
    from exnihilo.lab.ask import Outcome, study
    from exnihilo.lab.records import Network, Optimizer, Run, RunRecord, Start, Verdict
    from exnihilo.lab.study import Study
    from exnihilo.lab.tasks import Task, from_arrays, from_file
    from exnihilo.layouts import Layout
    from exnihilo.plans.apply import apply, initialize
    from exnihilo.plans.diff import diff
    from exnihilo.plans.make import plan
    from exnihilo.plans.records import Applied, Plan
    from exnihilo.plans.survival import survived
    from exnihilo.probes.identity import certify
    from exnihilo.recipes.named import recipes
    from exnihilo.schemes import gain, he_normal, lecun_normal, scheme_named, xavier_normal
    from exnihilo.structure.reader import read
    from exnihilo.structure.records import Role, Structure

__all__ = ["Applied", "Key", "Layout", "Network", "Optimizer", "Outcome", "Plan", "Role", "Run", "RunRecord", "Start"]
__all__ += ["Structure", "Study", "Task", "Verdict", "__version__", "apply", "certify", "diff", "from_arrays"]
__all__ += ["from_file", "gain", "he_normal", "initialize", "lecun_normal", "plan", "read", "recipes", "scheme_named"]
__all__ += ["study", "survived", "xavier_normal"]

_HOMES = {  # where each name lives; imported on first use, since the records and the report need no torch
    "fills": ("Key",),
    "lab.ask": ("Outcome", "study"),
    "lab.records": ("Network", "Optimizer", "Run", "RunRecord", "Start", "Verdict"),
    "lab.study": ("Study",),
    "lab.tasks": ("Task", "from_arrays", "from_file"),
    "layouts": ("Layout",),
    "plans.apply": ("apply", "initialize"),
    "plans.diff": ("diff",),
    "plans.make": ("plan",),
    "plans.records": ("Applied", "Plan"),
    "plans.survival": ("survived",),
    "probes.identity": ("certify",),
    "recipes.named": ("recipes",),
    "schemes": ("gain", "he_normal", "lecun_normal", "scheme_named", "xavier_normal"),
    "structure.reader": ("read",),
    "structure.records": ("Role", "Structure"),
}


def __getattr__(name: str) -> _typing.Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_importlib.import_module(f"exnihilo.{home}"), name)
    raise AttributeError(f"module 'exnihilo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
