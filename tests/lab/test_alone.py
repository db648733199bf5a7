"""A model's run is the loop that one would write by hand, depends on its configuration alone, and is kept whole."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import exnihilo as xn
from exnihilo.errors import ExnihiloError, InvalidValueError, UnknownNameError
from exnihilo.lab import alone, engine, training
from exnihilo.lab.adapted import AdaptedMLP
from exnihilo.lab.batches import data_order
from exnihilo.lab.characters import ALPHABET, characters
from exnihilo.lab.models import STARTS, build, example, start_of
from exnihilo.lab.packing import pack, unpack
from exnihilo.lab.records import Model, Network, Optimizer, Run, Start
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import load, split, task_named
from exnihilo.structure.randomness import undisturbed

STEPS, BATCH = 6, 16
SMALL = {
    "residual_mlp": Model(family="residual_mlp", depth=2, width=8),
    "residual_cnn": Model(family="residual_cnn", depth=2, width=4),
    "plain_cnn": Model(family="plain_cnn", depth=2, width=4, activation="tanh"),
    "transformer": Model(family="transformer", depth=2, width=8),
    "adapted_mlp": Model(family="adapted_mlp", depth=2, width=16),
}
TASK = {family: "characters" if family == "transformer" else "digits" for family in SMALL}


def run_of(family: str, start: str = "default", *, optimizer: str = "adam", lr: float = 0.01, seed: int = 3) -> Run:
    return Run(
        task=task_named(TASK[family]).name,
        network=SMALL[family],
        start=Start(name=start),
        optimizer=Optimizer(name=optimizer),
        lr=lr,
        seed=seed,
        steps=STEPS,
        batch_size=BATCH,
        evaluations=2,
        measurements=1,
    )


def by_hand(run: Run) -> tuple[float, float]:
    """The last training loss and the test score of a run, by a loop of its own."""
    task = task_named(TASK[run.network.family])
    parts = split(task, load(task), run.seed)
    with undisturbed(run.seed):
        module = build(run.network, task)
    xn.initialize(module, run.start.name, example(run.network, task), run.seed)
    rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[run.optimizer.name]
    optimizer = rule(module.parameters(), lr=run.lr)
    cast = torch.Tensor.long if task.kind == "sequence" else torch.Tensor.float
    order = data_order(task.name, run.seed, len(parts.train.rows), run.batch_size, run.steps + 1)

    def loss(part, rows):
        outputs = module(cast(part.inputs[rows]))
        return F.cross_entropy(outputs.reshape(-1, task.num_outputs), part.targets[rows].reshape(-1))

    for rows in order[: run.steps]:
        optimizer.zero_grad()
        loss(parts.train, rows).backward()
        optimizer.step()
    module.eval()
    seen = slice(0, 96)
    with torch.no_grad():
        answers = module(cast(parts.test.inputs[seen])).argmax(-1)
        score = (answers == parts.test.targets[seen]).double().mean()
        return float(loss(parts.train, seen)), float(score)


@pytest.mark.parametrize("family", ["residual_mlp", "residual_cnn", "plain_cnn", "transformer"])
@pytest.mark.parametrize(("start", "optimizer"), [("he", "adam"), ("zero-head", "sgd")])
def test_a_run_is_the_loop_by_hand(family: str, start: str, optimizer: str):
    run = run_of(family, start, optimizer=optimizer)
    [record] = training.train(task_named(TASK[family]), [run])
    loss, score = by_hand(run)
    assert record.train_loss[-1] == pytest.approx(loss, rel=1e-5)
    assert record.test_score == pytest.approx(score)
    assert record.moved and not record.diverged


@pytest.mark.parametrize("family", list(SMALL))
def test_a_run_depends_on_its_configuration_alone(family: str):
    run, task = run_of(family), task_named(TASK[family])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = alone.train(task, run)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    other, again = training.train(task, [replace(run, seed=4), run])
    assert again.train_loss == first.train_loss and again.gradient_norm == first.gradient_norm
    assert other.train_loss != first.train_loss


def test_models_and_networks_train_side_by_side_in_their_order():
    task = task_named("digits")
    network = replace(run_of("residual_mlp"), network=Network(), start=Start(name="he_normal"))
    runs = [run_of("residual_mlp"), network, run_of("plain_cnn")]
    assert [record.run for record in training.train(task, runs)] == runs


def test_the_ledger_gives_a_record_back():
    record = alone.train(task_named("digits"), run_of("residual_cnn"))
    found = unpack(*pack(record))
    assert found.run == record.run and found.run.identity == record.run.identity
    assert found.gradient_norm == record.gradient_norm and found.layers == record.layers
    assert found.effective_width == ((), ()) and all(map(math.isnan, found.zero_activations))


def test_a_run_that_diverges_ends_and_says_so():
    record = alone.train(task_named("digits"), run_of("residual_mlp", "he", optimizer="sgd", lr=1e12))
    assert record.diverged and math.isnan(record.test_score) and math.isnan(record.train_loss[-1])
    assert math.isfinite(record.train_loss[0])


def test_groups_of_a_recipe_reach_the_optimizer():
    """Fixup's numbers learn at a tenth of the rate: the first step of Adam moves each by a tenth of it."""
    task, run = task_named("digits"), run_of("residual_mlp", "fixup", lr=0.01)
    training_one = alone._Training(task, run)
    groups = {group["name"]: group["lr"] for group in training_one.optimizer.param_groups}
    assert groups == {"rate 1, decay": 0.01, "rate 1, no decay": 0.01, "rate 0.1, no decay": 0.001}


def test_an_adapted_network_keeps_what_it_learned_and_learns_beside_it():
    task = task_named("digits")
    one = alone._Training(task, run_of("adapted_mlp", "lora_B_zero"))
    assert isinstance(one.module, AdaptedMLP)
    parts = split(task, load(task), one.run.seed)
    with torch.no_grad():
        turned = one.module.frozen(one.module.turned(parts.test.inputs)).argmax(1)
        upright = one.module.frozen(parts.test.inputs).argmax(1)
    assert (turned == parts.test.targets).double().mean() > 0.9
    assert (upright == parts.test.targets).double().mean() < 0.5
    before = {name: p.clone() for name, p in one.module.named_parameters()}
    one.record()
    moved = {name.split(".")[2] for name, p in one.module.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"lora_A", "lora_B"}


@pytest.mark.parametrize(("start", "zeros"), [("lora_B_zero", "B"), ("lora_A_zero", "A"), ("lora_both_zero", "AB")])
def test_starts_of_adapters_zero_what_they_name(start: str, zeros: str):
    module, _ = alone.begun(task_named("digits"), SMALL["adapted_mlp"], Start(name=start), 0)
    found = {name[-8] for name, p in module.named_parameters() if "lora" in name and not p.any()}
    assert found == set(zeros)


def test_the_text_is_the_standard_library_and_each_target_the_next_character():
    task, (symbols, following) = task_named("characters"), characters()
    text = "".join(ALPHABET[int(number)] for number in symbols[0])
    import argparse
    import inspect

    assert inspect.getsource(argparse).startswith(text[:20])
    assert (symbols[:, 1:] == following[:, :-1]).all()
    assert task.kind == "sequence" and task.name.startswith("characters-") and task.num_outputs == len(ALPHABET)
    parts = split(task, load(task), 0)
    assert torch.equal(parts.train.inputs, torch.from_numpy(symbols)[parts.train.rows])


def study_of(**changes) -> Study:
    fields = {
        "name": "s",
        "question": "?",
        "tasks": ("digits",),
        "networks": (SMALL["residual_mlp"],),
        "starts": (Start(name="fixup"),),
        "lrs": (0.01,),
        "steps": 2,
    }
    return Study(**{**fields, **changes})


def test_a_study_takes_models_and_names_tasks_in_full():
    study = study_of(tasks=("characters",), networks=(SMALL["transformer"],), starts=(Start(name="gpt2"),))
    assert study.places[0].task == task_named("characters").name


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"starts": (Start(name="he_normal"),)}, UnknownNameError, "Unknown start of a model 'he_normal'"),
        ({"starts": (Start(name="he", value=0.1),)}, InvalidValueError, "takes no value and no base"),
        ({"networks": (SMALL["plain_cnn"],), "tasks": ("wine",)}, InvalidValueError, "has no images"),
        ({"networks": (SMALL["adapted_mlp"],), "tasks": ("wine",)}, InvalidValueError, "no images of classes"),
        ({"networks": (SMALL["transformer"],)}, InvalidValueError, "reads sequences, and task 'digits'"),
        ({"tasks": ("characters",)}, InvalidValueError, "takes rows of numbers, and task 'characters-"),
        (
            {"tasks": ("characters",), "networks": (Network(),), "starts": (Start(name="zeros"),)},
            InvalidValueError,
            "is text, and a Network takes rows of numbers",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_when_the_study_is_built(changes, error, words):
    with pytest.raises(error, match=words):
        study_of(**changes)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"family": "resnet", "depth": 1, "width": 1}, "Unknown family 'resnet'"),
        ({"family": "plain_cnn", "depth": 0, "width": 1}, "depth 0 and width 1"),
        ({"family": "plain_cnn", "depth": 1, "width": 1, "norm": "pre"}, "knows: none, batch"),
        ({"family": "transformer", "depth": 1, "width": 5}, "Model.heads is 2, and width 5"),
    ],
)
def test_a_model_is_checked_when_it_is_built(fields, words):
    with pytest.raises(ExnihiloError, match=words):
        Model(**fields)


def test_the_engine_refuses_a_model_and_the_loop_a_network():
    run = run_of("residual_mlp")
    with pytest.raises(InvalidValueError, match="stacked engine trains networks alone"):
        engine.train(task_named("digits"), [run])
    with pytest.raises(InvalidValueError, match="a Model trains alone"):
        alone.train(task_named("digits"), replace(run, network=Network()))


def test_every_start_of_a_model_names_a_recipe_and_says_what_it_is():
    assert all(start_of(Start(name=name)).summary for name in STARTS)
