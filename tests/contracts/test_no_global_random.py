"""No line of the package reads or writes a global random state: every draw takes a key or a generator.

One line hands on the generator of its caller, who may have given none: exnihilo.init draws its seeds as torch.nn.init
draws its numbers.
"""

import ast

import imports
import pytest

# What torch draws from its default generator unless one is passed.
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson", "rand_like"} | {
    "randn_like",
    "randint_like",
    "dropout",
    "alpha_dropout",
    "feature_dropout",
    "rrelu",
}
TORCH_STATE = {"manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "fork_rng", "default_generator"}
IN_PLACE_DRAWS = {
    "normal_",
    "uniform_",
    "bernoulli_",
    "random_",
    "exponential_",
    "cauchy_",
    "geometric_",
    "log_normal_",
}
# NumPy's functions of numpy.random that only make generators.
NUMPY_GENERATORS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}


def dotted(node):
    """``a.b.c`` of an attribute chain, or None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def global_draws(source):
    """Each use of a global random state, as ``line: what``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [
                f"{node.lineno}: imports {name}" for name in names if name in {"random", "numpy.random", "secrets"}
            ]
        name = dotted(node) if isinstance(node, ast.Attribute) else None
        if name is None:
            continue
        root, last = name.partition(".")[0], name.rpartition(".")[2]
        is_numpy_draw = name.startswith(("np.random.", "numpy.random.")) and last not in NUMPY_GENERATORS
        if is_numpy_draw or (root == "torch" and last in TORCH_STATE) or name == "os.urandom":
            found.append(f"{node.lineno}: {name}")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "generator" for keyword in node.keywords):
            continue
        name = dotted(node.func) or (f"?.{node.func.attr}" if isinstance(node.func, ast.Attribute) else "")
        root, last = name.partition(".")[0], name.rpartition(".")[2]
        unseeded = name.endswith("random.default_rng") and not (node.args or node.keywords)
        if (root in {"torch", "F", "functional"} and last in TORCH_DRAWS) or last in IN_PLACE_DRAWS or unseeded:
            found.append(f"{node.lineno}: {name}() without a generator")
    return found


# The states are read and written here to put them back after a user's own code has run.
RESTORES = "exnihilo.structure.randomness"


@pytest.mark.parametrize("module", sorted(set(imports.modules()) - {RESTORES}))
def test_no_module_uses_a_global_random_state(module):
    assert global_draws(imports.modules()[module].read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import random",
        "from random import shuffle",
        "np.random.normal(0, 1)",
        "np.random.default_rng()",
        "torch.manual_seed(0)",
        "torch.random.fork_rng()",
        "torch.randn(3)",
        "torch.nn.init.normal_(w)",
        "w.data.uniform_(-1, 1)",
        "layers[0].weight.normal_()",
        "torch.nn.functional.dropout(x, 0.5)",
        "F.dropout(x, 0.5)",
    ],
)
def test_a_use_of_a_global_random_state_is_found(line):
    assert len(global_draws(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng(3)",
        "torch.randn(3, generator=g)",
        "w.normal_(generator=g)",
        "normal(key, 3)",
        "scheme.normal(2)",
    ],
)
def test_a_keyed_or_generated_draw_is_not_reported(line):
    assert global_draws(line) == []
