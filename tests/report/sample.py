"""A made-up set of results with the shape of real ones: 24 answers, every mark, every verdict, gaps and zeros.

Its numbers come from formulas and say nothing about any network.
"""

import math
from collections.abc import Iterable, Sequence

from exnihilo.claims.records import Answer, Axis, Basis, Cell, ClaimVerdict, Evidence, Figure, Results, Table

STARTS = ("zeros", "he_normal", "xavier_normal", "normal(0.01)", "zero_head", "torch_default")
TASKS = ("digits", "breast cancer", "wine", "spirals")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "gelu")

STEP = Axis(field="step", title="optimizer step")
START = Axis(field="start", title="start", kind="nominal")
TASK = Axis(field="task", title="task", kind="nominal")
DEPTH = Axis(field="depth", title="hidden layers", kind="ordinal")

EXPLANATION = """
## A network is a stack of weighted sums

Each unit adds up its inputs, each multiplied by a weight, and bends the sum with an **activation** such as `relu`.
Training moves the weights a little at a time, in the direction that lowers the loss.

Before the first step somebody has to choose the weights. Zero initialization chooses `W = 0` and `b = 0`, everywhere.

[figure: f1-curves]

## Why all zeros stand still

The step of a weight is its input times the signal that comes back from the units above. With every weight at zero
nothing comes back, and with `relu` nothing goes forward either: **both factors of the product are zero**, so the
step is zero, today and for ever.

[figure: f1-width]

## Where a zero is the right start

One zero at the end of a branch is harmless: the other factor is alive, so the first step already moves it.
"""


def results() -> Results:
    """The sample."""
    claims = (*definitions(), *comparison(), *misconceptions(), *tables(), conclusion(), opening())
    return Results(
        claims=claims,
        preset="quick",
        seed=0,
        num_runs=2016,
        seconds=221.4,
        environment={"exnihilo": "0.1.0", "torch": "2.13.0", "Python": "3.11.7", "machine": "x86_64, 2 cores"},
    )


def wiggle(*place: float) -> float:
    """A number in [-1, 1] that depends on its place alone."""
    return math.sin(12.9898 * sum((i + 1) * value for i, value in enumerate(place)) + 1.0)


def curves(name: str, tasks: Sequence[str] = ("digits",), starts: Sequence[str] = STARTS, steps: int = 1000) -> Figure:
    """Training loss by step with a band; zeros stay at the prior, one start diverges half-way."""
    rows: list[dict[str, str | float | None]] = []
    for t, task in enumerate(tasks):
        for i, start in enumerate(starts):
            for step in range(0, steps + 1, steps // 20):
                loss = 2.303 if start == "zeros" else 0.02 + 2.28 * math.exp(-step / (90 + 70 * i + 30 * t))
                gone = start == "torch_default" and task == "wine" and step > steps // 2
                value = math.nan if gone else loss * (1 + 0.02 * wiggle(i, step, t))
                band = {} if start == "zeros" else {"low": value * 0.86, "high": value * 1.16}
                rows.append({"step": step, "loss": value, "start": start, "task": task, **band})
    return Figure(
        name=name,
        title="Zeros stay at the loss of guessing; every other start learns",
        caption="Training loss, mean of 12 seeds; the band is the 95 % interval. MLP 64-32-32-10, relu, momentum 0.9, "
        "tuned rates.",
        mark="line",
        x=STEP,
        y=Axis(field="loss", title="training loss, log scale", scale="log"),
        color=START,
        facet=TASK if len(tasks) > 1 else None,
        rows=tuple(rows),
        reference=math.log(10) if len(tasks) == 1 else None,
    )


def gradients(name: str, scale: str = "symlog") -> Figure:
    """Gradient norm of the first layer by depth: exactly zero for zeros."""
    rows = tuple(
        {"depth": depth, "start": start, "norm": 0.0 if start == "zeros" else 10.0 ** (-depth * (0.12 + 0.3 * i))}
        for i, start in enumerate(STARTS[:5])
        for depth in (1, 2, 4, 8, 16, 32)
    )
    return Figure(
        name=name,
        title="The first layer's gradient is exactly zero from zeros, and small from small weights",
        caption="Norm of the batch gradient of the first weight at step 0, mean of 12 seeds. Zero is marked on "
        "the axis.",
        mark="line",
        x=DEPTH,
        y=Axis(field="norm", title="gradient norm", scale=scale),  # type: ignore[arg-type]
        color=START,
        rows=rows,
    )


def widths(name: str) -> Figure:
    """Effective width over training by depth, an ordered series."""
    rows = tuple(
        {"step": step, "depth": depth, "width": max(1, round(32 * (1 - math.exp(-step / (20 * depth)))))}
        for depth in (1, 2, 4, 8)
        for step in range(0, 401, 10)
    )
    return Figure(
        name=name,
        title="Noise wakes the units one by one, the later the deeper the network",
        caption="Distinct units of the first hidden layer of 32, by bits; one run a depth, tanh, zeros + noise "
        "of std 1e-4.",
        mark="line",
        x=STEP,
        y=Axis(field="width", title="effective width, units"),
        color=DEPTH,
        rows=rows,
        reference=32,
    )


def forest(name: str, versus: str = "zeros", metric: str = "test accuracy") -> Figure:
    """Differences with intervals in every cell."""
    rows: list[dict[str, str | float]] = []
    for t, task in enumerate(TASKS):
        for d, depth in enumerate((2, 8)):
            estimate = 0.04 * wiggle(t, d, len(name)) + 0.012
            outcome = "better" if estimate > 0.02 else "worse" if estimate < -0.02 else "equivalent"
            where = f"{task} · {depth} layers · he_normal against {versus}"
            rows.append(
                {"where": where, "d": estimate, "low": estimate - 0.018, "high": estimate + 0.018, "outcome": outcome}
            )
    return Figure(
        name=name,
        title=f"Whether He beats {versus} depends on the task",
        caption="Mean paired difference of 12 fresh seeds and its interval at the level Holm left for it; right "
        "of 0 is better.",
        mark="interval",
        x=Axis(field="d", title=f"difference in {metric}"),
        y=Axis(field="where", title="cell", kind="nominal"),
        color=Axis(field="outcome", title="outcome", kind="nominal"),
        rows=tuple(rows),
        reference=0.0,
    )


def heat(name: str) -> Figure:
    """Accuracy by activation and start, with a missing cell."""
    rows = tuple(
        {
            "activation": activation,
            "start": start,
            "accuracy": None if (i, j) == (3, 2) else 0.1 if start == "zeros" and i < 2 else 0.75 + 0.2 * wiggle(i, j),
        }
        for i, activation in enumerate(ACTIVATIONS)
        for j, start in enumerate(STARTS)
    )
    return Figure(
        name=name,
        title="No start wins everywhere",
        caption="Mean test accuracy of 12 seeds at the tuned rate, digits; a dash is a cell that was not run.",
        mark="heatmap",
        x=START,
        y=Axis(field="activation", title="activation", kind="nominal"),
        color=Axis(field="accuracy", title="test accuracy"),
        rows=rows,
    )


def bars(name: str, horizontal: bool = False) -> Figure:
    """Accuracy by activation and start, grouped."""
    rows = tuple(
        {"activation": activation, "start": start, "accuracy": 0.1 if j == 0 else 0.85 + 0.1 * wiggle(i, j)}
        for i, activation in enumerate(ACTIVATIONS[:4])
        for j, start in enumerate(("zeros", "xavier_normal", "he_normal"))
    )
    activation = Axis(field="activation", title="activation", kind="nominal")
    accuracy = Axis(field="accuracy", title="test accuracy")
    return Figure(
        name=name,
        title="From zeros no activation leaves the floor",
        caption="Mean test accuracy of 12 seeds, digits; the dashed line is the share of the largest class.",
        mark="bar",
        x=accuracy if horizontal else activation,
        y=activation if horizontal else accuracy,
        color=START,
        rows=rows,
        reference=0.102,
    )


def sweep(name: str) -> Figure:
    """Loss by learning rate for each start, in panels."""
    rows = tuple(
        {"lr": lr, "task": task, "start": start, "loss": 0.02 + (math.log10(lr) + 1 - 0.3 * i) ** 2 * 0.2 + 0.05 * t}
        for t, task in enumerate(TASKS[:3])
        for i, start in enumerate(STARTS[:4])
        for lr in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    )
    return Figure(
        name=name,
        title="Each start has its own best learning rate",
        caption="Training loss after 800 steps, mean of 6 tuning seeds.",
        mark="line",
        x=Axis(field="lr", title="learning rate", scale="log"),
        y=Axis(field="loss", title="training loss"),
        color=START,
        facet=TASK,
        rows=rows,
    )


def escapes(name: str) -> Figure:
    """Escape time against noise, log-log points."""
    rows = tuple(
        {
            "std": 10.0**-power,
            "steps": 20 * depth * (power + 1) * (1 + 0.1 * wiggle(power, depth)),
            "depth": f"{depth} layers",
        }
        for depth in (1, 2, 4)
        for power in range(1, 9)
    )
    return Figure(
        name=name,
        title="The smaller the noise, the longer the wait, in proportion to its logarithm",
        caption="Steps until half of the loss of guessing, mean of 12 seeds; a log–log plot.",
        mark="point",
        x=Axis(field="std", title="std of the noise", scale="log"),
        y=Axis(field="steps", title="steps to escape", scale="log"),
        color=Axis(field="depth", title="depth", kind="nominal"),
        rows=rows,
    )


def cells(count: int, *, refuting: int = 0, unsettled: int = 0, exact: bool = False) -> tuple[Cell, ...]:
    """Cells of which the first refute, the next are open and the others support."""
    found: list[Cell] = []
    for i in range(count):
        estimate = -0.031 - 0.001 * i if i < refuting else 0.004 if i < refuting + unsettled else 0.041 + 0.002 * i
        where = f"{TASKS[i % 4]} · MLP 2×32 {ACTIVATIONS[i % 5]} · he_normal against zeros"
        supports = None if refuting <= i < refuting + unsettled else i >= refuting
        found.append(
            Cell(
                where=where,
                supports=supports,
                estimate=None if exact else estimate,
                interval=None if exact else (estimate - 0.02, estimate + 0.019),
                n=None if exact else 12,
                failures=None if exact else (0, i % 3),
                more_seeds=None if exact or supports is not None else 14,
                finding="All 400 gradients of hidden weights are zero, bit for bit."
                if exact
                else f"Test accuracy differs by {100 * estimate:.1f} points over 12 paired seeds.",
            )
        )
    return tuple(found)


SNIPPET = """
import torch

net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
for parameter in net.parameters():
    torch.nn.init.zeros_(parameter)  # every weight and every bias

x, y = torch.randn(128, 64), torch.randint(10, (128,))
torch.nn.functional.cross_entropy(net(x), y).backward()

for name, parameter in net.named_parameters():
    print(name, parameter.grad.abs().max().item() > 0)  # True for "2.bias" alone
"""


def answer(
    id_: str,
    title: str,
    statement: str,
    verdict: ClaimVerdict,
    finding: str,
    *,
    basis: Basis = "measured",
    n: int = 336,
    factor: str | None = None,
    figures: Iterable[Figure] = (),
    tables: Iterable[Table] = (),
    evidence: tuple[Cell, ...] = (),
    snippet: str | None = None,
) -> Answer:
    rule = (
        "Certificate: refuted where a hidden weight of any activation with f(0) = 0 moves within 200 steps."
        if basis == "exact"
        else "Exact sign-flip test on paired seeds, Holm over the 8 cells of this claim at α = 0.05, margin ±0.01: "
        "supported if every cell is better, refuted if none is, depends if both occur, undecided otherwise."
    )
    return Answer(
        id=id_,
        title=title,
        statement=statement,
        verdict=verdict,
        basis=basis,
        n=n,
        rule=rule,
        finding=finding,
        factor=factor,
        evidence=Evidence(cells=evidence, tables=tuple(tables), figures=tuple(figures)),
        snippet=snippet,
        rerun=f"exnihilo claims --only {id_} --preset quick --seed 0",
    )


def definitions() -> tuple[Answer, ...]:
    opening_steps = Table(
        title="Opening step of each layer (1 = at once)",
        columns=("activation", "layer 1", "layer 2", "head", "output bias"),
        rows=(
            ("relu", None, None, None, 1),
            ("tanh", None, None, None, 1),
            ("sigmoid", 3, 2, 1, 1),
            ("softplus", 3, 2, 1, 1),
        ),
    )
    return (
        answer(
            "D1",
            "Zero initialization sets every parameter to zero",
            "Zero initialization sets every weight and every bias to zero, and is simple.",
            "supported",
            "All 6,922 parameters of the test network are zero, bit for bit, and the fill takes 0.4 of the time of a "
            "normal draw.",
            basis="exact",
            n=0,
            evidence=cells(2, exact=True),
            snippet=SNIPPET,
        ),
        answer(
            "D2",
            "A suitable activation breaks the symmetry",
            "With a suitable activation, such as ReLU, zero initialization breaks the symmetry between units.",
            "refuted",
            "With `f(0) = 0` (relu, tanh, gelu) only the output bias ever moves. With `f(0) ≠ 0` (sigmoid, "
            "softplus) the "
            "layers open one a step from the top, and every hidden layer keeps an effective width of **1** out of 32.",
            basis="exact",
            n=60,
            figures=(widths("d2-effective-width"),),
            tables=(opening_steps,),
            evidence=cells(5, refuting=5, exact=True),
            snippet=SNIPPET,
        ),
        answer(
            "D3",
            "Zeros in a deep network make gradients vanish",
            "Zero initialization of every layer of a deep network can give vanishing gradients.",
            "depends",
            "With `f(0) = 0` the gradients are not small but exactly zero, at every depth. With sigmoid they shrink by "
            "a factor of 4.1 a layer once the layers are open.",
            factor="the activation's value at zero",
            figures=(gradients("d3-gradient-norm"), gradients("d3-gradient-norm-log", "log")),
            evidence=cells(8, refuting=3),
        ),
        answer(
            "D4",
            "It serves as a baseline",
            "It serves as a baseline for other methods, and is commonly used.",
            "supported",
            "An all-zero network reaches the class prior and nothing better: 10.2 % on digits, 62.7 % on breast "
            "cancer.",
            figures=(bars("d4-floor", horizontal=True),),
            evidence=cells(4),
        ),
        answer(
            "D5",
            "Weight normalization repairs the vanishing gradients",
            "Weight normalization or variance scaling together with zero initialization repairs vanishing gradients.",
            "refuted",
            "Weight normalization of a zero vector is 0/0: all 96 runs are NaN at step 1. Zeros scaled by "
            "anything are zeros.",
            figures=(curves("d5-curves", ("digits", "wine"), STARTS[:4]),),
            evidence=cells(6, refuting=6),
        ),
        answer(
            "D6",
            "The units of a zero layer are identical",
            "The neurons of a zero-initialized layer behave identically, forward and backward.",
            "supported",
            "In all 60 runs every hidden layer has one distinct unit at every measured step, by bits.",
            basis="exact",
            n=60,
            evidence=cells(5, exact=True),
            snippet=SNIPPET,
        ),
        answer(
            "D7",
            "Noise after zeros gives the missing randomness",
            "Adding noise after zero initialization gives the missing randomness.",
            "supported",
            "Noise of any std from 1e-8 to 0.1 escapes; each tenth of the noise costs 24 [21, 27] steps more a layer.",
            figures=(escapes("d7-escape"), widths("d7-width")),
            evidence=cells(12, unsettled=1),
        ),
    )


def comparison() -> tuple[Answer, ...]:
    measured = Table(
        title="Test accuracy at the tuned rate, mean of 12 seeds",
        columns=("task", "activation", "depth", "zeros", "normal(0.01)", "xavier", "he", "zero head", "torch default"),
        rows=tuple(
            (task, activation, depth, 0.1, *(0.9 + 0.06 * wiggle(i, j, depth) for j in range(5)))
            for i, task in enumerate(TASKS)
            for activation in ("relu", "tanh")
            for depth in (2, 8)
        ),
    )
    return (
        answer(
            "C1",
            "Zero: simple, but symmetric and vanishing",
            "Zero initialization is simple and can work with the right activation, but suffers from symmetry and from "
            "vanishing gradients in deep networks.",
            "depends",
            "Simple and symmetric: yes. Working with the right activation: only in one layer networks.",
            factor="whether there is a hidden layer",
            figures=(forest("c1-forest"),),
            evidence=cells(8, refuting=2, unsettled=1),
        ),
        answer(
            "C2",
            "Random: breaks symmetry, but the range must be tuned",
            "Random initialization breaks the symmetry and helps to avoid local optima; it may saturate or "
            "explode, and "
            "its range must be tuned.",
            "supported",
            "Beyond a std of 0.3 the share of saturated tanh units rises from 2 % to 71 % over two layers.",
            figures=(sweep("c2-range"),),
            evidence=cells(9),
        ),
        answer(
            "C3",
            "Xavier: balances the scale of gradients",
            "Xavier initialization balances the gradient's scale in shallow and deep networks, but not with "
            "every activation.",
            "depends",
            "The last and first layers' gradients differ by a factor of 1.3 with tanh and of 310 with relu at "
            "32 layers.",
            factor="the activation",
            figures=(gradients("c3-balance", "log"), forest("c3-forest", "xavier_normal")),
            evidence=cells(10, refuting=4),
        ),
        answer(
            "C4",
            "The best start depends on the case",
            "The best initialization depends on the task, the network and the activation.",
            "supported",
            "The winner changes between cells: He wins 5 of 16, Xavier 3, and in 8 no start is distinguishable "
            "from the best.",
            figures=(heat("c4-heat"),),
            tables=(measured,),
            evidence=cells(16, unsettled=3),
        ),
    )


def misconceptions() -> tuple[Answer, ...]:
    return (
        answer(
            "M1",
            "It is not always best",
            "Zero initialization is not always best: dead neurons, slow convergence, poor in deep networks.",
            "supported",
            "From zeros every hidden unit is dead and no run of 336 leaves the prior.",
            figures=(curves("m1-curves", TASKS, STARTS[:5]),),
            evidence=cells(8),
        ),
        answer(
            "M2",
            "Zeros bring no randomness of their own",
            "Zero initialization brings no randomness; a scheme applied after it gives exactly that scheme.",
            "supported",
            "Zeros followed by He equal He, bit for bit, in 12 of 12 seeds.",
            basis="exact",
            n=24,
            evidence=cells(3, exact=True),
        ),
        answer(
            "M3",
            "It does not remove overfitting",
            "Zero initialization does not remove overfitting; weight decay and regularization do more.",
            "depends",
            "Against zero-head, weight decay narrows the gap by 1.9 points on digits and widens it by 0.4 on wine.",
            factor="the task",
            figures=(forest("m3-gap", "zero_head", "generalization gap"),),
            evidence=cells(8, refuting=3, unsettled=2),
        ),
        answer(
            "M4",
            "It is not equal for all activations",
            "Zero initialization works differently with different activations: sigmoid is worse, ReLU is better.",
            "refuted",
            "The order is the other way round: sigmoid reaches 0.31 on digits, relu stays at 0.10.",
            figures=(bars("m4-activations"),),
            evidence=cells(4, refuting=4),
        ),
    )


def tables() -> tuple[Answer, ...]:
    activations = Table(
        title="Outputs of three zero neurons before training",
        columns=("activation", "neuron 1", "neuron 2", "neuron 3", "the article"),
        rows=(
            ("relu", 0.0, 0.0, 0.0, "0.98, 0.95, 0.99"),
            ("sigmoid", 0.5, 0.5, 0.5, "0.98, 0.95, 0.99"),
            ("softplus", 0.693147, 0.693147, 0.693147, "0.98, 0.95, 0.99"),
        ),
    )
    seconds = Table(
        title="Time of a step, microseconds",
        columns=("start", "median", "low", "high", "runs"),
        rows=(
            ("zeros", 412.2, 401.0, 423.1, 40),
            ("he_normal", 413.9, 403.3, 425.0, 40),
            ("subnormal", 2210.0, 2180.0, 2250.0, 40),
        ),
    )
    steps = Figure(
        name="t2-steps",
        title="Steps to a training loss of 0.05",
        caption="Median of 12 seeds with its 95 % interval; a start that never gets there has no bar.",
        mark="bar",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="steps", title="steps, log scale", scale="log"),
        color=START,
        rows=tuple(
            {
                "start": start,
                "steps": None if start == "zeros" else 90.0 * 2**i,
                "low": None if start == "zeros" else 70.0 * 2**i,
                "high": None if start == "zeros" else 120.0 * 2**i,
            }
            for i, start in enumerate(STARTS)
        ),
    )
    return (
        answer(
            "T1",
            "Three neurons and their activations",
            "Three zero-initialized neurons give 0.98, 0.95 and 0.99 at the article's inputs.",
            "refuted",
            "Three neurons with equal weights and any activation give three equal numbers, before and after training.",
            basis="exact",
            n=0,
            tables=(activations,),
            evidence=cells(5, refuting=5, exact=True),
            snippet=SNIPPET,
        ),
        answer(
            "T2",
            "Training loss: 0.028 after 500, 0.045 after 1,000",
            "Zeros reach a training loss of 0.028 in 500 epochs, small random weights 0.045 in 1,000.",
            "refuted",
            "Zeros stay at the loss of guessing, 2.303, in 48 of 48 runs; small random weights reach 0.045 "
            "after 410 steps.",
            figures=(curves("t2-curves", TASKS[:3], STARTS[:4]), steps),
            evidence=cells(12, refuting=12),
        ),
        answer(
            "T3",
            "Training time: 125 s against 180 s",
            "Training from zeros takes 125 s, from random weights 180 s.",
            "undecided",
            "A step takes the same time within 2 % [−1.1 %, 1.9 %]; about 30 more rounds would decide whether "
            "within 1 %.",
            tables=(seconds,),
            evidence=cells(3, unsettled=3),
        ),
        answer(
            "T4",
            "Training and validation accuracy",
            "Zeros: 95 % and 90 %; random: 99 % and 85 %. So zeros generalize better.",
            "refuted",
            "The gap of an all-zero network is nil because it learns nothing: 10.2 % and 10.1 %.",
            figures=(forest("t4-gap"),),
            evidence=cells(8, refuting=8),
        ),
        answer(
            "T5",
            "Test accuracy: 89 % against 83 %",
            "Zeros reach a test accuracy of 89 %, random weights 83 %.",
            "refuted",
            "He is better by 87 points on digits [86, 88], and better in all 8 cells.",
            figures=(forest("t5-forest"), heat("t5-heat")),
            evidence=cells(8, refuting=8),
        ),
        answer(
            "T6",
            "Zeros with sigmoid 82 %, with ReLU 92 %",
            "With zeros, sigmoid reaches 82 % and ReLU 92 %.",
            "refuted",
            "With zeros, sigmoid reaches 31 % and relu the prior, 10 %.",
            figures=(bars("t6-bars"), heat("t6-heat")),
            evidence=cells(10, refuting=10),
        ),
        answer(
            "T7",
            "A larger learning rate gives a lower loss",
            "With zeros, a learning rate of 0.01 gives a lower training loss than one of 0.001.",
            "refuted",
            "From zeros the loss does not depend on the rate: 2.303 at every rate from 0.001 to 3.",
            figures=(sweep("t7-rates"),),
            evidence=cells(6, refuting=6),
        ),
    )


def conclusion() -> Answer:
    return answer(
        "K1",
        "A viable tool under the right conditions",
        "Zero initialization is a viable tool worth exploring; it helps under the right conditions.",
        "depends",
        "A zero head or a zero residual branch is as good as He or better in 10 of 12 cells; zeros everywhere "
        "never are.",
        factor="which parameters are zero",
        figures=(curves("k1-curves", TASKS, STARTS[1:]), forest("k1-forest")),
        evidence=cells(12, refuting=2),
    )


def opening() -> Answer:
    return Answer(
        id="F1",
        title="What is neural network zero initialization?",
        statement="The article asks: what is neural network zero initialization?",
        verdict="explained",
        basis="explained",
        n=72,
        rule="None: this is the question that the other claims answer in parts.",
        finding="It means to start training with every weight and every bias at zero. A network that starts so "
        "cannot learn: "
        "its units stay copies of each other, and most of them never move at all. But a **single** zero in the "
        "right place, "
        "such as the last layer of a residual branch, is one of the best starts there are.",
        evidence=Evidence(figures=(curves("f1-curves"), widths("f1-width"))),
        snippet=SNIPPET,
        rerun="exnihilo claims --only F1",
    )
