"""What ``check`` says of models whose answer is known, and what its remedies do."""

import copy

import pytest
import torch
from torch import nn

from checked_models import CRITERION, Adapted, Attention, ResNet, Routed, filled, images, mlp, vectors, words, zero
from exnihilo import check, fix
from exnihilo.checks.fix import remedies_plan
from exnihilo.errors import CheckError, UnknownNameError


def checked(model, batch=None, **options):
    return check(model, batch or vectors(), criterion=CRITERION, **options)


def zeroed(model, *places):
    for place in places:
        zero(model[place].weight, model[place].bias)
    return model


def switched_off(model):
    nn.init.constant_(model[3].bias, -100.0)
    return model


def constant_pair():
    model = mlp(nn.Tanh)
    filled(0.1, model[0], model[3])
    return model


def no_scores():
    model = Attention()
    zero(model.query.weight, model.query.bias, model.key.weight, model.key.bias)
    return model


BROKEN = {
    "zero hidden": (lambda: zeroed(mlp(), 3), vectors, "stuck-saddle", {"3.weight"}),
    "both zero": (lambda: Adapted(["up", "down"]), vectors, "stuck-saddle", {"up.weight", "down.weight"}),
    "no scores": (no_scores, words, "stuck-saddle", {"query.weight", "key.weight"}),
    "no shortcut": (lambda: ResNet(skip=False), images, "stuck-saddle", {"norm2.weight"}),
    "switched off": (lambda: switched_off(mlp()), vectors, "dead-region", {"3.bias"}),
    "constant pair": (constant_pair, vectors, "twin-units", {"0.weight", "3.weight"}),
}


def loss_after(model, batch, steps=150):
    twin = copy.deepcopy(model)
    taking = torch.optim.Adam(twin.parameters(), lr=1e-2)
    for _ in range(steps):
        taking.zero_grad()
        loss = CRITERION(twin(batch[0]), batch[1])
        loss.backward()
        taking.step()
    return loss.item()


@pytest.mark.parametrize("case", BROKEN)
def test_the_cause_is_named_first_and_its_remedy_mends_it(case):
    make, given, code, roots = BROKEN[case]
    model, batch = make(), given()
    found = checked(model, batch)
    assert not found.ok
    assert found.findings[0].code == code
    assert found.findings[0].parameters[0] in roots
    remedy = found.findings[0].remedy
    assert remedy is not None
    assert remedy.verified
    before = loss_after(model, batch)
    fix(found, model)
    assert checked(model, batch).ok
    assert loss_after(model, batch) < min(0.3, before)


def test_zeros_in_twelve_products_are_all_named_and_mended():
    layers = [Adapted(["up", "down"]) for _ in range(12)]
    model = nn.Sequential(*(nn.Sequential(layer, nn.Linear(4, 16), nn.Tanh()) for layer in layers), nn.Linear(16, 4))
    found = checked(model)
    named = set(found.findings[0].parameters[: found.findings[0].num_roots])
    assert len({name.split(".")[0] for name in named}) == 12
    fix(found, model)
    assert checked(model).ok


@pytest.mark.parametrize("make", [lambda: Adapted(["up"]), ResNet, lambda: zeroed(mlp(), 5)])
def test_healthy_zeros_are_told_and_do_not_fail(make):
    model = make()
    found = checked(model, images() if isinstance(model, ResNet) else None)
    assert found.ok
    assert not found.with_severity("WARN")
    assert {finding.code for finding in found.findings} == {"opens-later"}


def test_a_normalized_router_fails_and_a_key_bias_does_not():
    found = checked(Routed(normalized=True))
    assert [(f.code, f.severity, f.parameters) for f in found.findings] == [
        ("never-matters", "FAIL", ("router.weight",))
    ]
    found = checked(Attention(), words())
    assert found.ok
    assert ("never-matters", "INFO", ("key.bias",)) in [(f.code, f.severity, f.parameters) for f in found.findings]


def test_what_is_suppressed_is_kept_and_does_not_count():
    model = zeroed(mlp(), 3)
    found = checked(model, suppress={"stuck-saddle": "pruned on purpose"})
    assert found.ok
    assert found.findings[0].suppressed == "pruned on purpose"
    assert not checked(model, suppress={"stuck-saddle:head.*": "another"}).ok
    with pytest.raises(UnknownNameError, match="Unknown rule 'stuck'"):
        checked(model, suppress={"stuck": "misspelled"})


def test_an_unsafe_remedy_is_applied_only_where_that_is_asked():
    model = mlp(nn.Tanh)
    with torch.no_grad():
        model[3].bias.copy_(torch.linspace(1e4, 2e4, 32))  # saturated to exactly zero slope, and not all one value
    found = checked(model)
    assert found.findings[0].code == "dead-region"
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(CheckError, match="no safe remedy"):
        fix(found, model)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    fix(found, model, unsafe=True)
    assert checked(model).ok


def test_the_remedies_are_a_plan_that_keeps_the_rest():
    model = Adapted(["up", "down"])
    plan = remedies_plan(checked(model), model)
    assert {row.parameter for row in plan.rows if row.action == "assign"} == {"down.weight"}
    assert len(plan.rows) == len(list(model.parameters()))


def test_the_effective_width_of_each_map_is_told():
    found = checked(constant_pair()).effective_width
    assert (found["0.weight"], found["3.weight"], found["5.weight"]) == (1, 32, 4)


def test_a_number_that_is_not_finite_is_found_where_it_begins():
    x, y = vectors()
    found = checked(mlp(), (x / 0.0, y)).findings
    assert [(f.code, f.severity) for f in found] == [("not-finite", "FAIL")]
    model = mlp()
    with torch.no_grad():
        model[3].weight[0, 0] = float("inf")
    assert checked(model).findings[0].parameters == ("3.weight",)

    class Log(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.second(torch.log(self.first(x) * 0.0))

    assert checked(Log()).findings[0].code == "not-finite"
