"""D6: the neurons of a zero-initialized layer behave identically, forward and backward."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.d2 import LRS, NUM_TASKS, OPTIMIZERS, distinct, is_known, runs_of, watched, widest, widest_by_bits
from exnihilo.claims.d2 import STEPS as WATCHED_STEPS
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.fills import Key, normal
from exnihilo.lab.records import Model, Network, Optimizer, RunRecord, Start
from exnihilo.lab.study import Study, judging_seed
from exnihilo.schemes.activations import ACTIVATIONS

WATCH = "D6 every step"
NOISY, DROPPED = "D6 noise", "D6 dropout"
ROUNDING = "D6 rounding"
ZERO = Start(name="zeros")
# Two that let nothing pass at zero and three that do.
NAMES = ("relu", "tanh", "sigmoid", "softplus", "cos")
BROKEN = ("sigmoid", "relu")
DEPTH, WIDTH = 3, 16
DROPOUT = 0.1
NOISE = 1e-8
# Where sums round differently along a layer: a width that is no multiple of a register, and Adam, which divides tiny
# differences by their own size.
WIDE, ROUNDING_STEPS, ROUNDING_MEASUREMENTS = 100, 300, 6

# In plain PyTorch: few samples, one hidden layer.
SAMPLES, PLAIN_WIDTH, PLAIN_STEPS, PLAIN_LR = 32, 8, 20, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """How many units of a hidden layer of plain PyTorch ever differed by bits, over all steps.

    Args:
        biases: Whether the biases were drawn at random; the weights are zero.
        forward: Distinct columns of the hidden activations.
        backward: Distinct rows of the gradient of the incoming weights and bias.
        moved: Whether the incoming weights ever left zero.
    """

    activation: str
    biases: bool
    forward: int
    backward: int
    moved: bool


def measure(preset: Preset, seed: int) -> tuple[Twins, ...]:
    """Trains one hidden layer of zeros in plain PyTorch, once with random biases, and counts its distinct units."""
    del preset  # a certificate: neither tasks nor steps enter it
    drawn = normal(Key(judging_seed(seed, 0), "biases"), PLAIN_WIDTH)
    return (*(_twins(name, biases=None) for name in NAMES), _twins(BROKEN[0], biases=drawn))


def _twins(activation: str, *, biases: torch.Tensor | None) -> Twins:
    function = ACTIVATIONS[activation].function
    shapes = ((PLAIN_WIDTH, 2), (PLAIN_WIDTH,), (1, PLAIN_WIDTH), (1,))
    with torch.inference_mode(mode=False), torch.enable_grad():
        x = torch.linspace(-2.0, 2.0, 2 * SAMPLES).view(SAMPLES, 2)
        target = x.sum(1, keepdim=True).sin()
        parameters = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        weight, bias, head, head_bias = parameters
        if biases is not None:
            bias.data.copy_(biases)
        forward, backward = 1, 1
        for _ in range(PLAIN_STEPS):
            hidden = function(F.linear(x, weight, bias))
            loss = F.mse_loss(F.linear(hidden, head, head_bias), target)
            gradients = torch.autograd.grad(loss, parameters)
            incoming = torch.cat([gradients[0], gradients[1].unsqueeze(1)], dim=1)
            forward = max(forward, len(hidden.detach().T.unique(dim=0)))
            backward = max(backward, len(incoming.unique(dim=0)))
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.data -= PLAIN_LR * gradient
    return Twins(
        activation=activation,
        biases=biases is not None,
        forward=forward,
        backward=backward,
        moved=bool(weight.detach().any()),
    )


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The watched networks, what may break their ties, and a case of rounding."""
    return (
        watched(preset, seed, name=WATCH, question="Do the units of a zero layer stay identical?", activations=NAMES),
        _breaker(preset, seed, NOISY, (ZERO, Start(name="zeros_noise", value=NOISE)), dropout=0.0),
        _breaker(preset, seed, DROPPED, (ZERO,), dropout=DROPOUT),
        preset.study(
            ROUNDING,
            "Does rounding tell the units of a wide zero layer apart?",
            seed=seed,
            networks=(Network(width=WIDE, activation=BROKEN[0]),),
            starts=(ZERO,),
            tasks=preset.tasks[NUM_TASKS - 1 : NUM_TASKS],
            optimizers=(Optimizer(name="adam"),),
            lrs=LRS[:1],
            policy="grid",
            looks=(1,),  # one run in which rounding parts units is enough
            steps=ROUNDING_STEPS,
            evaluations=1,
            measurements=ROUNDING_MEASUREMENTS,
        ),
    )


def _breaker(preset: Preset, seed: int, name: str, starts: tuple[Start, ...], *, dropout: float) -> Study:
    """One run of each start and activation, measured as the watched ones are."""
    return preset.study(
        name,
        "What breaks the tie between the units of a zero layer?",
        seed=seed,
        networks=tuple(Network(depth=DEPTH, width=WIDTH, activation=name, dropout=dropout) for name in BROKEN),
        starts=starts,
        tasks=preset.tasks[NUM_TASKS - 1 : NUM_TASKS],
        optimizers=OPTIMIZERS[:1],
        lrs=LRS[-1:],
        policy="grid",
        looks=(1,),  # counted by bits at every step: one run says what all say
        steps=WATCHED_STEPS,
        evaluations=1,
        measurements=WATCHED_STEPS,
    )


def read(found: Found) -> Reading:
    """A cell for each activation: units that stay alike support the claim, units that part refute it."""
    watched_runs = runs_of(found, WATCH)
    twins: Sequence[Twins] = found.measured
    cells = (
        *(_watched_cell(name, records) for name, records in watched_runs.items()),
        *(_plain_cell(of) for of in twins if not of.biases),
    )
    broken = _broken(found)
    rounded = found.judged(ROUNDING, found.studies[ROUNDING].places[0], ZERO)
    return Reading(
        verdict=conclude(cells),
        finding=f"{_count(cells, watched_runs)} {_breakers(broken, twins)} {_rounding(rounded)}",
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells, tables=(_table(watched_runs, broken, rounded), _plain_table(twins)), figures=(_figure(broken),)
        ),
    )


def _watched_cell(name: str, records: Sequence[RunRecord]) -> Cell:
    width = widest(records)
    return Cell(
        where=f"training · {name}",
        supports=False if width > 1 else True if is_known(records) else None,
        finding=(
            f"{distinct(width)} in {len(records)} runs of {WATCHED_STEPS} steps "
            f"({widest_by_bits(records)} where one bit is a difference)"
        ),
    )


def _plain_cell(of: Twins) -> Cell:
    return Cell(
        where=f"plain PyTorch · {of.activation}",
        supports=of.forward == of.backward == 1,
        finding=f"{of.forward} distinct output(s) and {of.backward} distinct gradient(s) among {PLAIN_WIDTH} units",
    )


def _broken(found: Found) -> Mapping[tuple[str, str], RunRecord]:
    """The runs of the tie breakers by activation and what was done; the plain zeros among them."""
    return {
        (place.network.activation, _label(place.network, start)): record
        for name in (NOISY, DROPPED)
        for place in found.studies[name].places
        for start in found.studies[name].arms
        for record in found.judged(name, place, start)
    }


def _label(network: Network | Model, start: Start) -> str:
    if isinstance(network, Network) and network.dropout:
        return f"dropout {network.dropout:g}"
    return start.label if start == ZERO else f"noise of {start.value:g}"


def _count(cells: Sequence[Cell], runs: Mapping[str, Sequence[RunRecord]]) -> str:
    alike, total = sum(cell.supports is True for cell in cells), sum(map(len, runs.values()))
    return (
        f"In {alike} of {len(cells)} places the units of a zero layer are one and the same unit, forward and backward, "
        f"at every step ({total} runs of {len(runs)} activations, and plain PyTorch)."
    )


def _breakers(broken: Mapping[tuple[str, str], RunRecord], twins: Sequence[Twins]) -> str:
    tried = {f"{how} ({name})": widest([run]) > 1 for (name, how), run in broken.items() if how != ZERO.label}
    tried |= {f"random biases ({of.activation})": of.forward > 1 for of in twins if of.biases}
    breaking = [name for name, broke in tried.items() if broke]
    holding = [name for name, broke in tried.items() if not broke]
    text = f"The tie is broken by {', '.join(breaking)}." if breaking else "Nothing that was tried breaks the tie."
    return f"{text} It holds under {', '.join(holding)}." if holding else text


def _rounding(records: Sequence[RunRecord]) -> str:
    return (
        f"Rounding, counted apart: {ROUNDING_STEPS} steps of Adam at width {WIDE} leave {widest_by_bits(records)} "
        f"distinct unit(s) by bits, {widest(records)} beyond 1e-6."
    )


def _table(
    runs: Mapping[str, Sequence[RunRecord]],
    broken: Mapping[tuple[str, str], RunRecord],
    rounded: Sequence[RunRecord],
) -> Table:
    beside = {pair: record for pair, record in broken.items() if pair[1] != ZERO.label}
    groups = {
        **{f"{name}, {ZERO.label}": (WIDTH, records) for name, records in runs.items()},
        **{f"{name}, {how} (not counted)": (WIDTH, (record,)) for (name, how), record in beside.items()},
        f"{BROKEN[0]}, {ZERO.label}, Adam, {ROUNDING_STEPS} steps (not counted)": (WIDE, rounded),
    }
    return Table(
        title="Most distinct units of a hidden layer at any measured step",
        columns=("network and start", "units", "distinct beyond 1e-6", "distinct by bits", "runs"),
        rows=tuple(
            (name, width, widest(records), widest_by_bits(records), len(records))
            for name, (width, records) in groups.items()
        ),
    )


def _plain_table(twins: Sequence[Twins]) -> Table:
    return Table(
        title=f"One hidden layer of {PLAIN_WIDTH} units in plain PyTorch, {PLAIN_STEPS} steps of SGD: distinct by bits",
        columns=("activation", "biases", "outputs", "gradients", "weights moved"),
        rows=tuple(
            (t.activation, "random" if t.biases else "zero", t.forward, t.backward, "yes" if t.moved else "no")
            for t in twins
        ),
    )


def _figure(broken: Mapping[tuple[str, str], RunRecord]) -> Figure:
    rows = [
        {"activation": activation, "start": how, "step": step, "units": max(widths)}
        for (activation, how), record in broken.items()
        for step, widths in zip(record.measurement_steps, record.effective_width_relative, strict=True)
    ]
    task = next(iter(broken.values())).run.task
    return Figure(
        name="d6-distinct-units",
        title="Distinct units of the most varied hidden layer, step by step",
        caption=(
            f"Units, of {WIDTH}, that differ by more than 1e-6 of the layer's largest number; {DEPTH} hidden layers, "
            f"{task}, SGD at rate {LRS[-1]:g}, one run a line. Only the lines '{ZERO.label}' count for the verdict."
        ),
        mark="line",
        x=Axis(field="step", title="optimizer step"),
        y=Axis(field="units", title="distinct units"),
        color=Axis(field="start", title="start", kind="nominal"),
        facet=Axis(field="activation", title="activation", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 32).unsqueeze(1)
net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 1))
for parameter in net.parameters():
    torch.nn.init.zeros_(parameter)
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(21):
    sgd.zero_grad()
    (net(x) - x.exp()).square().mean().backward()
    if step % 10 == 0:
        outputs, gradients = net[:2](x).detach(), net[0].weight.grad
        print(step, len(outputs.T.unique(dim=0)), "distinct output,", len(gradients.unique(dim=0)), "distinct gradient")
    sgd.step()
"""

CLAIM = Claim(
    id="D6",
    title="Identical neurons",
    statement="The neurons of a zero-initialized layer behave identically, forward and backward.",
    basis="exact",
    rule=(
        f"All-zero MLPs with {DEPTH} hidden layers of {WIDTH} units, without dropout or noise, train on {NUM_TASKS} "
        f"tasks by {' and '.join(o.name for o in OPTIMIZERS)} at rates {LRS[0]:g} and {LRS[1]:g}. An activation "
        f"supports the claim if before and after each of {WATCHED_STEPS} steps all units of every hidden layer are the "
        "same but for rounding (1e-6 of the layer's largest number), incoming and outgoing weights together, and "
        f"refutes it if any differ. One hidden layer of {PLAIN_WIDTH} units in plain PyTorch supports it if outputs "
        "and gradients are equal by bits, and refutes it if not. What breaks the tie, and rounding in a wide layer, "
        "are shown and not counted."
    ),
    read=read,
    studies=studies,
    measure=measure,
    snippet=SNIPPET,
)
