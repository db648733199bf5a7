"""A batched run is the run alone, and depends on nothing else."""

import math
from dataclasses import replace

import pytest
import torch
from plain_loops import train_alone

import exnihilo.lab.engine as engine
import exnihilo.lab.products as products
from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.engine import stack_key, train
from exnihilo.lab.records import Network, Optimizer, Run, Start
from exnihilo.lab.tasks import task_named

R, STEPS = 7, 40


def runs_of(
    task: str, network: Network, optimizer: str, *, batch_size: int = 32, start: str = "he_normal"
) -> list[Run]:
    """Runs that differ in rate, decay and seed, but can train together."""
    scale = 0.1 if optimizer in ("adam", "adamw") else 1.0
    return [
        Run(
            task=task,
            network=network,
            start=Start(name=start),
            optimizer=Optimizer(name=optimizer, weight_decay=0.01 * (index % 2)),
            lr=scale * 10 ** (-2.5 + 0.25 * index),
            seed=index // 2,
            steps=STEPS,
            batch_size=batch_size,
            evaluations=2,
            measurements=1,
        )
        for index in range(R)
    ]


def trained_stack(task_name: str, runs: list[Run]) -> engine._Stack:
    stack = engine._Stack(task_named(task_name), runs)
    stack.train()
    return stack


EXACT = [
    ("digits", Network(width=32), 32),
    ("digits", Network(width=128), 64),
    ("wine", Network(width=16, depth=3, activation="tanh"), 32),
    ("breast_cancer", Network(width=10, activation="sigmoid"), 20),
    ("spirals", Network(width=24, depth=3, activation="gelu", residual=True), 32),
    ("wine", Network(width=13, depth=4, activation="silu", residual=True), 30),
    ("diabetes", Network(width=32), 32),
    ("deep_linear", Network(width=8, activation="softplus"), 30),
    ("deep_linear", Network(width=16, depth=4, activation="linear"), 17),
]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize(
    ("task", "network", "batch_size"), EXACT, ids=lambda value: getattr(value, "label", str(value))
)
def test_a_batched_run_has_the_bits_of_a_plain_torch_loop(task, network, batch_size, optimizer) -> None:
    runs = runs_of(task, network, optimizer, batch_size=batch_size)
    stack = trained_stack(task, runs)
    for index, run in enumerate(runs):
        alone, _, _ = train_alone(task_named(task), run)
        assert alone.keys() == stack.tensors.keys()
        for name, value in alone.items():
            assert torch.equal(stack.tensors[name][index].nan_to_num(7e7), value.nan_to_num(7e7)), (name, run.lr)


@pytest.mark.parametrize("start", ["zeros", "torch_default", "xavier_uniform", "orthogonal", "constant"])
def test_the_bits_agree_for_every_kind_of_start(start: str) -> None:
    runs = runs_of("wine", Network(width=16, activation="sigmoid"), "momentum", start=start)
    stack = trained_stack("wine", runs)
    for index, run in enumerate(runs):
        alone, _, _ = train_alone(task_named("wine"), run)
        assert all(torch.equal(stack.tensors[name][index], value) for name, value in alone.items())


TOLERANT = [
    ("wine", Network(width=16, norm="batch")),
    ("wine", Network(width=16, norm="layer")),
    ("wine", Network(width=16, norm="weight")),
    ("wine", Network(width=16, dropout=0.2)),
    ("spirals", Network(width=16, depth=3, residual=True, norm="layer")),
    ("spirals", Network(width=16, depth=3, residual=True, gate=True)),
]
# Relative to the largest parameter of the run, after 40 steps at moderate rates: a few float32 roundings, grown.
TOLERANCE = 2e-4


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize(("task", "network"), TOLERANT, ids=lambda value: getattr(value, "label", str(value)))
def test_norms_dropout_and_gates_agree_with_torchs_modules_within_the_tolerance(task, network, optimizer) -> None:
    scale = 0.1 if optimizer == "adam" else 1.0
    runs = [replace(run, lr=scale * 0.02) for run in runs_of(task, network, optimizer)]
    records = train(task_named(task), runs)
    stack = trained_stack(task, runs)
    for index, run in enumerate(runs):
        alone, loss, score = train_alone(task_named(task), run)
        largest = max(float(value.abs().max()) for value in alone.values())
        for name, value in alone.items():
            if network.norm == "batch" and name.startswith("layers") and name.count(".") == 2 and "bias" in name:
                continue  # batch norm cancels this bias: its gradient is a rounding residue, which Adam blows up
            assert torch.allclose(stack.tensors[name][index], value, rtol=0.0, atol=TOLERANCE * largest), name
        assert records[index].test_loss == pytest.approx(loss, rel=1e-2)
        assert abs(records[index].test_score - score) <= 2 / 36


def test_the_cnn_agrees_with_torchs_modules_within_the_tolerance() -> None:
    network = Network(kind="cnn", width=4, depth=2)
    runs = [replace(run, steps=20, lr=0.05) for run in runs_of("digits", network, "momentum")][:3]
    stack = trained_stack("digits", runs)
    task = task_named("digits")
    for index, run in enumerate(runs):
        alone = _train_cnn(task, run)
        for name, value in alone.items():
            assert torch.allclose(stack.tensors[name][index], value, atol=TOLERANCE), name


def _train_cnn(task, run):
    from torch import nn

    from exnihilo.lab.batches import data_order
    from exnihilo.lab.networks import parameters
    from exnihilo.lab.starts import begin
    from exnihilo.lab.tasks import load, split

    values = begin(run.start, parameters(run.network, 64, 10, (1, 8, 8)), run.seed)
    first, second, head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Linear(8, 10)
    names = {"layers.0": first, "layers.1": second, "head": head}
    with torch.no_grad():
        for name, module in names.items():
            module.weight.copy_(values[f"{name}.weight"])
            module.bias.copy_(values[f"{name}.bias"])
    data = split(task, load(task), run.seed)
    model = nn.ModuleList(names.values())
    decay = run.optimizer.weight_decay
    optimizer = torch.optim.SGD(model.parameters(), lr=run.lr, momentum=0.9, weight_decay=decay)
    for rows in data_order(task.name, run.seed, len(data.train.inputs), run.batch_size, run.steps):
        h = data.train.inputs[rows].view(-1, 1, 8, 8)
        h = torch.relu(second(torch.relu(first(h)))).mean((2, 3))
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(h), data.train.targets[rows]).backward()
        optimizer.step()
    return {f"{n}.{p}": v.detach() for n, m in names.items() for p, v in m.named_parameters()}


INVARIANT = [
    Network(width=16),
    Network(width=13, activation="gelu"),
    Network(width=16, norm="batch"),
    Network(width=16, norm="layer", residual=True),
    Network(width=16, norm="weight"),
    Network(width=16, dropout=0.3),
]


@pytest.mark.parametrize("network", INVARIANT, ids=lambda network: network.label)
def test_records_depend_on_neither_chunk_nor_order_nor_company(network: Network) -> None:
    task = task_named("wine")
    runs = runs_of("wine", network, "momentum") + runs_of("wine", replace(network, width=8), "adam")
    together = train(task, runs)
    one_by_one = tuple(train(task, [run])[0] for run in runs)
    backwards = train(task, runs[::-1])[::-1]
    for a, b, c in zip(together, one_by_one, backwards, strict=True):
        assert repr(a) == repr(b) == repr(c)


def test_a_diverged_run_stays_alone_with_its_nan() -> None:
    runs = [replace(run, lr=0.05) for run in runs_of("digits", Network(width=16), "momentum")]
    wild = replace(runs[3], lr=1e12)
    mixed = train(task_named("digits"), [*runs[:3], wild, *runs[4:]])
    calm = train(task_named("digits"), runs)
    assert mixed[3].diverged and math.isnan(mixed[3].train_loss[-1])
    assert not any(record.diverged for index, record in enumerate(mixed) if index != 3)
    assert mixed[:3] == calm[:3] and mixed[4:] == calm[4:]


def test_products_fall_back_to_single_ones_where_the_batched_ones_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_affine_agrees", "_weight_gradient_agrees", "_input_gradient_agrees"):
        monkeypatch.setattr(products, name, lambda *shape: False)
    runs = runs_of("digits", Network(width=32), "momentum")
    slow = trained_stack("digits", runs)
    monkeypatch.undo()
    fast = trained_stack("digits", runs)
    assert all(torch.equal(slow.tensors[name].nan_to_num(), fast.tensors[name].nan_to_num()) for name in fast.tensors)


def test_an_all_zero_relu_network_moves_nothing_but_the_bias_of_its_head() -> None:
    stack = trained_stack("digits", runs_of("digits", Network(width=16, depth=3), "adam", start="zeros"))
    for name, tensor in stack.tensors.items():
        assert bool((tensor != 0).any()) == (name == "head.bias"), name


def test_records_say_what_an_all_zero_network_does() -> None:
    relu, sigmoid = (
        train(task_named("wine"), runs_of("wine", Network(width=16, activation=name), "sgd", start="zeros"))[0]
        for name in ("relu", "sigmoid")
    )
    assert not relu.moved and sigmoid.moved
    assert relu.zero_weights == (1.0, 1.0) and relu.zero_activations == (1.0, 1.0)
    assert relu.dead_units == ((1.0, 1.0),) * 2
    assert relu.effective_width == sigmoid.effective_width == ((1, 1), (1, 1))
    assert relu.gradient_norm[1] == (0.0, 0.0, 0.0)
    assert sigmoid.gradient_norm[0][:2] == (0.0, 0.0) and sigmoid.gradient_norm[0][2] > 0.0
    assert sigmoid.gradient_norm[1][0] > 0.0


def test_global_random_state_is_neither_read_nor_written() -> None:
    runs = runs_of("wine", Network(width=8, dropout=0.2), "sgd")[:2]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = train(task_named("wine"), runs)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert train(task_named("wine"), runs) == first


def test_runs_train_together_only_if_their_shapes_agree() -> None:
    run = runs_of("wine", Network(), "sgd")[0]
    assert stack_key(run) == stack_key(replace(run, lr=1.0, seed=9, start=Start(name="zeros")))
    for change in ({"network": Network(width=8)}, {"steps": 7}, {"batch_size": 8}, {"task": "digits"}):
        assert stack_key(run) != stack_key(replace(run, **change))


def test_a_run_of_another_task_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"Run.task is 'wine', and the task given is 'digits'"):
        train(task_named("digits"), runs_of("wine", Network(), "sgd"))


def test_a_batch_beyond_the_training_rows_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"Run.batch_size is 500, and task 'wine' has 1\d\d training rows"):
        train(task_named("wine"), runs_of("wine", Network(), "sgd", batch_size=500))


def test_a_start_without_a_home_is_refused() -> None:
    run = replace(runs_of("wine", Network(), "sgd")[0], start=Start(name="zero_residual"))
    with pytest.raises(InvalidValueError, match="zeroes RESIDUAL_OUT, and the network has no such parameter"):
        train(task_named("wine"), [run])


def test_an_unknown_start_is_named_with_its_nearest() -> None:
    run = replace(runs_of("wine", Network(), "sgd")[0], start=Start(name="zero_hed"))
    with pytest.raises(UnknownNameError, match=r"Unknown start 'zero_hed'. Did you mean 'zero_head'\?"):
        train(task_named("wine"), [run])


def test_a_rate_that_is_not_positive_is_refused_when_the_run_is_built() -> None:
    with pytest.raises(InvalidValueError, match=r"Run.lr is 0.0; a learning rate must be positive and finite"):
        replace(runs_of("wine", Network(), "sgd")[0], lr=0.0)


def test_batch_norm_on_batches_of_one_is_refused_when_the_run_is_built() -> None:
    run = runs_of("wine", Network(norm="batch"), "sgd")[0]
    with pytest.raises(InvalidValueError, match=r"Run\.batch_size is 1, and the network has batch norm"):
        replace(run, batch_size=1)
