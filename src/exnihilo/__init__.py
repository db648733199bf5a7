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
__all__ += ["Network", "Optimizer", "Outcome", "Plan", "Rebuilt", "Role", "Run", "RunRecord", "Start", "Structure"]
__all__ += ["Study", "Task", "Verdict", "__version__", "apply", "attach", "certify", "check", "diff", "fingerprint"]
__all__ += ["fix", "from_arrays", "from_file", "fuse", "gain", "he_normal", "initialize", "lecun_normal", "manifest"]
__all__ += ["mup", "param_groups", "plan", "profile_branches", "read", "rebuild", "recipes", "scheme_named", "study"]
__all__ += ["survived", "xavier_normal"]

# Where each name lives; imported on first use, since the records and the report need no torch.
_homes: dict[str, tuple[str, ...]] = {
    "schemes": ("gain", "he_normal", "lecun_normal", "scheme_named", "xavier_normal"),
    "lab.records": ("Model", "Network", "Optimizer", "Run", "RunRecord", "Start", "Verdict"),
    "lab.tasks": ("Task", "from_arrays", "from_file"),
}
_homes |= {"fills": ("Key",), "layouts": ("Layout",), "lab.ask": ("Outcome", "study"), "lab.study": ("Study",)}
_homes |= {"structure.reader": ("read",), "structure.records": ("Role", "Structure"), "recipes.named": ("recipes",)}
_homes |= {"plans.make": ("plan",), "plans.diff": ("diff",), "plans.records": ("Applied", "Plan")}
_homes |= {"plans.apply": ("apply", "initialize"), "plans.survival": ("survived",)}
_homes |= {"checks.check": ("check",), "checks.fix": ("fix",), "checks.records": ("Diagnosis", "Finding")}
_homes |= {"plans.groups": ("param_groups",), "recipes.mup": ("mup",)}
_homes |= {"gates.attach": ("attach",), "gates.fuse": ("fuse",)}
_homes |= {"probes.identity": ("certify",), "probes.records": ("Certificate",)}
_homes |= {"probes.profile": ("profile_branches",), "provenance.fingerprint": ("fingerprint",)}
_homes |= {"provenance.manifest": ("manifest",), "provenance.rebuild": ("rebuild",)}
_homes |= {"provenance.records": ("Fingerprint", "Manifest", "Rebuilt")}


def __getattr__(name: str) -> _typing.Any:
    for home, names in _homes.items():
        if name in names:
            return getattr(_importlib.import_module(f"exnihilo.{home}"), name)
    raise AttributeError(f"module 'exnihilo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
