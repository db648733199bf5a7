"""What ``record`` says of values that are made of the same draw, by the correlations of real ones."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecordError
from exnihilo.schemes.spec import from_text


def factory_of(make):
    """A factory of one or two parameters that a function makes as tensors."""

    def build():
        made = make()
        return nn.ParameterList([nn.Parameter(one) for one in (made if isinstance(made, tuple) else (made,))])

    return build


def sigmoid_inverse():
    u = torch.rand(4000)
    return torch.log(u) - torch.log(1 - u)


def log_of_odds():
    u = torch.rand(4000)
    return torch.log(u / (1 - u))


def parabola():
    u = torch.rand(4000)
    return u * (1 - u)


def negative_square():
    z = torch.randn(4000)
    return z * (-z)


def shifted_product():
    z = torch.randn(4000)
    return (z * 2 + 1) * (z * 2 + 1).exp().clamp(max=5.0)


@pytest.mark.parametrize(
    "make", [sigmoid_inverse, log_of_odds, parabola, negative_square, shifted_product], ids=lambda make: make.__name__
)
def test_formulas_of_what_has_one_law_and_is_not_the_same_are_those_of_the_draw(make):
    row = xn.record(factory_of(make)).plan.rows[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        real = torch.cat([make() for _ in range(8)])
    told = from_text(row.scheme).sample(row.layout, xn.Key(0, "w"))
    shares = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    spread = real.std()
    assert told.quantile(shares).tolist() == pytest.approx(real.quantile(shares).tolist(), abs=0.1 * spread.item())
    assert row.expected_std == pytest.approx(spread.item(), rel=0.1)


def negated():
    w = torch.randn(50)
    return w, -w


def reflected():
    u = torch.rand(50)
    return u.clone(), 1 - u


def through_quantiles():
    u = torch.rand(50)
    return 2 * u - 1, torch.erfinv(2 * u - 1)


def thinned_apart():
    w = torch.randn(40, 1)
    both = w.clone(), w.clone()
    for one in both:
        one[torch.randperm(40)[:10], 0] = 0
    return both


def changed_without_end():
    w = torch.randn(50)
    a, b = w.clone(), w.clone()
    for _ in range(300):
        a.mul_(-1.0)
        b.mul_(-1.0)
    return a, b.neg_()


APART = [negated, reflected, through_quantiles, thinned_apart, changed_without_end]


@pytest.mark.parametrize("make", APART, ids=lambda make: make.__name__)
def test_a_copy_that_is_changed_afterwards_is_refused(make):
    with pytest.raises(RecordError, match="of entries that 0 holds too"):
        xn.record(factory_of(make))


def alike():
    w = torch.rand(50)
    return w.clone().mul_(2).sub_(1).erfinv_(), w.clone().mul_(2).sub_(1).erfinv_()


def sparse():
    w = nn.init.sparse_(torch.empty(40, 3), 0.25)
    return w, w.clone()


@pytest.mark.parametrize("make", [alike, sparse], ids=lambda make: make.__name__)
def test_copies_that_are_changed_alike_are_copies(make):
    model, plan = xn.record(factory_of(make))
    assert plan.rows[1].scheme.startswith("Shared(")
    xn.materialize(model, plan, seed=0)
    assert torch.equal(model[0], model[1])


def cast():
    return (torch.rand(200) * 2).long().float()


def cast_in_place():
    return torch.zeros(200, dtype=torch.int32).copy_(torch.rand(200) * 8).float()


def seen_as_bits():
    return torch.randn(200).view(torch.int32).float()


@pytest.mark.parametrize("make", [cast, cast_in_place, seen_as_bits], ids=lambda make: make.__name__)
def test_a_law_of_real_numbers_is_none_of_whole_ones(make):
    with pytest.raises(RecordError, match="cannot be told"):
        xn.record(factory_of(make))


def one_permutation():
    w, places = torch.randn(40, 3), torch.randperm(40)[:10]
    for column in range(3):
        w[places, column] = 0
    return w


def two_parts_of_one():
    w, places = torch.randn(40, 2), torch.randperm(40)
    w[places[:10], 0] = 0
    w[places[10:20], 1] = 0
    return w


def one_permutation_for_two():
    first, second, places = torch.randn(40, 1), torch.randn(40, 1), torch.randperm(40)[:10]
    first[places, 0] = 0
    second[places, 0] = 0
    return first, second


def one_place_many_times():
    w = torch.randn(40, 1)
    w[torch.randperm(40)[:1].expand(10), 0] = 0
    return w


def spread_out():
    return torch.randn(1, 4).expand(3, 4)


def overlapping():
    return torch.randn(10).unfold(0, 4, 2)


JOINT = [
    one_permutation,
    two_parts_of_one,
    one_permutation_for_two,
    one_place_many_times,
    spread_out,
    overlapping,
]


@pytest.mark.parametrize("make", JOINT, ids=lambda make: make.__name__)
def test_entries_that_depend_on_each_other_are_refused(make):
    with pytest.raises(RecordError, match="cannot be told"):
        xn.record(factory_of(make))


class Box:
    def __init__(self, content):
        self.content = content


class SlottedBox:
    __slots__ = ("content",)

    def __init__(self, content):
        self.content = content


@pytest.mark.parametrize(
    "hold",
    [
        lambda: Box(torch.randn(5)),
        lambda: [SlottedBox({"a": [torch.randn(5)]})],
        lambda: [nn.Linear(5, 5)],  # in a list, which registers nothing
        lambda: {"a": Box({torch.randn(5)})},
    ],
)
def test_drawn_values_are_found_in_whatever_a_module_holds(hold):
    def build():
        layer = nn.Linear(4, 4)
        layer.box = hold()
        return layer

    with pytest.raises(RecordError, match="box: no parameter"):
        xn.record(build)


def test_an_object_that_refers_to_itself_and_to_the_model_is_no_obstacle():
    def build():
        layer = nn.Linear(4, 4)
        layer.box = Box([layer.weight, torch.ones(3)])
        layer.box.content += [layer.box, [layer]]
        return layer

    assert xn.record(build).plan.rows[0].scheme == "Uniform(bound=0.5)"


@pytest.mark.parametrize(
    ("make", "scheme"),
    [
        (lambda: torch.rsub(torch.tensor(2.0), torch.randn(9)), "Normal(std=1.0, mean=-2.0)"),
        (lambda: torch.rsub(torch.randn(9), torch.tensor(2.0)), "Normal(std=1.0, mean=2.0)"),
        (lambda: torch.tensor(2.0) - torch.randn(9), "Normal(std=1.0, mean=2.0)"),
        (lambda: torch.randn(9) - torch.tensor(2.0), "Normal(std=1.0, mean=-2.0)"),
        (lambda: 2.0 - torch.randn(9), "Normal(std=1.0, mean=2.0)"),
    ],
)
def test_a_difference_has_the_mean_that_its_order_gives(make, scheme):
    assert xn.record(factory_of(make)).plan.rows[0].scheme == scheme


@pytest.mark.parametrize("size", [4, 2**18])
@pytest.mark.parametrize("mixed", [False, True])
def test_zeros_with_a_sign_stay_as_they_are(size, mixed):
    def make():
        zeros = torch.full((size,), -0.0)
        if mixed:
            zeros[0] = 0.0
        return zeros

    model, plan = xn.record(factory_of(make))
    xn.materialize(model, plan, seed=0)
    assert torch.equal(torch.signbit(model[0]), torch.signbit(make()))


def test_numbers_of_eight_bits_are_recorded():
    plan = xn.record(factory_of(lambda: torch.ones(4).to(torch.float8_e4m3fn))).plan
    assert plan.rows[0].scheme == "ones"
