"""P7: a gate at zero on each residual branch does what batch normalization does at the start (De & Smith, 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exnihilo.claims.claim import Claim, Found, Reading, cell_of, contrast
from exnihilo.claims.clauses import factor_by_clause, margin, place
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.published.arms import (
    LEARNED,
    Arm,
    all_or_none,
    arms,
    conclude_all,
    curves,
    has_learned,
    span,
    table,
)
from exnihilo.claims.records import Cell, Evidence
from exnihilo.lab.records import Model, Network, Optimizer, Start, Verdict
from exnihilo.lab.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of network, with batch norm and without, and the names of its studies.

    Args:
        batch, gated, bare: With batch norm; without, behind gates at zero; without, as He starts it. Each is a network,
            a start and its rates.
        optimizer: Of all three.
        share: The part of alpha that its comparison may spend.
    """

    name: str
    batch: tuple[Network | Model, Start, tuple[float, ...]]
    gated: tuple[Network | Model, Start, tuple[float, ...]]
    bare: tuple[Network | Model, Start, tuple[float, ...]]
    optimizer: Optimizer
    share: float

    @property
    def blocks(self) -> int:
        """How many residual blocks each of the networks has."""
        return self.gated[0].depth

    @property
    def arms(self) -> Mapping[str, tuple[Network | Model, Start, tuple[float, ...]]]:
        """What is run, by the study's name."""
        return {
            f"P7 {self.name}, batch norm": self.batch,
            f"P7 {self.name}, SkipInit": self.gated,
            f"P7 {self.name}, neither": self.bare,
        }


_BATCH, _BARE = (Model(family="residual_cnn", depth=16, width=8, norm=norm) for norm in ("batch", "none"))
_GATED = Network(depth=32, residual=True, gate=True)
_HE = Start(name="he_normal")
# He's start may ask for smaller rates than the others do.
CNN = Kind(
    name="convolutions",
    batch=(_BATCH, Start(name="he"), (0.003, 0.01)),
    gated=(_BARE, Start(name="skipinit"), (0.003, 0.01)),
    bare=(_BARE, Start(name="he"), (3e-4, 1e-3)),
    optimizer=Optimizer(name="adam"),  # with momentum, none of them learns in so few steps
    share=0.75,  # six seeds decide nothing at less
)
MLP = Kind(
    name="linear maps",
    batch=(Network(depth=32, residual=True, norm="batch"), _HE, (0.003, 0.01, 0.03)),
    gated=(_GATED, Start(name="zero_gate"), (0.003, 0.01, 0.03)),
    bare=(_GATED, _HE, (1e-6, 1e-4, 0.01)),
    optimizer=Optimizer(name="momentum"),
    share=0.25,
)
KINDS = (CNN, MLP)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The three arms of each kind at their tuned rates: each in a study of its own, since their networks differ."""
    size: Mapping[str, dict[str, Any]] = {
        CNN.name: {"looks": (preset.model_seeds,), "steps": preset.model_steps},
        MLP.name: {"looks": (preset.one_look,), "steps": preset.steps // 3, "measurements": 1},
    }
    return tuple(
        preset.study(
            name,
            f"How far do {kind.blocks} residual blocks of {kind.name} get?",
            seed=seed,
            tasks=("digits",),
            networks=(network,),
            starts=(start,),
            optimizers=(kind.optimizer,),
            lrs=rates,
            extend=0,
            evaluations=5,  # of 32 blocks they cost as much as the steps
            **size[kind.name],
        )
        for kind in KINDS
        for name, (network, start, rates) in kind.arms.items()
    )


def read(found: Found) -> Reading:
    """Of each kind: He's start must fail without normalization, and SkipInit must be no worse than batch norm."""
    of = {kind: arms(found, *kind.arms) for kind in KINDS}
    cells = tuple(cell for kind in KINDS for cell in _cells(found, kind, of[kind][2]))
    every = [arm for kind in KINDS for arm in of[kind]]
    return Reading(
        verdict=conclude_all(cells),
        finding=_finding(of),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    every,
                    "Residual networks on digits, each at its tuned rate, median over seeds",
                    {"training loss": "train_loss", "training accuracy": "train_score", "test accuracy": "test_score"},
                ),
            ),
            figures=(
                curves(
                    "p7-blocks",
                    "Training loss of deep residual networks, with batch norm and without",
                    every,
                    facet=lambda arm: arm.place.network.label,
                    y_max=3.0,
                ),
            ),
        ),
    )


def _cells(found: Found, kind: Kind, bare: Arm) -> tuple[Cell, Cell]:
    batch, gated, _ = (
        found.judged(name, found.studies[name].places[0], start) for name, (_, start, _) in kind.arms.items()
    )
    num_seeds = found.studies[next(iter(kind.arms))].looks[0]
    [verdict] = contrast(found, {kind.name: (gated, batch)}, share=kind.share, num_seeds=num_seeds).values()
    fails = all_or_none(place("He fails without norm", kind.name), bare.records, has_learned, "learn", wanted=False)
    reaches = _as_good(place("SkipInit reaches batch norm", kind.name), verdict)
    # Where batch norm itself does not learn, to fail as it does shows nothing.
    is_open = 2 * sum(map(has_learned, batch)) <= len(batch)
    # Convolutions that have not learned in so few steps may only be slow: what they show is told, and not counted.
    fails = replace(fails, supports=None) if is_open or kind is CNN else fails
    return fails, replace(reaches, supports=None) if is_open else reaches


def _as_good(where: str, verdict: Verdict) -> Cell:
    supports = {"better": True, "equivalent": True, "worse": False, "undecided": None}[verdict.outcome]
    told = f"SkipInit minus batch norm: {100 * verdict.estimate:+.1f} points of test accuracy ({verdict.outcome})."
    return cell_of(where, verdict, told, supports=supports)


def _finding(of: Mapping[Kind, Sequence[Arm]]) -> str:
    told = (
        f"{kind.blocks} blocks of {kind.name} after {batch.records[0].run.steps} steps "
        f"{span(batch, 'test_score')} with batch norm, "
        f"{span(gated, 'test_score')} with SkipInit, {span(bare, 'test_score')} with neither"
        for kind, (batch, gated, bare) in of.items()
    )
    return f"Test accuracy of {'; of '.join(told)}."


SNIPPET = """\
import torch

torch.manual_seed(0)
maps = [torch.nn.Linear(32, 32) for _ in range(2 * 16)]
for layer in maps:
    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
for name, norm, gate in (("He", 0, 1.0), ("He, batch norm", 1, 1.0), ("SkipInit", 0, 0.0)):
    x = torch.randn(256, 32)
    for inner, outer in zip(maps[::2], maps[1::2]):
        y = inner(x)
        y = torch.nn.functional.batch_norm(y, None, None, training=True) if norm else y
        x = x + gate * outer(torch.relu(y))
    print(f"{name}: the signal behind 16 blocks has std", x.std().item())
"""

CLAIM = Claim(
    id="P7",
    title="SkipInit trains residual networks without batch norm",
    statement=(
        "De and Smith (2020): deep residual networks without normalization fail from He's start, and a "
        "trained gate that starts at zero on each branch reaches the accuracy of batch normalization."
    ),
    basis="measured",
    rule=(
        f"Residual networks on digits, each at its tuned rate on fresh seeds: {CNN.blocks} blocks of two 3x3 "
        f"convolutions of 8 channels under Adam, and {MLP.blocks} of two linear maps of 32 units under SGD with "
        "momentum (the paper: wide residual networks on CIFAR-10, hundreds of epochs of momentum). 'Fails': "
        f"supported if no run of He's start without norm, at rates from {min(MLP.bare[2]):g} on, ends with a "
        f"training accuracy of {LEARNED:g}, refuted if every run does; not counted for convolutions, whose steps "
        "are too few to tell what fails from what is slow. 'Reaches': test accuracy of SkipInit against batch "
        f"norm, paired by seed (exact sign-flip, alpha {ALPHA * CNN.share:.2g} for convolutions, "
        f"{ALPHA * MLP.share:.2g} for linear maps): better, or equivalent within {margin()}, supports; worse "
        "refutes. Both stay open where not half of the runs with batch norm learn."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
