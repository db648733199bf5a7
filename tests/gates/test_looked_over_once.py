"""A model with many gates is looked over once: a thousand blocks must not take a thousand times as long."""

import pytest
import torch
from torch import Tensor, nn

from exnihilo import apply, fuse, plan


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


def looks(num_blocks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the modules of a model are listed while Fixup's numbers are attached and folded in."""
    model = nn.Sequential(nn.Linear(4, 4), *(Block() for _ in range(num_blocks)), nn.Linear(4, 2))
    made = plan(model, "fixup", example=torch.zeros(2, 4))
    count = 0
    listed = nn.Module.named_modules

    def counted(self, *args, **options):
        nonlocal count
        count += self is model and not options.get("prefix") and not args
        return listed(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "named_modules", counted)
        apply(made, model, seed=0)
        fuse(model)
    return count


def test_the_number_of_gates_does_not_count(monkeypatch: pytest.MonkeyPatch):
    assert 0 < looks(3, monkeypatch) == looks(12, monkeypatch)
