"""Read a model, plan its start, apply it, and see that it holds."""

from models import llama
from torch import nn

import exnihilo as xn

model, example = llama()
structure = xn.read(model, example)
print(structure)

plan = xn.plan(model, "zero-residual", structure=structure)
print(f"\n{plan}\n")  # a table to review: nothing is written yet

applied = xn.apply(plan, model, seed=0)
print(xn.certify(model, example))

nn.init.eye_(model.blocks[0].o.weight)  # as a later `model.apply(init)` would
print(xn.survived(applied, model))
