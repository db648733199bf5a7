"""Widths that share one learning rate: the maximal update parametrization."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from exnihilo.errors import InvalidValueError, RecipeError
from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import value_of
from exnihilo.recipes.laws import by_role, map_words, named
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Scheme, Zeros, lecun_normal, scaled
from exnihilo.structure.records import Parameter, Role, Structure

if TYPE_CHECKING:
    from torch import nn

# Name, fan-in, and what does not grow with the width: the kind of the map and the size of its kernel.
Fans = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MuP:
    """Initial values and learning rates by how much wider a model is than its base, for Adam and its like.

    Rule:
        A map whose fan-in is ``m`` times that of the base: hidden maps have variance ``1 / fan_in`` and the rate
        ``1 / m``; the head zero, or standard deviation ``1 / (m sqrt(base fan_in))``, and the rate ``1 / m``; maps of
        inputs whose size does not grow, embeddings, biases and norms are as in the base, with the rate 1. A head that
        is tied to an embedding is as that one is; ``apply`` divides what it gives out by ``m``.

    Promise:
        Activations and their changes by one step of Adam have a size that does not depend on the width, so that the
        best learning rate of the base is that of the model.

    Fails when:
        The base has other maps, or another depth, or is wider: refused. So is a model whose attention has wider heads
        than the base: scores divided by the root of the head's width grow with it. Keep that width and take more heads.
        A head shares its tensor with an embedding, and is no module: refused. The optimizer is SGD: its rates are
        others.

    Args:
        base: Name, fan-in and kind of each map of the base, as ``mup(base_model, example)`` reads them.
        heads: How wide the heads of each attention of the base are, in order.
        zero_head: The head starts at zero. Default True, as the authors recommend: widths then start from one function.
        zero_query: The queries start at zero, too. Default False.

    Raises:
        InvalidValueError: ``base`` is empty.
        RecipeError: On ``assign``: the base is of another architecture, or wider.

    Example:
        >>> MuP(base=(("0.weight", 4, "linear"), ("2.weight", 8, "linear"))).zero_head
        True

    References:
        Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen, Gao (2022), Tensor Programs V: Tuning Large
        Neural Networks via Zero-Shot Hyperparameter Transfer, tables 3 and 8, appendix D.2.
    """

    name: ClassVar[str] = "mup"
    base: tuple[Fans, ...]
    heads: tuple[int, ...] = ()
    zero_head: bool = True
    zero_query: bool = False

    def __post_init__(self) -> None:
        if not self.base:
            raise InvalidValueError(
                "mup.base is empty; it must name the maps of a base model with their fans.",
                fix="recipe = exnihilo.mup(base_model, example)",
            )

    @property
    def spelled(self) -> str:
        """Its text in a plan, without the base, which has as many entries as the model has maps."""
        options = [f"zero_head={str(self.zero_head).lower()}"] if not self.zero_head else []
        options += ["zero_query=true"] if self.zero_query else []
        return f"{self.name}({', '.join(options)})" if options else self.name

    @classmethod
    def of(cls, base: Structure, *, zero_head: bool = True, zero_query: bool = False) -> "MuP":
        """The recipe with a base model's structure."""
        options: dict[str, Any] = {"base": fans_of(base), "heads": _heads_of(base)}
        options |= {"zero_head": zero_head, "zero_query": zero_query}
        if not base.tied_heads:
            return cls(**options)
        widths = {head.weight: base.by_name[head.weight].shape[-1] for head in base.tied_heads}
        return TiedMuP(**options, tied=tuple(widths.items()))

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """By role and by the growth of each map."""
        self._require_known(structure)
        growth = self._growth(structure)
        self._require_heads(structure)
        return by_role(structure, lambda parameter: self._law(parameter, growth[parameter.name]))

    def _law(self, parameter: Parameter, growth: float) -> Assignment:
        words = map_words(parameter)
        grows = f"{growth:.4g} times as wide as in the base"
        if parameter.role is Role.HEAD:
            scheme: Scheme = Zeros() if self.zero_head else scaled(lecun_normal(), growth**-0.5)
            return Assignment(scheme=scheme, reason=f"the head, {grows}", rate=1.0 / growth)
        if parameter.role is Role.QUERY and self.zero_query:
            return Assignment(scheme=Zeros(), reason=f"queries start at zero; {grows}", rate=1.0 / growth)
        return Assignment(scheme=lecun_normal(), reason=f"{words}, {grows}", rate=1.0 / growth)

    def _growth(self, structure: Structure) -> Mapping[str, float]:
        """By how much each map is wider than in the base.

        Raises:
            RecipeError: The base has other maps.
        """
        known = {(name, kind): fan for name, fan, kind in self.base}
        mine = {(name, kind): fan for name, fan, kind in fans_of(structure)}
        differing = list(dict.fromkeys(one[0] for one in {**known, **mine} if one not in known or one not in mine))
        if differing:
            raise RecipeError(
                f"The base of recipe 'mup' is no {structure.model} of another width:"
                f" {'1 map differs' if len(differing) == 1 else f'{len(differing)} maps differ'}.",
                context=[
                    named(differing, 3),
                    "each is in one of the two alone, or a map of another kind; only widths may differ",
                ],
                fix="recipe = exnihilo.mup(type(model)(smaller_config), example)",
            )
        narrower = [name for (name, kind), fan in mine.items() if fan < known[name, kind]]
        if narrower:
            raise RecipeError(
                f"The base of recipe 'mup' is wider than {structure.model}, in {len(narrower)} of {len(mine)} maps.",
                context=[f"{named(narrower, 3)}: the base is the narrow model, whose learning rate is known"],
                fix="recipe = exnihilo.mup(narrow, example); plan = exnihilo.plan(wide, recipe, example=example)",
            )
        return {name: fan / known[name, kind] for (name, kind), fan in mine.items()}

    def _require_known(self, structure: Structure) -> None:
        """Raise RecipeError where a head is tied, and was not in the base."""
        for head in structure.tied_heads:
            raise _tied(structure, head.weight, "it is not in the base of recipe 'mup'")

    def _require_heads(self, structure: Structure) -> None:
        """Raise RecipeError where the heads of an attention grow."""
        growing = [(mine, base) for mine, base in zip(_heads_of(structure), self.heads, strict=False) if mine != base]
        if growing:
            mine, base = growing[0]
            raise RecipeError(
                f"The heads of an attention of {structure.model} are {mine} wide, and {base} in the base of 'mup'.",
                context=["scores are divided by the root of that width, where muP wants the width itself"],
                fix=f"give the wider model more heads of {base}, such as num_heads=width // {base}",
            )


def fans_of(structure: Structure) -> tuple[Fans, ...]:
    """Each map by name, with how much it sums up; an embedding's row is looked up, and sums up nothing."""
    found: list[Fans] = []
    for parameter in structure.parameters:
        if parameter.layout.in_dims and parameter.role not in {Role.EMBEDDING, Role.POSITION}:
            layout = parameter.layout
            kernel = "x".join(str(layout.shape[dim]) for dim in layout.kernel_dims)
            found.append((parameter.name, layout.fan_in, f"{layout.kind} {kernel}".strip()))
    return tuple(found)


def _heads_of(structure: Structure) -> tuple[int, ...]:
    return tuple(attention.head_width for attention in structure.attentions)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiedMuP(MuP):
    """The same for heads that share their tensor with an embedding.

    The tensor has the size and the rate of an embedding, and so is never zero; what it maps is divided by how much
    wider it is than in the base, by a constant gate on the head.

    Args:
        tied: Each such tensor of the base, with its width.
    """

    tied: tuple[tuple[str, int], ...]

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """By role and by the growth of each map; the bias of a tied head, which is divided too, at the rate of one."""
        growth = self._growth_of_tied(structure)
        assigned = dict(MuP.assign(self, structure))  # super() knows no class that slots made anew
        for bias in structure.with_role(Role.BIAS):
            given = assigned.get(bias.name)
            if given is not None and bias.follows in growth:
                assigned[bias.name] = replace(given, rate=growth[bias.follows])
        return assigned

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """The constant on each head that is wider than in the base."""
        growth = self._growth_of_tied(structure)
        return {
            Gate(module=head.end.module, parameter=head.weight, kind="scale_last", trains=False): value_of(
                1.0 / growth[head.weight], f"a tied head, {growth[head.weight]:.4g} times as wide as in the base"
            )
            for head in structure.tied_heads
            if head.end is not None and growth[head.weight] != 1.0
        }

    def _require_known(self, structure: Structure) -> None:
        """Raise RecipeError where a tied head has no module, or is none in the base."""
        known = dict(self.tied)
        for head in structure.tied_heads:
            if head.end is None or head.weight not in known:
                raise _tied(structure, head.weight, "no module of its own gives out what it maps, to be divided there")

    def _growth_of_tied(self, structure: Structure) -> dict[str, float]:
        self._require_known(structure)
        by_name, known = structure.by_name, dict(self.tied)
        return {head.weight: by_name[head.weight].shape[-1] / known[head.weight] for head in structure.tied_heads}


def _tied(structure: Structure, name: str, why: str) -> RecipeError:
    return RecipeError(
        f"'{name}' of {structure.model} is an embedding that is mapped by too.",
        context=[why],
        fix="config.tie_word_embeddings = False, or give the head a weight of its own",
    )


def mup(base_model: "nn.Module", example: Any, *, zero_head: bool = True, zero_query: bool = False) -> MuP:
    """The recipe whose widths grow from those of a base model.

    Args:
        base_model: The same architecture as narrow as it was tuned; on the meta device it takes no memory.
        example: What it is called with, for ``read``.
        zero_head: The head starts at zero. Default True.
        zero_query: The queries start at zero, too. Default False.

    Raises:
        ReadError: The base cannot be read on the example.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from exnihilo import plan
        >>> def net(width):
        ...     hidden = nn.Linear(width, width), nn.ReLU()
        ...     return nn.Sequential(nn.Linear(4, width), nn.ReLU(), *hidden, nn.Linear(width, 2))
        >>> made = plan(net(64), mup(net(16), torch.zeros(1, 4)), example=torch.zeros(1, 4))
        >>> [(row.parameter, row.rate) for row in made.rows if row.parameter.endswith("weight")]
        [('0.weight', 1.0), ('2.weight', 0.25), ('4.weight', 0.25)]
    """
    from exnihilo.structure.reader import read  # only who reads a model pays for the import

    return MuP.of(read(base_model, example), zero_head=zero_head, zero_query=zero_query)
