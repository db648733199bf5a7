"""Each parameter opens at the step that its products say, and at none where they say so; training shows the same."""

import closed
import moving
import pytest
import torch

import gated
from exnihilo.probes.fates import learning_of
from exnihilo.probes.openings import unit_norms
from exnihilo.probes.question import Question

TABLES = {**gated.OPENING, **gated.STUCK, **closed.CLOSED, **closed.ALIVE}


def made(name):
    torch.manual_seed(0)
    return TABLES[name]()


def learned(case, **options):
    return learning_of(case.model, Question(batch=case.batch, loss=case.loss, criterion=case.criterion), **options)


@pytest.mark.parametrize("name", TABLES)
def test_what_opens_and_when_is_what_a_derivation_by_hand_says(name):
    case = made(name)
    found = {o.parameter: (o.fate, o.step) for o in learned(case).openings}
    by_hand = {n: ("opens", case.steps.get(n, 1)) for n in found} | {n: (f, None) for n, f in case.closed.items()}
    assert found == by_hand


# A shift that a norm removes has no gradient in exact arithmetic, and a residue of rounding in float64.
ROUNDING = 1e-12


@pytest.mark.parametrize("name", TABLES)
def test_what_opens_is_what_thirty_steps_of_training_move(name):
    case = made(name)
    by_sgd, by_adam = moving.moved_by_sgd(case), moving.moved_by_adam(case)
    for opening in learned(case).openings:
        far = unit_norms(by_sgd[opening.parameter], opening.unit_dims)
        moved = unit_norms(by_adam[opening.parameter].double(), opening.unit_dims) > 0
        for part in opening.parts:
            for first, end in part.ranges:
                if part.fate == "opens":
                    assert bool(moved[first:end].all())
                else:
                    assert bool((far[first:end] < ROUNDING).all())
                    assert part.fate in {"invariant", "dead"} or not bool(moved[first:end].any())


def parts_of(opening):
    return {part.fate: part.ranges for part in opening.parts}


def test_of_a_packed_map_the_units_of_query_and_key_are_stuck_and_those_of_value_open():
    torch.manual_seed(0)
    found = learned(closed.zero_query_and_key_packed()).by_name["qkv.weight"]
    assert parts_of(found) == {"stuck": ((0, 2 * gated.D),), "opens": ((2 * gated.D, 3 * gated.D),)}


def test_of_a_packed_bias_the_key_is_invariant():
    torch.manual_seed(0)
    case = gated.Case(closed.Attention(packed=True), closed.tokens(), torch.nn.CrossEntropyLoss())
    found = learned(case).by_name["qkv.bias"]
    assert parts_of(found)["invariant"] == ((gated.D, 2 * gated.D),)


def test_rows_of_a_table_that_the_batch_lacks_are_unused():
    torch.manual_seed(0)
    case = closed.absent_words()
    seen = set(case.batch[0][:8].flatten().tolist())  # the probe looks at the first samples
    found = learned(case).by_name["table.weight"]
    unused = {row for first, end in parts_of(found)["unused"] for row in range(first, end)}
    assert unused == set(range(20)) - seen


def test_the_row_of_padding_is_unused():
    torch.manual_seed(0)
    (first, end), *_ = parts_of(learned(closed.padded_words()).by_name["table.weight"])["unused"]
    assert first == 0 < end


def test_a_small_gradient_does_not_underflow_in_its_size():
    """Squares of 1e-30 are zero in float32; the parameter opens at once, and its step is of the usual size."""
    case = gated.Case(Tiny(), gated.samples(), torch.nn.CrossEntropyLoss())
    found = learned(case)
    assert found.by_name["map.weight"].step == 1
    assert found.certified == "float32"
    assert 1e-34 < found.by_name["map.weight"].gradient < 1e-29


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.map, self.head = torch.nn.Linear(gated.D, gated.D), torch.nn.Linear(gated.D, 4)

    def forward(self, x):
        return self.head(x + 1e-30 * self.map(x))
