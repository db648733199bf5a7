"""exnihilo.init takes what torch.nn.init takes, and refuses what that refuses, with errors of the same types."""

import inspect
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import exnihilo as xn
from exnihilo import errors

THEIRS, OURS = nn.init, xn.init

RANDOM = ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_"]
RANDOM += ["kaiming_normal_", "orthogonal_"]
WITHOUT_ARGUMENTS = [*RANDOM, "ones_", "zeros_", "eye_"]


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=dtype)


matrix = zeros(3, 4)
TENSORS: dict[str, Callable[[], Tensor]] = {
    "matrix": matrix,
    "kernel": zeros(4, 3, 2),
    "transposed": lambda: torch.zeros(4, 3).t(),
    "strided": lambda: torch.zeros(6, 8)[::2, ::2],
    "float64": zeros(3, 4, dtype=torch.float64),
    "bfloat16": zeros(3, 4, dtype=torch.bfloat16),
    "float16": zeros(3, 4, dtype=torch.float16),
    "complex64": zeros(3, 4, dtype=torch.complex64),
    "complex128": zeros(3, 4, dtype=torch.complex128),
    "int32": zeros(3, 4, dtype=torch.int32),
    "bool": zeros(3, 4, dtype=torch.bool),
    "float8": zeros(3, 4, dtype=torch.float8_e4m3fn),
    "scalar": zeros(),
    "vector": zeros(3),
    "one": zeros(1),
    "no rows": zeros(0, 3),
    "no columns": zeros(3, 0),
    "empty vector": zeros(0),
    "parameter": lambda: nn.Parameter(torch.zeros(3, 4)),
    "view of a parameter": lambda: nn.Parameter(torch.zeros(6, 4))[:3],
    "no leaf": lambda: torch.zeros(3, 4, requires_grad=True) * 2,
    "overlapping": lambda: torch.zeros(1, 4).expand(3, 4),
}

# Name of the function, tensor, arguments.
CALLS: list[tuple[str, Callable[[], Tensor], tuple[Any, ...]]] = [
    ("uniform_", matrix, (2, 1)),
    ("uniform_", matrix, (math.nan, 1)),
    ("uniform_", matrix, (0, math.inf)),
    ("uniform_", matrix, (-3e38, 3e38)),
    ("uniform_", matrix, (1e39, 1e39)),
    ("uniform_", zeros(3, dtype=torch.float16), (0, 1e5)),
    ("uniform_", matrix, (1, 1)),
    ("uniform_", matrix, ("a",)),
    ("uniform_", matrix, ("0.5",)),
    ("uniform_", matrix, (0, torch.tensor(2.0))),
    ("uniform_", matrix, (0, True)),
    ("normal_", matrix, (0, -1)),
    ("normal_", matrix, (0, math.nan)),
    ("normal_", matrix, (0, 0)),
    ("normal_", matrix, (None,)),
    ("normal_", matrix, (0, torch.tensor(2.0))),
    ("normal_", matrix, (1j,)),
    ("trunc_normal_", matrix, (0, 1, 2, -2)),
    ("trunc_normal_", matrix, (0, 1, 1, 1)),
    ("trunc_normal_", matrix, (0, 1, -math.inf, math.inf)),
    ("trunc_normal_", matrix, (0, 1, math.nan, 2)),
    ("xavier_uniform_", matrix, (-1,)),
    ("xavier_normal_", matrix, (-1,)),
    ("xavier_uniform_", matrix, (0,)),
    ("xavier_normal_", matrix, (0,)),
    ("xavier_uniform_", matrix, (math.nan,)),
    ("xavier_normal_", matrix, (math.nan,)),
    ("xavier_uniform_", matrix, (math.inf,)),
    ("kaiming_uniform_", matrix, (0, "fan_avg")),
    ("kaiming_normal_", matrix, (0, "fan_avg")),
    ("kaiming_normal_", matrix, (0, "FAN_OUT")),
    ("kaiming_normal_", matrix, (0, 3)),
    ("kaiming_normal_", matrix, (True,)),
    ("kaiming_normal_", matrix, ([1],)),
    ("kaiming_normal_", matrix, (1e200,)),
    ("kaiming_normal_", matrix, (math.nan,)),
    ("kaiming_uniform_", matrix, (math.nan,)),
    ("kaiming_normal_", matrix, (math.inf,)),
    ("kaiming_normal_", matrix, (0, "fan_in", "gelu")),
    ("kaiming_uniform_", matrix, (0, "fan_in", "selu")),
    ("orthogonal_", matrix, (0,)),
    ("orthogonal_", matrix, (-2,)),
    ("sparse_", matrix, (0.5,)),
    ("sparse_", matrix, (0,)),
    ("sparse_", matrix, (1,)),
    ("sparse_", matrix, (0.5, -1)),
    ("sparse_", matrix, ()),
    ("sparse_", zeros(3), (0.5,)),
    ("sparse_", zeros(0, 3), (0.5,)),
    ("sparse_", zeros(3, 0), (0.5,)),
    ("sparse_", zeros(1, 3), (0.1,)),
    ("sparse_", zeros(3, 4, dtype=torch.int32), (0.5,)),
    ("constant_", matrix, (0.5,)),
    ("constant_", matrix, (math.nan,)),
    ("constant_", matrix, (1j,)),
    ("constant_", matrix, ("a",)),
    ("constant_", matrix, (torch.tensor(2.0),)),
    ("constant_", zeros(3, dtype=torch.int32), (0.5,)),
    ("constant_", zeros(3, dtype=torch.complex64), (1j,)),
    ("constant_", zeros(2, dtype=torch.float16), (1e9,)),
    ("constant_", TENSORS["overlapping"], (1.0,)),
    ("dirac_", zeros(4, 2, 3), ()),
    ("dirac_", zeros(4, 2, 3), (2,)),
    ("dirac_", zeros(4, 2, 3), (3,)),
    ("dirac_", zeros(4, 2), ()),
    ("dirac_", zeros(2, 2, 1, 1, 1, 1), ()),
    ("dirac_", zeros(0, 2, 3), ()),
    ("dirac_", zeros(4, 0, 3), ()),
    ("dirac_", zeros(4, 2, 3, dtype=torch.int64), ()),
    ("calculate_gain", lambda: "tanh", ()),  # pyright: ignore[reportArgumentType]
    ("calculate_gain", lambda: "gelu", ()),  # pyright: ignore[reportArgumentType]
]
CALLS += [(name, make, ()) for name in WITHOUT_ARGUMENTS for make in TENSORS.values()]
IDS = [f"{i}-{name}" for i, (name, _, _) in enumerate(CALLS)]

# Where torch takes what is no law, or fails for a reason of its own; the page says each of these.
DIFFERENT = {
    ("orthogonal_", torch.bfloat16): "no factorization in half precision",
    ("orthogonal_", torch.float16): "the same",
}


def outcome(function: Callable[..., object], tensor: Any, arguments: tuple[Any, ...]) -> tuple[str, type, list[str]]:
    """What a call came to: the first line of its error, its type, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = function(tensor, *arguments)
        except Exception as error:
            return str(error).splitlines()[0].removesuffix("."), type(error), [str(each.message) for each in caught]
    assert made is tensor or not isinstance(tensor, Tensor)
    return "", type(None), [f"{each.message} {each.filename}" for each in caught]


@pytest.mark.parametrize(("name", "make", "arguments"), CALLS, ids=IDS)
def test_a_call_is_taken_or_refused_as_torch_takes_or_refuses_it(
    name: str, make: Callable[[], Tensor], arguments: tuple[Any, ...]
) -> None:
    tensor = make()
    said, kind, warned = outcome(getattr(OURS, name), tensor, arguments)
    if isinstance(tensor, Tensor) and (name, tensor.dtype) in DIFFERENT:
        assert kind is type(None)
        return
    with torch.random.fork_rng():
        their_said, their_kind, their_warned = outcome(getattr(THEIRS, name), make(), arguments)
    assert issubclass(kind, their_kind), (said, their_said)
    assert warned == their_warned
    if issubclass(their_kind, ValueError):
        assert their_said in said
    if kind is not type(None) and isinstance(tensor, Tensor):
        assert not tensor.any(), "something was written"


@pytest.mark.parametrize(
    ("name", "arguments", "phrase"),
    [
        ("uniform_", (2, 1), "uniform_ expects to return a [from, to) range, but found from=2 > to=1"),
        ("uniform_", (0, math.inf), "to is out of bounds for"),
        ("uniform_", (-3e38, 3e38), "uniform_ expects to-from <= "),
        ("normal_", (0, -1), "normal expects std >= 0.0, but found std -1"),
        ("normal_", (0, math.nan), "normal expects std >= 0.0, but found std nan"),
        ("sparse_", (0.5, -1), "normal expects std >= 0.0, but found std -1"),
    ],
)
def test_the_phrase_of_torchs_own_error_stands_in_ours(name: str, arguments: tuple[Any, ...], phrase: str) -> None:
    for room in (OURS, THEIRS):
        with pytest.raises(RuntimeError, match=re.escape(phrase)):
            getattr(room, name)(torch.zeros(3, 4), *arguments)


@pytest.mark.parametrize("name", RANDOM)
def test_a_dtype_that_a_law_does_not_cover_is_not_implemented_in_both(name: str) -> None:
    for room in (OURS, THEIRS):
        with pytest.raises(NotImplementedError, match="not implemented for"):
            getattr(room, name)(torch.zeros(3, 4, dtype=torch.int32))
    with pytest.raises(errors.DtypeError, match="it writes float32, float64, bfloat16, float16"):
        getattr(OURS, name)(torch.zeros(3, 4, dtype=torch.int32))


@pytest.mark.parametrize("name", [name for name in RANDOM if name != "orthogonal_"])
def test_a_sparse_tensor_is_refused_by_both(name: str) -> None:
    for room in (OURS, THEIRS):
        with pytest.raises(RuntimeError):
            getattr(room, name)(torch.zeros(3, 4).to_sparse())
    with pytest.raises(errors.DrawError, match=r"cannot write a tensor of layout torch\.sparse_coo"):
        getattr(OURS, name)(torch.zeros(3, 4).to_sparse())


# What torch takes and is no law: NaN or infinities as numbers of a law, zeros by mistake.
REFUSED: list[tuple[str, tuple[Any, ...], str]] = [
    ("normal_", (math.nan, 1), "mean is nan; it must be finite"),
    ("normal_", (0, math.inf), "std is inf; it must be finite"),
    ("normal_", (0, 1e39), "must be finite in float32"),
    ("trunc_normal_", (0, -1), "normal expects std >= 0.0"),
    ("trunc_normal_", (0, math.nan), "normal expects std >= 0.0"),
    ("trunc_normal_", (0, 0), "expects std > 0.0"),
    ("trunc_normal_", (0, 1e-3, 1, 2), "beyond 37 std"),
    ("orthogonal_", (math.nan,), "gain is nan"),
    ("sparse_", (1.5,), r"sparsity is 1.5; it must be in \[0, 1\]"),
    ("sparse_", (-0.5,), "sparsity is -0.5"),
    ("sparse_", (math.nan,), "sparsity is nan"),
    ("truncated_normal_", (0, -1), "TruncatedNormal.std is -1"),
    ("truncated_normal_", (0, 1, 2, -2), "lower must be below upper"),
    ("rademacher_", (-1,), "Rademacher.std is -1"),
    ("variance_scaling_", (0,), "VarianceScaling.scale is 0.0"),
    ("variance_scaling_", (1, "fan"), "Unknown mode 'fan'"),
    ("variance_scaling_", (1, "fan_in", "norm"), "Unknown distribution 'norm'"),
    ("identity_", (math.nan,), "Identity.gain is nan"),
    ("hadamard_", ("book",), "Unknown scale 'book'"),
    ("delta_orthogonal_", (), "DeltaOrthogonal needs a kernel"),
]


@pytest.mark.parametrize(("name", "arguments", "match"), REFUSED)
def test_what_is_no_law_is_refused_and_nothing_is_written(name: str, arguments: tuple[Any, ...], match: str) -> None:
    tensor = torch.full((3, 4), 7.0)
    with pytest.raises(ValueError, match=match):
        getattr(OURS, name)(tensor, *arguments)
    assert bool((tensor == 7).all())


@pytest.mark.parametrize("name", THEIRS.__all__)
def test_every_name_of_torch_is_there_and_begins_with_its_parameters(name: str) -> None:
    theirs = inspect.signature(getattr(THEIRS, name), follow_wrapped=False).parameters.values()
    ours = list(inspect.signature(getattr(OURS, name), follow_wrapped=False).parameters.values())
    assert [(p.name, p.default, p.kind) for p in ours[: len(theirs)]] == [(p.name, p.default, p.kind) for p in theirs]
    added = ours[len(theirs) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is None for p in added)
    assert {p.name for p in added} <= {"key", "module"}
    assert ("key" in {p.name for p in added}) == ("generator" in {p.name for p in theirs})


def test_the_private_functions_that_modules_call_are_torchs_own() -> None:
    for name in ("_calculate_fan_in_and_fan_out", "_calculate_correct_fan", "calculate_gain"):
        assert getattr(OURS, name) is getattr(THEIRS, name)


OLD = {
    "uniform": (),
    "normal": (),
    "constant": (0.5,),
    "eye": (),
    "xavier_uniform": (),
    "xavier_normal": (),
    "kaiming_uniform": (),
    "kaiming_normal": (),
    "orthogonal": (),
    "sparse": (0.5,),
    "dirac": (),
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_warns_as_torchs_does_and_writes_what_the_new_one_writes(name: str) -> None:
    shape = (4, 4, 3) if name == "dirac" else (4, 4)
    said: list[tuple[type, str, str]] = []
    for room in (OURS, THEIRS):
        with warnings.catch_warnings(record=True) as caught, torch.random.fork_rng():
            warnings.simplefilter("always")
            torch.manual_seed(3)
            old = getattr(room, name)(torch.zeros(shape), *OLD[name])
            torch.manual_seed(3)
            new = getattr(room, f"{name}_")(torch.zeros(shape), *OLD[name])
        assert torch.equal(old, new)
        said += [(each.category, str(each.message), each.filename) for each in caught]
    assert (
        said[0]
        == said[1]
        == (FutureWarning, f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", __file__)
    )
    assert getattr(OURS, name).__name__ == name


def test_a_truncated_normal_far_from_its_mean_needs_no_warning_since_it_is_exact() -> None:
    tensor = OURS.trunc_normal_(torch.empty(10_000), mean=0.0, std=1.0, a=5.0, b=7.0, key=xn.Key(0, "w"))
    assert bool((tensor >= 5).all())
    # E[z | z > 5] of a standard normal: the density at 5 over the tail beyond it.
    tail = math.erfc(5 / math.sqrt(2)) / 2
    assert tensor.double().mean().item() == pytest.approx(math.exp(-12.5) / math.sqrt(2 * math.pi) / tail, abs=0.005)
    with pytest.warns(UserWarning, match="more than 2 std"), torch.random.fork_rng():
        THEIRS.trunc_normal_(torch.empty(3), mean=0.0, std=1.0, a=5.0, b=7.0)


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "init.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        with torch.random.fork_rng():
            exec(example, {})


def test_the_page_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "init.md").read_text()
    assert [name for name in OURS.__all__ if name.endswith("_") and f"`{name}(" not in page] == []
