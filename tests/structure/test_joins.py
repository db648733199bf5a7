"""Where a trained path joins a frozen trunk, and which map alone feeds another: truths written by hand."""

import torch
from torch import nn

from exnihilo.structure.reader import read


def joins(model, *example):
    return {p.name for p in read(model, example).parameters if p.joins}


def fed(model, *example):
    return {p.name: p.fed_by for p in read(model, example).parameters if p.fed_by}


class Beside(nn.Module):
    """A frozen map and a trained path beside it; ``scaled`` by a number, ``read`` elsewhere, ``shifted`` behind."""

    def __init__(self, frozen=True, sub=False):
        super().__init__()
        self.trunk, self.one, self.two = (nn.Linear(4, 4) for _ in range(3))
        self.trunk.requires_grad_(not frozen)
        self.sub = sub

    def forward(self, x):
        path = 0.5 * self.two(torch.relu(self.one(x)))
        return self.trunk(x) - path if self.sub else self.trunk(x) + path


X = torch.zeros(2, 4)


def test_the_last_trained_map_joins_and_where_nothing_is_frozen_none_does():
    assert joins(Beside(), X) == joins(Beside(sub=True), X) == {"two.weight"}
    assert joins(Beside(frozen=False), X) == set()


def test_a_second_path_joins_what_the_first_has_joined():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Beside(), Beside()

        def forward(self, x):
            return self.second(self.first(x))

    assert joins(Twice(), X) == {"first.two.weight", "second.two.weight"}


def test_what_is_added_to_a_trained_stream_or_to_the_input_itself_does_not_join():
    class Trained(Beside):
        def forward(self, x):
            return self.trunk(self.one(x)) + self.two(x)

    class Raw(Beside):
        def forward(self, x):
            return self.trunk(x + self.two(x))

    assert joins(Trained(), X) == joins(Raw(), X) == set()


def test_a_path_that_an_activation_lifts_or_a_bias_of_the_trunk_ends_does_not_join():
    class Lifted(Beside):
        def forward(self, x):
            return self.trunk(x) + torch.sigmoid(self.two(x))

    class Ended(Beside):
        def __init__(self, bias):
            super().__init__()
            self.end = nn.Linear(4, 4, bias=bias).requires_grad_(False)

        def forward(self, x):
            return self.trunk(x) + self.end(self.two(x))

    assert joins(Lifted(), X) == joins(Ended(bias=True), X) == set()
    assert joins(Ended(bias=False), X) == {"two.weight"}


def test_a_map_is_fed_by_another_where_nothing_else_is_on_the_way():
    class Read(Beside):
        def forward(self, x):
            h = self.one(x)
            return self.two(torch.relu(h)) + h

    class Lifted(Beside):
        def forward(self, x):
            return self.two(torch.sigmoid(self.one(x)))

    class Summed(Beside):
        def forward(self, x):
            return self.two(self.one(x) + x)

    class Again(Beside):
        def forward(self, x):
            return self.two(self.one(x)) + self.one(2 * x)

    class Beset(Beside):
        """Zeros of the first map are half of what the second reads."""

        def forward(self, x):
            return self.two(torch.cat([self.one(x)[:, :2], torch.ones(len(x), 2)], -1))

    assert fed(Beside(), X) == {"two.weight": "one.weight"}
    assert [fed(kind(), X) for kind in (Read, Lifted, Summed, Again, Beset)] == [{}] * 5
