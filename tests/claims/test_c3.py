"""The verdict on C3 follows the measured balance and the trained comparisons."""

from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn
from worlds import SMALL, found_in

from exnihilo.claims import c3
from exnihilo.claims.balance import ROWS, Balance, balances
from exnihilo.claims.c3 import ACTIVATIONS, CLAIM, DEPTHS, MEASURED_STARTS, MIXED, XAVIER, measure
from exnihilo.claims.clauses import of_clause
from exnihilo.lab.networks import parameters
from exnihilo.lab.records import Network
from exnihilo.lab.starts import begin
from exnihilo.lab.tasks import load, split, task_named


def measured(lost: tuple[str, ...], ratio: float = 1e-4) -> tuple[Balance, ...]:
    return tuple(
        Balance(activation=name, depth=depth, start=start, task=task, seed=0, ratio=ratio if name in lost else 1.0)
        for name in (*ACTIVATIONS, MIXED)
        for depth in DEPTHS
        for start in MEASURED_STARTS
        for task in SMALL.tasks
    )


def answer_in(*, lost: tuple[str, ...], tanh: float = 0.9, others: float = 0.9):
    """An answer where these activations lose the balance, and Xavier reaches these test accuracies (the others 0.9)."""

    def world(run):
        own = tanh if run.network.activation == "tanh" else others
        return {"test_score": (own if run.start.name == "xavier_normal" else 0.9) - run.seed % 7 / 1e4}

    return CLAIM.answer(found_in(CLAIM, world, measured=measured(lost)))


@pytest.mark.parametrize(
    ("lost", "tanh", "others", "verdict"),
    [
        ((MIXED,), 0.9, 0.5, "supported"),
        (ACTIVATIONS, 0.5, 0.95, "refuted"),
        (("relu", MIXED), 0.9, 0.5, "depends"),
        ((), 0.9, 0.9, "depends"),
    ],
)
def test_the_verdict_follows_balance_and_accuracy(lost, tanh, others, verdict) -> None:
    assert answer_in(lost=lost, tanh=tanh, others=others).verdict == verdict


def test_one_place_that_is_worse_is_enough_for_some_activations() -> None:
    def world(run):
        worse = run.start.name == "xavier_normal" and run.network.activation == "relu" and run.task == "wine"
        return {"test_score": (0.5 if worse else 0.9) - run.seed % 7 / 1e4}

    answer = CLAIM.answer(found_in(CLAIM, world, measured=measured(())))
    [cell] = of_clause(answer.evidence.cells, "fails with some activations")
    assert cell.supports is True
    assert "in 1 of 8 places: 6x16 relu wine." in cell.finding


def test_noise_leaves_open_whether_some_activation_fails() -> None:
    def world(run):
        xavier = run.start.name == "xavier_normal"
        return {"test_score": 0.5 + (0.4 if xavier else -0.4) * (1 if run.seed % 2 else -1)}

    answer = CLAIM.answer(found_in(CLAIM, world, measured=measured(())))
    [cell] = of_clause(answer.evidence.cells, "fails with some activations")
    assert cell.supports is None


@pytest.mark.parametrize(("ratio", "holds"), [(0.11, True), (9.0, True), (0.09, False), (11.0, False)])
def test_balance_is_within_a_factor_of_ten_either_way(ratio: float, holds: bool) -> None:
    def world(run):
        return {}

    answer = CLAIM.answer(found_in(CLAIM, world, measured=measured(("tanh",), ratio)))
    first = of_clause(answer.evidence.cells, "balanced gradients")[0]
    assert first.where == "balanced gradients · tanh · 2 layers"
    assert first.supports is holds


def test_the_balance_is_that_of_autograd_through_modules() -> None:
    """The same quantity by real modules and their hooks, and by the product of the layers' Jacobians."""
    [found] = balances(("tanh",), (3,), (XAVIER,), tasks=("wine",), seeds=(0,), width=8)
    task = task_named("wine")
    values = begin(XAVIER, parameters(Network(depth=3, width=8), 13, 3), 0)
    names = ("layers.0", "layers.1", "layers.2", "head")
    linears = [nn.Linear(*reversed(values[f"{name}.weight"].shape)) for name in names]
    seen: list[torch.Tensor] = []
    for linear, name in zip(linears, names, strict=True):
        linear.load_state_dict({"weight": values[f"{name}.weight"], "bias": values[f"{name}.bias"]})
        linear.register_full_backward_hook(lambda _m, _i, out: seen.append(out[0]))
    net = nn.Sequential(*(part for linear in linears[:-1] for part in (linear, nn.Tanh())), linears[-1])
    part = split(task, load(task), 0).train
    net_inputs = part.inputs[:ROWS].clone().requires_grad_()
    nn.functional.cross_entropy(net(net_inputs), part.targets[:ROWS]).backward()
    _head, last, _middle, lowest = seen
    assert found.ratio == pytest.approx((lowest.norm() / last.norm()).item(), rel=1e-5)
    assert prod(lowest.shape) == prod(last.shape)


def test_the_balance_is_measured_on_the_preset_s_tasks_and_the_seed_s_own_splits_and_draws(monkeypatch) -> None:
    monkeypatch.setattr(c3, "ACTIVATIONS", ("tanh",))
    monkeypatch.setattr(c3, "DEPTHS", (2,))
    wine = replace(SMALL, tasks=("wine",))
    first, other = measure(wine, 0), measure(wine, 1)
    assert {of.task for of in (*first, *other)} == {"wine"}
    assert {of.seed for of in first}.isdisjoint(of.seed for of in other)
    assert {of.ratio for of in first}.isdisjoint(of.ratio for of in other)


def test_activations_joined_by_plus_take_turns() -> None:
    def ratio(names: str) -> float:
        return balances((names,), (2,), (XAVIER,), tasks=("wine",), seeds=(0,), width=8)[0].ratio

    assert len({ratio(names) for names in ("tanh+relu", "relu+tanh", "tanh", "relu")}) == 4
    assert ratio("tanh+tanh") == ratio("tanh")


def test_seeds_that_disagree_leave_the_balance_open() -> None:
    mixed = tuple(replace(of, ratio=1e-4) if of.task == "wine" else of for of in measured(()))
    cells = CLAIM.answer(found_in(CLAIM, lambda run: {}, measured=mixed)).evidence.cells
    assert {cell.supports for cell in of_clause(cells, "balanced gradients")} == {None}
    assert {cell.supports for cell in of_clause(cells, "fails where activations vary")} == {None}
