"""The kernel's sources and its build: current, with flags that keep the bits, and not needed to install."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest
import torch
from fill_cases import KERNEL

from exnihilo.fills import backends
from exnihilo.fills.backends import ReferenceFillsWarning

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("fill_running.py")
SOURCES = ROOT / "src" / "exnihilo" / "fills"

needs_sources = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="runs in a checkout")


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- sources ----------------------------------------------------------------------------------------------------------


@needs_sources
def test_the_header_of_coefficients_is_current() -> None:
    script = loaded(ROOT / "scripts" / "write_polynomials.py")
    assert (SOURCES / "_polynomials.h").read_text() == script.header(), "run python scripts/write_polynomials.py"


@needs_sources
def test_coefficients_are_written_in_the_order_of_horners_rule() -> None:
    """1 + 2t + 4t**2, with each number as C spells it."""
    nested = loaded(ROOT / "scripts" / "write_polynomials.py").nested((1.0, -2.0, 4.0))
    as_python = re.sub(r"\((-?0x[^)]*)f\)", r"float.fromhex('\1')", nested)
    assert eval(as_python, {"t": 3.0, "float": float}) == 1.0 - 6.0 + 36.0  # the text is that of this repository


@needs_sources
def test_the_kernel_is_built_without_contraction_by_every_compiler() -> None:
    flags = (ROOT / "setup.py").read_text()
    assert '"-ffp-contract=off"' in flags
    assert '"/fp:precise"' in flags
    assert not re.search(r"fast-math|march|/fp:fast|-Ofast", flags)


# --- where there is none ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_a_compiler(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A copy of the package, built where the compiler fails; and how the build ended."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("runs in a checkout")
    copy = tmp_path_factory.mktemp("copy")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(
        ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.egg-*")
    )
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    env = {**os.environ, "CC": shutil.which("false") or "false", "PYTHONPATH": ""}
    return copy, subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=120, check=False)


def fallback(source: Path) -> list[str]:
    paths = os.pathsep.join([str(source), *(path for path in sys.path if not path.endswith("src"))])
    env = {**os.environ, "PYTHONPATH": paths, backends.SWITCH: ""}
    command = [sys.executable, str(SCRIPT), "fallback"]
    found = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=120).stdout
    return found.rsplit(maxsplit=2)


@pytest.mark.slow
@pytest.mark.skipif(sysconfig.get_platform().startswith("win"), reason="CC is not asked there")
def test_the_package_installs_without_a_compiler(
    without_a_compiler: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    copy, ended = without_a_compiler
    assert ended.returncode == 0, ended.stderr
    assert "_kernel" in ended.stderr  # it was tried, and the log says that it failed
    assert not list(copy.rglob("*.so"))


@pytest.mark.slow
@pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
@pytest.mark.skipif(sysconfig.get_platform().startswith("win"), reason="CC is not asked there")
def test_without_a_kernel_fills_warn_once_and_give_the_same_bits(
    without_a_compiler: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with_kernel, without = fallback(ROOT / "src"), fallback(without_a_compiler[0] / "src")
    assert with_kernel[0].startswith("compiled, ")
    assert with_kernel[1] == "-"
    assert without[0] == "reference"
    assert without[1].startswith("ReferenceFillsWarning:")
    assert "," not in without[1]
    assert without[2] == with_kernel[2]


# --- choosing ---------------------------------------------------------------------------------------------------------


def unimportable(name: str) -> ModuleType:
    raise ImportError(f"No module named {name!r}")


@pytest.fixture
def choosing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Backends are chosen anew, and what is chosen is forgotten afterwards."""
    monkeypatch.delenv(backends.SWITCH, raising=False)
    monkeypatch.setattr(backends, "compiled", _fresh(backends.compiled))
    return monkeypatch


def _fresh(cached: object) -> object:
    return functools.cache(cached.__wrapped__)  # type: ignore[attr-defined]


def test_a_missing_kernel_is_told_once_with_what_to_do(choosing: pytest.MonkeyPatch) -> None:
    choosing.setattr(backends.importlib, "import_module", unimportable)
    with pytest.warns(ReferenceFillsWarning) as caught:
        assert backends.compiled() is None
        assert backends.compiled() is None
        assert backends.describe() == "reference"
    (warning,) = caught
    assert "Fix: install a C compiler" in str(warning.message)
    assert "EXNIHILO_FILLS=reference" in str(warning.message)


def test_the_switch_turns_both_kernels_off_without_a_word(choosing: pytest.MonkeyPatch) -> None:
    choosing.setenv(backends.SWITCH, "reference")
    choosing.setattr(backends, "triton_fills", _fresh(backends.triton_fills))
    choosing.setattr(backends.importlib, "import_module", unimportable)
    assert backends.compiled() is None
    assert backends.triton_fills(torch.device("cuda")) is None


@pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
def test_the_best_instruction_set_is_used_and_others_are_refused() -> None:
    assert KERNEL is not None
    assert KERNEL.level() == KERNEL.levels()[-1]
    with pytest.raises(ValueError, match="no instruction set 'mmx' on this processor"):
        KERNEL.select("mmx")
    assert KERNEL.level() == KERNEL.levels()[-1]


@pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
@pytest.mark.parametrize(
    ("function", "arguments", "raised"),
    [
        ("fill", (0,), TypeError),
        ("fill", (6, 0, 0, (), 0, 0, 0), ValueError),
        ("fill", (-1, 0, 0, (), 0, 0, 0), ValueError),
        ("fill", (0, 4, 0, (), 0, 0, 0), ValueError),
        ("fill", (0, 0, -1, (), 0, 0, 0), OverflowError),
        ("fill", (0, 0, 0, (0.0,) * 14, 0, 0, 0), ValueError),
        ("fill", (0, 0, 0, ("a",), 0, 0, 0), TypeError),
        ("fill", (0, 0, 0, (), 0, 2**63, 0), OverflowError),
        ("fill_part", (0, 0, 0, (), 0, 0, (), (), (), 0, 0), ValueError),
        ("fill_part", (0, 0, 0, (), 0, 0, (1, 1), (1,), (1, 1), 0, 0), ValueError),
        ("fill_part", (0, 0, 0, (), 0, 0, (0,), (1,), (1,), 0, 0), ValueError),
        ("fill_part", (0, 0, 0, (), 0, 0, (1,) * 65, (1,) * 65, (1,) * 65, 0, 0), ValueError),
    ],
)
def test_the_kernel_refuses_what_it_cannot_read(function: str, arguments: tuple, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        getattr(KERNEL, function)(*arguments)
