"""The Triton kernel: its bits by Triton's interpreter, what it is compiled to, and when it is not used.

Under the interpreter numpy does the arithmetic, which never contracts a product and a sum: that the compiled kernel
does not is seen in its code, which Triton makes for a GPU that need not be there, and which ``ptx.py`` can run. What is
left to a GPU is its own arithmetic, the launch and the memory.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ptx
import pytest
import torch
import triton_cases as cases
from torch import Tensor

from exnihilo.fills import Box, Key, Law, backends, fill_
from exnihilo.fills.laws import Kind

triton = pytest.importorskip("triton", reason="Triton is not for this platform")

HERE = Path(__file__).parent
NAMES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
KINDS = sorted({law.kind for law in cases.LAWS.values()})


@pytest.fixture
def unswitched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's kernel is asked for, also where the rest of the tests run without kernels."""
    monkeypatch.delenv(backends.SWITCH, raising=False)


def interpreted(*command: str) -> subprocess.CompletedProcess[str]:
    """Triton decides at import whether it interprets: a process of its own."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=HERE, capture_output=True, text=True, check=True
    )


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return json.loads(interpreted(str(HERE / "triton_cases.py")).stdout)


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_the_interpreted_kernel_gives_the_bits_of_the_reference(case: cases.Case, found: dict[str, str]) -> None:
    assert found[f"{case}, triton"] == ""


def test_the_compiled_kernel_gives_the_same_bits_in_every_case(found: dict[str, str]) -> None:
    of_compiled = [name for name in found if name.endswith(", compiled")]
    assert len(of_compiled) == (len(cases.CASES) if backends.compiled() else 0)
    assert [name for name in of_compiled if found[name]] == []


def test_the_interpreted_kernel_passes_the_trial_before_its_use(found: dict[str, str]) -> None:
    assert found["the kernel agrees with the reference"] == ""


# --- compiled, without a GPU ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Triton's files of compiled kernels, here and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


def compiled(
    kernel: Any, kind: int, dtype: torch.dtype, arch: int, is_aligned: bool = True, **launch: object
) -> dict[str, str]:
    """What Triton makes of a kernel for an architecture: PTX, and the machine's own code."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from exnihilo.fills import triton_kernel

    constants = {"LAW": kind, "SIZE": triton_kernel.SIZE}
    num_parameters = next(len(law.parameters) for law in cases.LAWS.values() if law.kind == kind)
    signature = dict.fromkeys(kernel.arg_names, "i64") | dict.fromkeys(constants, "constexpr")
    signature |= {"memory": f"*{NAMES[dtype]}", "parameters": ("fp32",) * num_parameters}
    attributes = {(0,): [["tt.divisibility", 16]]} if is_aligned else {}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=triton_kernel.LAUNCH | launch).asm


SOME = [("fill_rows", kind, torch.float32, 90) for kind in KINDS]
SOME += [("fill_rows", Kind.NORMAL, dtype, 80) for dtype in NAMES]
SOME += [("fill_scattered", Kind.TRUNCATED_TAILS, torch.bfloat16, 90)]
ALL = list(itertools.product(("fill_rows", "fill_scattered"), KINDS, NAMES, (80, 90)))


@pytest.mark.parametrize(
    ("kernel", "kind", "dtype", "arch"),
    SOME + [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in SOME],
)
def test_the_code_for_a_gpu_rounds_every_product_and_every_sum(
    kernel: str, kind: Kind, dtype: torch.dtype, arch: int
) -> None:
    from exnihilo.fills import triton_tiles

    made = compiled(getattr(triton_tiles, kernel), kind, dtype, arch)
    names = "add|sub|mul|mad|fma|div|rcp|sqrt|rsqrt|ex2|lg2|sin|cos|tanh"
    operations = re.findall(rf"\b(?:{names})\.\S*f\d+\S*", made["ptx"])
    assert set(operations) <= {f"{name}.rn.f32" for name in ("add", "sub", "mul", "div", "sqrt")}
    assert ".ftz" not in made["ptx"]
    assert ("sqrt.rn.f32" in operations) == (kind in (Kind.NORMAL, Kind.TRUNCATED_TAILS))
    assert ("div.rn.f32" in operations) == (kind == Kind.TRUNCATED_TAILS)
    # Roots and quotients are made of fused operations; beside them every product and every sum is still there.
    count = {name: len(re.findall(rf"\b{name}[ ;]", made["sass"])) for name in ("FMUL", "FADD", "FFMA")}
    assert count["FMUL"] == operations.count("mul.rn.f32")
    assert count["FADD"] == operations.count("add.rn.f32") + operations.count("sub.rn.f32")
    assert (count["FFMA"] > 0) == ("sqrt.rn.f32" in operations)


def test_fused_operations_are_found_where_they_are_allowed() -> None:
    from exnihilo.fills import triton_tiles

    made = compiled(triton_tiles.fill_rows, Kind.UNIFORM, torch.float32, 90, enable_fp_fusion=True)
    assert "fma.rn.f32" in made["ptx"]
    assert "FFMA" in made["sass"]


@pytest.mark.parametrize(
    "case",
    [case if case.dtype == torch.float32 else pytest.param(case, marks=pytest.mark.slow) for case in cases.CASES],
    ids=str,
)
def test_the_code_for_a_gpu_gives_the_bits_of_the_reference(case: cases.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launched as on a GPU, and run instruction by instruction."""
    from exnihilo.fills import triton_kernel

    def launch(
        kernel: Any, programs: int, tensor: Tensor, key: int, parameters: tuple[float, ...], kind: int, *numbers: int
    ) -> None:
        made = compiled(kernel, kind, tensor.dtype, 90, is_aligned=tensor.data_ptr() % 16 == 0)
        ptx.run(made["ptx"], tensor, [key, *parameters, *numbers], programs)

    monkeypatch.setattr(triton_kernel, "_launch", launch)
    assert cases.trouble(case, triton_kernel.fill_, "cpu") == ""


def test_constants_are_part_of_what_a_compiled_kernel_is_cached_by() -> None:
    """Else new coefficients would meet old kernels."""
    from exnihilo.fills import polynomials, triton_tiles

    assert triton_tiles.fill_rows.cache_key
    named = {name: value for (name, _), (value, _) in triton_tiles.fill_rows.used_global_vals.items()}
    used = [value.value for value in named.values()]
    for constant in (
        polynomials.LN2,
        polynomials.ANGLE_STEP,
        polynomials.FAR,
        polynomials.LOG,
        polynomials.SIN,
        polynomials.COS,
        polynomials.CENTER,
        polynomials.TAIL,
    ):
        assert constant in used


# --- when it is used --------------------------------------------------------------------------------------------------
def test_without_triton_the_reference_fills_and_nothing_is_said() -> None:
    program = (
        "import sys, torch\nsys.modules['triton'] = None\nfrom exnihilo.fills import backends\n"
        "print(backends.triton_fills(torch.device('cpu')))"
    )
    assert interpreted("-W", "error", "-c", program).stdout.strip() == "None"


@pytest.mark.usefixtures("unswitched")
def test_a_kernel_that_cannot_run_is_not_used_and_that_is_said() -> None:
    """Not interpreted, a kernel cannot write to the memory of a CPU."""
    with pytest.warns(backends.ReferenceFillsWarning, match="Triton kernel is not used on cpu: .*Error"):
        assert backends.triton_fills.__wrapped__(torch.device("cpu")) is None


@pytest.mark.usefixtures("unswitched")
def test_a_kernel_with_other_bits_is_not_used_and_that_is_said() -> None:
    program = (
        "import torch, warnings\nfrom exnihilo.fills import backends, polynomials, triton_kernel\n"
        "device = torch.device('cpu')\nwarnings.simplefilter('error')\n"
        "assert backends.triton_fills(device) is triton_kernel\nbackends.triton_fills.cache_clear()\n"
        "polynomials.LN2 *= 1 + 2**-23\nbackends.triton_fills(device)"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        interpreted("-c", program)
    assert "Triton kernel is not used on cpu: it gives other bits than the reference" in caught.value.stderr


# --- on a GPU ---------------------------------------------------------------------------------------------------------
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_cuda
def test_a_cuda_device_uses_the_triton_kernel() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.triton_fills(torch.device("cuda", 0)) is not None


@needs_cuda
def test_a_cuda_device_gives_the_bits_of_the_reference() -> None:
    found = {str(case): cases.trouble(case, fill_, "cuda") for case in cases.CASES}
    assert {case: trouble for case, trouble in found.items() if trouble} == {}


@needs_cuda
def test_a_cuda_device_without_triton_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "triton_fills", lambda device: None)
    found = {str(case): cases.trouble(case, fill_, "cuda") for case in cases.CASES}
    assert {case: trouble for case, trouble in found.items() if trouble} == {}


@needs_cuda
def test_a_fill_on_a_cuda_device_is_noticed_by_autograd() -> None:
    weight = torch.nn.Parameter(torch.ones(3, device="cuda"))
    loss = (weight**2).sum()
    fill_(weight, Law.normal(), Key(0, "w"), Box.whole((3,)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
