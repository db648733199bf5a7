"""Plans and structures as JSON: what is written reads back, and what is broken gives one clear error."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planned_models import REFUSING, TOKENS, Net
from torch import nn

import exnihilo as xn
from exnihilo.errors import OutputError, PlanFileError, StructureFileError
from exnihilo.plain import MalformedError, from_plain, to_plain
from exnihilo.plans.files import from_json, load, save, to_json
from exnihilo.plans.records import PLAN_VERSION, Plan, Row
from exnihilo.recipes.named import RECIPES
from exnihilo.structure import files
from exnihilo.structure.records import Branch, Parameter, Role, Slice, Structure

MODEL = Net()
STRUCTURE = xn.read(MODEL, TOKENS)
SCHEMES = st.sampled_from(["zeros", "ones", "Normal(std=0.1)", "TruncatedNormal(std=0.02, lower=-inf)", "values"])
PATTERNS = st.sampled_from([row.name for row in STRUCTURE.parameters])


@given(
    recipe=st.sampled_from(sorted(set(RECIPES) - REFUSING)),
    overrides=st.dictionaries(PATTERNS, SCHEMES, max_size=1),
)
def test_a_plan_reads_back_equal(recipe, overrides):
    plan = xn.plan(MODEL, recipe, structure=STRUCTURE, overrides=overrides)
    again = from_json(to_json(plan))
    assert again == plan
    assert (again.id, str(again)) == (plan.id, str(plan))


def test_a_plan_that_was_saved_and_loaded_writes_the_same_bits(tmp_path):
    plan = xn.plan(MODEL, "he", structure=STRUCTURE)
    save(plan, tmp_path / "plan.json")
    first, second = Net(), Net()
    assert xn.apply(plan, first, seed=0) == xn.apply(load(tmp_path / "plan.json"), second, seed=0)
    assert torch.equal(first.embed.weight, second.embed.weight)


def test_the_rows_of_a_file_have_the_promised_keys():
    data = json.loads(to_json(xn.plan(MODEL, "he", structure=STRUCTURE)))
    row = data["rows"][3]
    assert [row[key] for key in ("parameter", "role", "action", "scheme", "expected_std", "reason")] == [
        "blocks.0.up.weight",
        "HIDDEN",
        "assign",
        "he_normal",
        0.5,
        "a map; relu follows, of gain 1.414",
    ]


def test_a_scheme_may_be_edited_in_the_file_together_with_its_promise():
    data = json.loads(to_json(xn.plan(MODEL, "he", structure=STRUCTURE)))
    data["rows"][3]["scheme"] = "Normal(std=0.25)"
    with pytest.raises(PlanFileError, match=r"expects std 0\.5, and its scheme promises 0\.25"):
        from_json(json.dumps(data))
    data["rows"][3]["expected_std"] = 0.25
    assert from_json(json.dumps(data)).by_name["blocks.0.up.weight"].scheme == "Normal(std=0.25)"


def edited(path, value):
    """The text of a plan with one value changed; with ``...`` the value is taken out."""
    data = json.loads(to_json(xn.plan(MODEL, "he", structure=STRUCTURE)))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


BROKEN = {
    "no JSON": ("{", "it is no JSON"),
    "another thing": ("[1, 2]", "its version is None"),
    "another version": (edited(["version"], 99), "its version is 99"),
    "a version that only equals it": (
        edited(["version"], float(PLAN_VERSION)),
        f"its version is {float(PLAN_VERSION)}",
    ),
    "a version of true": (edited(["version"], True), "its version is True"),
    "a number too large": (edited(["rows", 0, "expected_std"], 10**400), "a number in it is too large"),
    "a size too large": (edited(["rows", 0, "shape", 0], 10**400), "has shape"),
    "a nest": ("[" * 200_000 + "]" * 200_000, "it is nested too deeply"),
    "a nested scheme": (edited(["rows", 0, "scheme"], "noisy(base=" * 5000 + "zeros" + ")" * 5000), "has the scheme"),
    "no rows": (edited(["rows"], ...), "plan lacks 'rows'"),
    "rows that are no list": (edited(["rows"], {}), "plan.rows is {}; it must be a list"),
    "a row that is no object": (edited(["rows", 0], 3), "plan.rows[0] is 3"),
    "an unknown field": (edited(["rows", 0, "sdt"], 3), "has an unknown field 'sdt'"),
    "an unknown role": (
        edited(["rows", 0, "role"], "HEAT"),
        "plan.rows[0].role is 'HEAT'; it must be one of EMBEDDING",
    ),
    "an unknown action": (edited(["rows", 0, "action"], "drop"), "it must be one of assign, keep, tied"),
    "an unknown scheme": (edited(["rows", 0, "scheme"], "he_norml"), "Unknown scheme 'he_norml'"),
    "a scheme that is evaluated": (edited(["rows", 0, "scheme"], "normal(std=exit())"), "normal.std is exit()"),
    "a scheme that does not fit": (edited(["rows", 1, "scheme"], "he_normal"), "has no fan_in"),
    "a number that is text": (edited(["rows", 0, "expected_std"], "1"), "it must be a finite number"),
    "a number that is none": (edited(["rows", 0, "expected_std"], float("nan")), "it must be a finite number"),
    "a shape of text": (edited(["rows", 0, "shape", 0], "8"), "plan.rows[0].shape[0] is '8'"),
    "assign without scheme": (edited(["rows", 0, "scheme"], None), "has action 'assign', scheme None"),
    "keep with a scheme": (edited(["rows", 0, "action"], "keep"), "has action 'keep', scheme"),
    "tied to nothing": (edited(["rows", 15, "tied_to"], None), "has action 'tied' and is tied to None"),
    "another shape": (edited(["rows", 0, "shape"], [11, 7]), "a layout of shape (11, 8)"),
    "a broken layout": (edited(["rows", 0, "layout", "out_dims"], []), "is no Layout: Dims"),
    "another fingerprint": (edited(["rows", 0, "fingerprint"], "00"), "has a fingerprint of another"),
    "a row twice": (
        edited(["rows", 1], json.loads(to_json(xn.plan(MODEL, "he", structure=STRUCTURE)))["rows"][0]),
        "plan.rows names 'embed.weight' twice",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_plan_gives_one_clear_error(name, tmp_path):
    text, message = BROKEN[name]
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanFileError) as caught:
        load(tmp_path / "plan.json")
    assert message in caught.value.fact
    assert str(tmp_path / "plan.json") in caught.value.fact


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(PlanFileError, match=r"none\.json cannot be read: No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanFileError, match="it is no text"):
        load(tmp_path / "binary.json")
    with pytest.raises(OutputError, match="cannot be written"):
        save(xn.plan(MODEL, "he", structure=STRUCTURE), tmp_path / "none" / "plan.json")


# Differences.


def test_a_plan_does_not_differ_from_itself():
    plan = xn.plan(MODEL, "he", structure=STRUCTURE)
    assert xn.diff(plan, from_json(to_json(plan))).is_empty
    assert str(xn.diff(plan, plan)) == "The plans are equal."


def test_a_difference_names_what_changed_was_added_and_removed():
    before = xn.plan(MODEL, "he", structure=STRUCTURE)
    after = xn.plan(MODEL, "he", structure=STRUCTURE, overrides={"blocks.*.up.weight": "Normal(std=0.1)"})
    found = xn.diff(before, after)
    assert {change.parameter for change in found.changed} == {"blocks.0.up.weight", "blocks.1.up.weight"}
    assert {change.field for change in found.changed} == {"scheme", "expected_std", "reason"}
    assert str(found) == "~ blocks.{0-1}.up.weight: scheme he_normal → Normal(std=0.1)"
    small = Plan(recipe="he", model="Net", rows=before.rows[:-1])
    assert [row.parameter for row in xn.diff(before, small).removed] == ["head.weight"]
    assert str(xn.diff(small, before)) == "+ head.weight: tied (the same tensor as embed.weight)"


# Structures.


@pytest.mark.parametrize("model", [MODEL, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))])
def test_a_structure_reads_back_equal(model):
    structure = xn.read(model, TOKENS if model is MODEL else torch.zeros(1, 4))
    assert files.from_json(files.to_json(structure)) == structure


def test_a_structure_has_the_promised_keys():
    data = json.loads(files.to_json(STRUCTURE))
    assert set(data) == {
        "version",
        "model",
        "parameters",
        "branches",
        "attentions",
        "gated_maps",
        "tied_heads",
        "reading",
    }
    assert {"outputs", "shortcut", "members"} <= set(data["branches"][0])


def test_a_structure_of_slices_reads_back_equal():
    slices = (Slice(role=Role.QUERY, ranges=((0, 4), (8, 12))), Slice(role=Role.KEY, ranges=((4, 8),)))
    first, *rest = STRUCTURE.parameters
    from dataclasses import replace

    structure = replace(STRUCTURE, parameters=(replace(first, slices=slices), *rest))
    assert files.from_json(files.to_json(structure)) == structure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "it is no JSON"),
        ('"text"', "its version is None"),
        ('{"version": 7}', "its version is 7"),
        ('{"version": 2}', "structure lacks 'model'"),
        (json.dumps(json.loads(files.to_json(STRUCTURE)) | {"branches": [3]}), "structure.branches[0] is 3"),
        (json.dumps(json.loads(files.to_json(STRUCTURE)) | {"more": 3}), "unknown field 'more'"),
    ],
)
def test_a_malformed_structure_gives_one_clear_error(text, message):
    with pytest.raises(StructureFileError) as caught:
        files.from_json(text)
    assert message in caught.value.fact


# Plain data.


@pytest.mark.parametrize(
    "record", [*STRUCTURE.parameters[:3], *STRUCTURE.branches, STRUCTURE], ids=lambda record: type(record).__name__
)
def test_plain_data_is_what_json_can_hold_and_says_the_same(record):
    data = to_plain(record)
    assert json.loads(json.dumps(data)) == data
    assert from_plain(type(record), data) == record


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        (Parameter, "frozen", 1, "it must be true or false"),
        (Parameter, "offset", "1", "it must be a finite number"),
        (Parameter, "name", None, "it must be text"),
        (Parameter, "shape", [1.5], "it must be a whole number"),
        (Parameter, "shape", [True], "it must be a whole number"),
        (Parameter, "slices", [{"role": "KEY", "ranges": [[1, 2, 3]]}], "has 3 entries; it must have 2"),
        (Branch, "shortcut", "straight", "it must be one of identity, projection"),
        (Branch, "parent", "0", "it must be a whole number"),
        (Structure, "reading", [], "it must be an object with the fields of a Reading"),
        (Row, "role", ["KEY"], "it must be one of"),
    ],
)
def test_a_field_of_another_kind_is_named_with_what_must_stand_there(kind, field, value, message):
    record = {
        Parameter: STRUCTURE.parameters[0],
        Branch: STRUCTURE.branches[0],
        Structure: STRUCTURE,
        Row: xn.plan(MODEL, "he", structure=STRUCTURE).rows[0],
    }[kind]
    with pytest.raises(MalformedError, match=rf"record\.{field}.*{message}"):
        from_plain(kind, to_plain(record) | {field: value}, "record")


def test_a_whole_number_is_a_number_and_an_optional_field_may_be_missing():
    data = to_plain(STRUCTURE.parameters[0]) | {"offset": 1}
    del data["activation"]
    assert from_plain(Parameter, data).offset == 1.0
