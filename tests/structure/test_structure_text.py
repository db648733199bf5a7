"""A structure on one screen: what is said, how numbered names fold, what gives way when there is too much."""

import math
from dataclasses import replace

import pytest

from exnihilo.layouts import Layout
from exnihilo.structure.folding import folded
from exnihilo.structure.records import Attention, Branch, GatedMap, Parameter, Reading, Role, Slice, Structure
from exnihilo.structure.text import MAX_COLUMNS, MAX_LINES, screen

READING = Reading(mode="meta", dtype="float32", training=True, num_ops=1895)


def weight(name: str, out: int, in_: int, role: Role, **facts: object) -> Parameter:
    facts = {"evidence": "said by hand", "activation": "linear", **facts}
    layout = Layout.linear(out, in_)
    return Parameter(name=name, path=name, shape=layout.shape, dtype="float32", layout=layout, role=role, **facts)


def vector(name: str, size: int, role: Role, **facts: object) -> Parameter:
    layout = Layout.vector(size)
    facts = {"evidence": "said by hand", **facts}
    return Parameter(name=name, path=name, shape=(size,), dtype="float32", layout=layout, role=role, **facts)


def branch(index: int, name: str, *ends: str, **facts: object) -> Branch:
    names = tuple(f"{name}.{end}" if name else end for end in ends)
    facts = {"shortcut": "identity", "maps": names, "outputs": names, "norm": "pre", **facts}
    return Branch(index=index, name=name, members=names, **facts)


def transformer(depth: int) -> Structure:
    packed = tuple(
        Slice(role=role, ranges=((8 * i, 8 * i + 8),)) for i, role in enumerate((Role.QUERY, Role.KEY, Role.VALUE))
    )
    parameters = [weight("wte.weight", 50, 8, Role.EMBEDDING)]
    for i in range(depth):
        parameters += [
            vector(f"h.{i}.ln_1.weight", 8, Role.NORM_SCALE),
            weight(f"h.{i}.attn.qkv.weight", 24, 8, Role.QUERY, slices=packed),
            weight(f"h.{i}.attn.proj.weight", 8, 8, Role.RESIDUAL_OUT),
            weight(f"h.{i}.mlp.gate.weight", 16, 8, Role.GATE),
            weight(f"h.{i}.mlp.up.weight", 16, 8, Role.UP),
            weight(f"h.{i}.mlp.down.weight", 8, 16, Role.RESIDUAL_OUT),
        ]
    parameters += [weight("head.weight", 50, 8, Role.EMBEDDING, tied_to="wte.weight")]
    ends = [("attn.proj.weight", "mlp.down.weight")[i % 2] for i in range(2 * depth)]
    return Structure(
        model="Transformer",
        parameters=tuple(parameters),
        branches=tuple(branch(i, f"h.{i // 2}", end) for i, end in enumerate(ends)),
        attentions=tuple(
            Attention(
                query=(f"h.{i}.attn.qkv.weight",),
                key=(f"h.{i}.attn.qkv.weight",),
                value=(f"h.{i}.attn.qkv.weight",),
                out=(f"h.{i}.attn.proj.weight",),
            )
            for i in range(depth)
        ),
        gated_maps=tuple(
            GatedMap(gate=f"h.{i}.mlp.gate.weight", up=f"h.{i}.mlp.up.weight", activation="silu") for i in range(depth)
        ),
        reading=READING,
    )


TRANSFORMER = """\
Transformer: 481 parameters (and 1 tied) of 52,240 elements, 160 residual branches deep
read without memory (meta tensors) in float32, training mode, 1,895 operations

Residual branches (160)
  h.{0-79}  identity, pre-norm → attn.proj
  h.{0-79}  identity, pre-norm → mlp.down

Attention (80)
  h.{0-79}.attn  query, key, value by qkv → proj

Gated maps (80)
  h.{0-79}.mlp  gate → silu, × up

Roles: how many, elements, an example
  EMBEDDING          1     400  wte.weight  50×8
  QUERY+KEY+VALUE   80  15,360  h.{0-79}.attn.qkv.weight  24×8
  GATE              80  10,240  h.{0-79}.mlp.gate.weight  16×8
  UP                80  10,240  h.{0-79}.mlp.up.weight  16×8
  RESIDUAL_OUT     160  15,360  h.{0-79}.attn.proj.weight  8×8
  NORM_SCALE        80     640  h.{0-79}.ln_1.weight  8

To note
  tied      head.weight: one tensor with wte.weight"""


def test_eighty_layers_are_one_screen() -> None:
    structure = transformer(80)
    assert str(structure) == TRANSFORMER
    counted = sum(math.prod(p.shape) for p in structure.parameters if p.tied_to is None)
    assert f"{counted:,}" in TRANSFORMER


ODD = """\
Odd: 9 parameters of 204 elements, 2 residual branches deep
read on a copy in memory in bfloat16, evaluation mode, 7 operations

Residual branches (3)
  layer1.0   projection, norm inside → conv2 → bn2 → relu
  layer1.0   identity, no norm, nested → se.fc → scaled by gamma → gated by ada → drop path
  the model  identity, post-norm → 5 + 7.proj

Attention (1)
  x  query by q · key, value by kv

Gated maps (1)
  glu.w  sigmoid, both factors in one weight

Roles: how many, elements, an example
  STEM     1   16  stem.weight  4×4
  HEAD     1   16  head.weight  4×4
  SCALE    1    4  t  4
  BIAS     1    4  late  4
  UNKNOWN  5  164  a.weight  4×4

To note
  unused    b.{0-3}.weight: no operation reads it
  detached  late: used, and no gradient reaches it
  frozen    stem.weight: requires_grad=False
  unknown   a.weight: said by hand
  an earlier way to read it failed: meta: no such kernel"""


def odd() -> Structure:
    return Structure(
        model="Odd",
        parameters=(
            weight("stem.weight", 4, 4, Role.STEM, frozen=True),
            weight("head.weight", 4, 4, Role.HEAD),
            vector("t", 4, Role.SCALE),
            vector("late", 4, Role.BIAS, detached=True),
            weight("a.weight", 4, 4, Role.UNKNOWN),
            *(
                weight(
                    f"b.{i}.weight",
                    1,
                    145 if i == 3 else 1,
                    Role.UNKNOWN,
                    used=False,
                    evidence="no operation reads it",
                )
                for i in range(4)
            ),
        ),
        branches=(
            branch(
                0,
                "layer1.0",
                "conv2.weight",
                shortcut="projection",
                norm="inner",
                outputs=("layer1.0.bn2.weight",),
                ends_in="relu",
            ),
            branch(
                1,
                "layer1.0",
                "se.fc.weight",
                norm="none",
                parent=0,
                scales=("layer1.0.gamma",),
                modulated_by=("layer1.0.ada.weight",),
                drop_path=True,
            ),
            branch(2, "", "5.weight", "7.proj.weight", norm="post"),
        ),
        attentions=(Attention(query=("x.q.weight",), key=("x.kv.weight",), value=("x.kv.weight",), out=()),),
        gated_maps=(GatedMap(gate="glu.w.weight", up="glu.w.weight", activation="sigmoid"),),
        reading=Reading(mode="real", dtype="bfloat16", training=False, num_ops=7, failures=("meta: no such kernel",)),
    )


def test_what_is_unusual_is_said() -> None:
    assert str(odd()) == ODD


def test_a_plain_network_has_only_roles() -> None:
    plain = Structure(
        model="Net", parameters=(weight("0.weight", 2, 3, Role.STEM),), branches=(), reading=replace(READING, num_ops=1)
    )
    assert str(plain).splitlines() == [
        "Net: 1 parameter of 6 elements, no residual branch",
        "read without memory (meta tensors) in float32, training mode, 1 operations",
        "",
        "Roles: how many, elements, an example",
        "  STEM  1  6  0.weight  2×3",
    ]


def crowded() -> Structure:
    """Every role, and names of which no two fold."""
    letters = [f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"]
    name = "a_rather_long_name_of_a_module_in_a_framework"
    return Structure(
        model="Crowded",
        parameters=(
            *(vector(f"{role}.w", 3, role) for role in Role),
            *(weight(f"{letter}.weight", 2, 2, Role.UNKNOWN, frozen=True) for letter in letters),
        ),
        branches=tuple(branch(i, f"{letter}.{name}.{name}", "w") for i, letter in enumerate(letters)),
        attentions=tuple(
            Attention(query=(f"{letter}.q",), key=(f"{letter}.k",), value=(f"{letter}.v",), out=(f"{letter}.o",))
            for letter in letters
        ),
        gated_maps=tuple(GatedMap(gate=f"{letter}.g", up=f"{letter}.u", activation="gelu") for letter in letters),
        reading=READING,
    )


@pytest.mark.parametrize("columns", [60, 80, MAX_COLUMNS])
def test_the_longest_lists_give_way_and_say_how_much_they_hide(columns: int) -> None:
    lines = screen(crowded(), columns=columns).splitlines()
    assert len(lines) == MAX_LINES
    assert max(map(len, lines)) == columns
    assert [line for line in lines if "more lines" in line] == [
        "  … 63 more lines",  # branches
        "  … 62 more lines",  # attention
        "  … 62 more lines",  # gated maps
        "  … 6 more lines",  # to note
    ]
    assert {line.split()[0] for line in lines if line} >= set(Role)


def test_numbers_fold_only_where_every_combination_is_there() -> None:
    names = ["a.0.x", "a.1.x", "a.1.y", "b1.0 → c.0", "b1.1 → c.1", "b1.0 → c.1"]
    assert [(pattern, count) for pattern, _, count in folded(names, str, lambda _: 0)] == [
        ("a.{0-1}.x", 2),
        ("a.1.y", 1),
        ("b1.0 → c.{0-1}", 2),
        ("b1.1 → c.1", 1),
    ]
