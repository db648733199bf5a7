"""Build a model at once, and say its start in 32 digits that any machine, or any number of them, comes to as well."""

from torch import nn

import exnihilo as xn


def build():
    return nn.Sequential(nn.Embedding(50_000, 512), nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512))


model, plan = xn.record(build)  # runs the constructors as they are; nothing is drawn, large memory is not touched
print(f"{plan}\n")

xn.materialize(model, plan, seed=0)  # each element is written once
print(xn.fingerprint(model))

xn.init.trunc_normal_(model[1].weight, std=0.02, key=xn.Key(0, "1.weight"))  # torch.nn.init's names, with a key
print(f"{model[1].weight.std().item():.5f}")
