"""What ``record`` says of tensors that are written view by view, against many real draws."""

import collections
import random

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecordError
from exnihilo.schemes.spec import from_text

ROWS, COLUMNS, DRAWS = 6, 4, 400


def random_view(rng):
    """A function that takes the same view of any tensor of that shape."""
    match rng.randrange(6):
        case 0:
            return lambda whole: whole
        case 1:
            first = rng.randrange(ROWS)
            last = rng.randrange(first + 1, ROWS + 1)
            return lambda whole: whole[first:last]
        case 2:
            first = rng.randrange(COLUMNS)
            last = rng.randrange(first + 1, COLUMNS + 1)
            return lambda whole: whole[:, first:last]
        case 3:
            first = rng.randrange(2)
            return lambda whole: whole[first::2]
        case 4:
            first = rng.choice((0, ROWS // 2))
            return lambda whole: whole[first : first + ROWS // 2]
        case _:
            return lambda whole: whole.t()


def random_write(rng):
    """A function of a view, and of the same view of another tensor, that writes the first."""
    number = rng.choice((0.0, 1.0, 2.0, -0.5, 0.25))
    return rng.choice(
        (
            lambda view, other: view.fill_(number),
            lambda view, other: view.normal_(std=0.5),
            lambda view, other: view.uniform_(-1.0, 1.0),
            lambda view, other: view.mul_(number),
            lambda view, other: view.mul_(number),
            lambda view, other: view.add_(number),
            lambda view, other: view.copy_(other),
            lambda view, other: view.copy_(torch.zeros(view.shape)),
            lambda view, other: view.copy_(view.clone() * number),
        )
    )


def random_factory(rng):
    """A factory of two parameters whose views are written in a random order."""
    steps = [(rng.randrange(2), random_view(rng), random_write(rng)) for _ in range(rng.randrange(1, 7))]

    def build():
        both = (torch.empty(ROWS, COLUMNS).normal_(), torch.zeros(ROWS, COLUMNS))
        for which, view, write in steps:
            write(view(both[which]), view(both[1 - which]))
        return nn.ParameterList([nn.Parameter(one.clone()) for one in both])

    return build


def starts(model, plan):
    """Many starts of each parameter by its row."""
    for row in plan.rows:
        if row.scheme is None:
            yield model.get_parameter(row.parameter).detach().expand(DRAWS, ROWS, COLUMNS)
        else:
            scheme = from_text(row.scheme)
            draws = [scheme.sample(row.layout, xn.Key(seed, row.parameter)) for seed in range(DRAWS)]
            yield torch.stack(draws).reshape(DRAWS, ROWS, COLUMNS)


def joint(first, second):
    """The covariance of the same entries of two tensors."""
    return ((first - first.mean(0)) * (second - second.mean(0))).mean(0)


def test_views_written_in_any_order_are_told_as_they_are_drawn_or_refused():
    seen = collections.Counter()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for number in range(250):
            factory = random_factory(random.Random(number))
            try:
                model, plan = xn.record(factory)
            except RecordError:
                seen["refused"] += 1
                continue
            seen["told"] += 1
            built = [[one.clone() for one in factory()] for _ in range(DRAWS)]
            real = [torch.stack(values) for values in zip(*built, strict=True)]
            told = list(starts(model, plan))
            for mine, theirs in zip(told, real, strict=True):
                std = theirs.std(0)
                error = std / DRAWS**0.5 * 2**0.5 + 1e-5
                assert ((mine.mean(0) - theirs.mean(0)).abs() < 6.5 * error).all(), (number, plan.rows)
                assert ((mine.std(0) - std).abs() <= 0.3 * std + 1e-5).all(), (number, plan.rows)
            scale = real[0].std(0) * real[1].std(0)
            assert ((joint(*told) - joint(*real)).abs() <= 0.5 * scale + 1e-5).all(), (number, plan.rows)
    assert min(seen["told"], seen["refused"]) > 30


def halves(write):
    def build():
        layer = nn.Linear(8, 8)
        with torch.no_grad():
            write(layer.weight, *layer.weight.chunk(2))
        return layer

    return build


def with_identity(whole, first, second):
    first.normal_(std=0.02)
    second.copy_(torch.eye(4, 8))
    whole.mul_(0.5)


def alternate(whole, first, second):
    whole[0::2].uniform_(-1.0, 1.0)
    whole[1::2].copy_(torch.zeros(4, 8))
    whole.mul_(2.0)


def written_again(whole, first, second):
    whole.normal_()
    whole[1::2].add_(1.0)
    whole[0::2].copy_(torch.zeros(4, 8))
    whole.add_(0.0)


@pytest.mark.parametrize("write", [with_identity, alternate, written_again], ids=lambda write: write.__name__)
def test_laws_beside_other_values_are_refused_also_once_the_whole_is_changed(write):
    with pytest.raises(RecordError, match="cannot be told"):
        xn.record(halves(write))


def drawn_halves(whole, first, second):
    first.normal_(std=1.0)
    second.normal_(std=0.5)
    first.mul_(2.0)


def zero_half(whole, first, second):
    whole.copy_(torch.cat([torch.randn(4, 8), torch.zeros(4, 8)]).mul_(0.02))


@pytest.mark.parametrize(
    ("write", "scheme"),
    [
        (drawn_halves, "Weighted(base=Normal(std=2.0), factors=(1.0, 0.25), lengths=(4.0, 4.0))"),
        (zero_half, "Weighted(base=Normal(std=0.02), factors=(1.0, 0.0), lengths=(4.0, 4.0))"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_halves_that_are_changed_after_each_other_keep_their_laws(write, scheme):
    assert xn.record(halves(write)).plan.rows[0].scheme == scheme


def cancelled(whole, first, second):
    nn.init.xavier_uniform_(whole, gain=0.0)
    second.fill_(1.0)


def test_laws_without_any_spread_are_numbers():
    row = xn.record(halves(cancelled)).plan.rows[0]
    assert (row.action, row.reason) == ("keep", "written without drawing")
    assert xn.record(halves(lambda whole, first, second: whole.mul_(0.0))).plan.rows[0].scheme == "zeros"
    assert xn.record(halves(lambda whole, first, second: whole.uniform_(2.0, 2.0))).plan.rows[0].scheme == (
        "Constant(value=2.0)"
    )


def test_values_beside_a_law_that_became_a_number_are_those_of_the_factory():
    model, _ = xn.record(halves(cancelled))
    assert torch.equal(model.weight, torch.cat([torch.zeros(4, 8), torch.ones(4, 8)]))
