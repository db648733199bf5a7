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
    import exnihilo.init as init
    from exnihilo.checks.check import check
    from exnihilo.checks.fix import fix
    from exnihilo.checks.records import Diagnosis, Finding
    from exnihilo.fills import Key
    from exnihilo.gates.attach import attach
    from exnihilo.gates.fuse import fuse
    from exnihilo.lab.ask import Outcome, study
    from exnihilo.lab.records import Model, Network, Optimizer, Run, RunRecord, Start, Verdict
    from exnihilo.lab.study import Study
    from exnihilo.lab.tasks import Task, from_arrays, from_file
    from exnihilo.layouts import Layout
    from exnihilo.plans.apply import apply, initialize
    from exnihilo.plans.diff import diff
    from exnihilo.plans.groups import param_groups
    from exnihilo.plans.make import plan
    from exnihilo.plans.materialize import materialize
    from exnihilo.plans.record import Recorded, record
    from exnihilo.plans.records import Applied, Plan
    from exnihilo.plans.survival import survived
    from exnihilo.probes.identity import certify
    from exnihilo.probes.profile import profile_branches
    from exnihilo.probes.records import Certificate
    from exnihilo.provenance.fingerprint import fingerprint
    from exnihilo.provenance.manifest import manifest
    from exnihilo.provenance.rebuild import rebuild
    from exnihilo.provenance.records import Fingerprint, Manifest, Rebuilt
    from exnihilo.recipes.mup import mup
    from exnihilo.recipes.named import recipes
    from exnihilo.schemes import gain, he_normal, lecun_normal, scheme_named, xavier_normal
    from exnihilo.structure.reader import read
    from exnihilo.structure.records import Role, Structure

__all__ = ["Applied", "Certificate", "Diagnosis", "Finding", "Fingerprint", "Key", "Layout", "Manifest", "Model"]
__all__ += ["Network", "Optimizer", "Outcome", "Plan", "Rebuilt", "Recorded", "Role", "Run", "RunRecord", "Start"]
__all__ += ["Structure", "Study", "Task", "Verdict", "__version__", "apply", "attach", "certify", "check", "diff"]
__all__ += ["fingerprint", "fix", "from_arrays", "from_file", "fuse", "gain", "he_normal", "init", "initialize"]
__all__ += ["lecun_normal", "manifest", "materialize", "mup", "param_groups", "plan", "profile_branches", "read"]
__all__ += ["rebuild", "recipes", "record", "scheme_named", "study", "survived", "xavier_normal"]

# Where each name lives; imported on first use, since the records and the report need no torch.
_homes: dict[str, tuple[str, ...]] = {}
_homes |= {"schemes": ("gain", "he_normal", "lecun_normal", "scheme_named", "xavier_normal")}
_homes |= {"lab.records": ("Model", "Network", "Optimizer", "Run", "RunRecord", "Start", "Verdict")}
_homes |= {"lab.tasks": ("Task", "from_arrays", "from_file"), "fills": ("Key",), "layouts": ("Layout",)}
_homes |= {"lab.ask": ("Outcome", "study"), "lab.study": ("Study",), "structure.reader": ("read",)}
_homes |= {"structure.records": ("Role", "Structure"), "recipes.named": ("recipes",), "plans.make": ("plan",)}
_homes |= {"plans.diff": ("diff",), "plans.records": ("Applied", "Plan"), "plans.apply": ("apply", "initialize")}
_homes |= {"plans.survival": ("survived",), "checks.check": ("check",), "checks.fix": ("fix",)}
_homes |= {"checks.records": ("Diagnosis", "Finding"), "plans.materialize": ("materialize",)}
_homes |= {"plans.groups": ("param_groups",), "recipes.mup": ("mup",), "gates.attach": ("attach",)}
_homes |= {"gates.fuse": ("fuse",), "probes.identity": ("certify",), "probes.records": ("Certificate",)}
_homes |= {"probes.profile": ("profile_branches",), "plans.record": ("Recorded", "record")}
_homes |= {"provenance.fingerprint": ("fingerprint",), "provenance.manifest": ("manifest",)}
_homes |= {"provenance.rebuild": ("rebuild",), "provenance.records": ("Fingerprint", "Manifest", "Rebuilt")}


def __getattr__(name: str) -> _typing.Any:
    if name == "init":
        return _importlib.import_module("exnihilo.init")
    for home, names in _homes.items():
        if name in names:
            return getattr(_importlib.import_module(f"exnihilo.{home}"), name)
    raise AttributeError(f"module 'exnihilo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
