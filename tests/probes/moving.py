"""Which elements move, seen by training: plain loops over ``torch.optim`` in float64, which know nothing of the probes.

SGD moves an element by its gradient, so a residue of rounding moves it by next to nothing. Adam with an epsilon that is
next to nothing moves every element whose gradient is not exactly zero, however small.
"""

import copy

import torch

STEPS = 30


def trained(case, make_optimizer, steps=STEPS):
    """The values before and after some steps of training in float64."""
    torch.manual_seed(0)
    model = copy.deepcopy(case.model).double().train()
    batch = doubled(case.batch)
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad])
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(case, model, batch).backward()
        optimizer.step()
    after = dict(model.named_parameters())
    return {name: (value, after[name].detach()) for name, value in before.items()}


def loss_of(case, model, batch):
    if case.loss is not None:
        return case.loss(model, batch)
    if case.criterion is None:
        return model(**batch).loss
    given, target = batch
    output = model(*given) if isinstance(given, tuple) else model(**given) if isinstance(given, dict) else model(given)
    return case.criterion(output, target)


def doubled(batch):
    if isinstance(batch, torch.Tensor):
        return batch.double() if batch.is_floating_point() else batch
    if isinstance(batch, dict):
        return {key: doubled(value) for key, value in batch.items()}
    return type(batch)(doubled(value) for value in batch) if isinstance(batch, tuple | list) else batch


def moved_by_sgd(case, lr=0.05):
    """For each parameter how far its elements went, as a share of the farthest of all."""
    pairs = trained(case, lambda parameters: torch.optim.SGD(parameters, lr=lr))
    farthest = max(float((b - a).abs().max()) for a, b in pairs.values()) or 1.0
    return {name: (b - a).abs() / farthest for name, (a, b) in pairs.items()}


def moved_by_adam(case, lr=1e-3):
    """For each parameter which elements moved at all."""
    pairs = trained(case, lambda parameters: torch.optim.Adam(parameters, lr=lr, eps=1e-200))
    return {name: a != b for name, (a, b) in pairs.items()}
