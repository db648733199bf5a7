"""Public bugs, rebuilt: each is really there, and is found, named and mended."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.check.real_bugs import BUGS  # found through the path above
from torch import nn  # below what makes it importable

from exnihilo import check  # the same

VISIBLE = [bug for bug in BUGS if not bug.hidden]


def subject_of(bug, *, fixed):
    subject = bug.subject(fixed=fixed)
    if bug.by_factory and not fixed:
        for name in bug.parameters:  # what such memory holds is chance: here nothing strange
            nn.init.normal_(dict(subject.model.named_parameters())[name], std=0.1)
    return subject


def checked(bug, *, fixed):
    subject = subject_of(bug, fixed=fixed)
    factory = (bug.fixed if fixed else bug.buggy) if bug.by_factory else None
    return check(subject.model, subject.batch, subject.loss, factory=factory)


@pytest.mark.parametrize("bug", VISIBLE, ids=lambda bug: bug.source)
def test_a_bug_is_found_and_named_first(bug):
    found = checked(bug, fixed=False).with_severity("FAIL", "WARN")
    assert found
    assert found[0].parameters[0] in bug.parameters


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.source)
def test_its_fix_is_quiet(bug):
    assert checked(bug, fixed=True).with_severity("FAIL", "WARN") == ()


def hangs_on_neighbors(subject):
    if not isinstance(subject.batch, tuple):
        return False
    model, x = subject.model.eval(), subject.batch[0]
    with torch.no_grad():
        alone = [model(part)[-1] for part in (x, torch.cat([x[:-1].flip(0), x[-1:]]))]
    return not torch.allclose(*alone, atol=1e-4)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # the very bug of one of them
@pytest.mark.parametrize("bug", [b for b in VISIBLE if not b.by_factory], ids=lambda bug: bug.source)
def test_training_shows_the_bug_too(bug):
    """The buggy one keeps a parameter still or units equal, begins or ends with far more loss than the fixed, or lets a
    sample's output hang on its neighbors.
    """
    first, last, still, distinct, hangs = [], [], [], [], []
    for fixed in (False, True):
        subject = subject_of(bug, fixed=fixed)
        before = {n: p.detach().clone() for n, p in subject.model.named_parameters()}
        taking = torch.optim.SGD([p for p in subject.model.parameters() if p.requires_grad], lr=0.1)
        losses = []
        for _ in range(30):
            taking.zero_grad()
            loss = subject.loss(subject.model, subject.batch)
            loss.backward()
            taking.step()
            losses.append(loss.item())
        after = dict(subject.model.named_parameters())
        first.append(losses[0])
        last.append(losses[-1])
        named = [n for n in bug.parameters if n in before]  # a tied tensor has one name here
        still.append(sum(float((after[n].detach() - before[n]).abs().max()) < 1e-7 for n in named))
        rows = after[bug.parameters[0]].detach().flatten(1) if after[bug.parameters[0]].dim() > 1 else torch.zeros(1, 1)
        distinct.append(len({tuple(row) for row in (rows * 1e5).round().tolist()}))
        hangs.append(hangs_on_neighbors(subject))
    assert (
        hangs[0] > hangs[1]
        or still[0] > still[1]
        or distinct[0] < distinct[1]
        or first[0] > 2 * first[1]
        or last[0] > 1.1 * last[1]
    )
