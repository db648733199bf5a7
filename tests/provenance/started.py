"""A model with a tie, saved and unsaved buffers, its start, and the text of a manifest with one value changed."""

import json

import torch
from torch import nn

import exnihilo as xn
from exnihilo.provenance.files import to_json

TOKENS = torch.zeros(2, 4, dtype=torch.long)


class Net(nn.Module):
    def __init__(self, width=8, dtype=torch.float32):
        super().__init__()
        self.embed = nn.Embedding(11, width, dtype=dtype)
        self.up, self.norm = nn.Linear(width, width, dtype=dtype), nn.BatchNorm1d(width, dtype=dtype)
        self.head = nn.Linear(width, 11, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight
        self.register_buffer("seen", torch.arange(3))
        self.register_buffer("scratch", torch.arange(3), persistent=False)

    def forward(self, tokens):
        x = self.up(self.embed(tokens))
        return self.head(torch.relu(self.norm(x.transpose(1, 2)).transpose(1, 2)))


def build():
    return Net()


def started(seed=3, keep=(), make=build):
    """A model right after a plan was applied, and its manifest."""
    model = make()
    plan = xn.plan(model, "he", example=TOKENS, keep=keep)
    xn.apply(plan, model, seed=seed)
    return model, xn.manifest(model, plan, seed=seed)


def edited(manifest, path, value):
    """The text of a manifest with one value changed; with ``...`` the value is taken out."""
    data = json.loads(to_json(manifest))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)
