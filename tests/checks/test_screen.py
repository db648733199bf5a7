"""What one sees of a diagnosis: the screen, a parameter's story, the notebook, JSON and SARIF."""

import json
import re

import pytest

from checked_models import CRITERION, Adapted, ResNet, images, mlp, vectors, zero
from exnihilo import check
from exnihilo.checks.files import from_json, load, save, to_json
from exnihilo.checks.records import Diagnosis, Facts, Finding
from exnihilo.checks.sarif import to_sarif
from exnihilo.checks.text import named, notebook, screen
from exnihilo.errors import DiagnosisFileError, OutputError, UnknownNameError
from exnihilo.probes.records import Opening, Part


@pytest.fixture(scope="module")
def broken():
    model = mlp()
    zero(model[3].weight, model[3].bias)
    return check(model, vectors(), criterion=CRITERION)


@pytest.fixture(scope="module")
def healthy():
    return check(ResNet(), images(), criterion=CRITERION)


def large(n=5000):
    openings = tuple(
        Opening(
            parameter=f"layers.{i}.weight",
            shape=(4, 4),
            unit_dims=(0,),
            fate="stuck",
            parts=(Part(fate="stuck", ranges=((0, 4),), num_units=4),),
        )
        for i in range(n)
    )
    names = tuple(opening.parameter for opening in openings)
    finding = Finding(
        code="stuck-saddle", severity="FAIL", basis="exact", parameters=names, evidence="<b>evidence</b>", cause="cause"
    )
    facts = Facts(
        model="Large", num_parameters=16 * n, batch="", loss=1.0, num_samples=8, certified="float64", seconds=1.0
    )
    return Diagnosis(facts=facts, findings=(finding,), openings=openings)


def test_the_screen_says_what_stops_the_model_and_what_passed(broken):
    lines = screen(broken).splitlines()
    assert lines[0].startswith("Sequential · 1,732 parameters")
    assert any(line.startswith("FAIL  stuck-saddle    3.weight (1,024 elements); stops") for line in lines)
    assert any("fix" in line and "nn.init.normal_(model[3].weight" in line for line in lines)
    assert any("verified" in line for line in lines)
    assert any(line.startswith("PASS") for line in lines)


@pytest.mark.parametrize("columns", [50, 60, 80, 100])
def test_no_line_is_longer_than_the_screen(broken, columns):
    assert max(map(len, screen(broken, columns=columns).splitlines())) <= columns


def test_a_healthy_zero_is_one_short_finding(healthy):
    lines = screen(healthy).splitlines()
    assert sum(line.startswith(("FAIL", "WARN")) for line in lines) == 0
    assert sum(line.startswith("INFO  opens-later") for line in lines) == 1


def test_five_thousand_names_take_one_screen():
    lines = screen(large()).splitlines()
    assert len(lines) < 12
    assert "layers.{0}.weight" not in lines[1]
    assert "layers.{1-4999}.weight" in " ".join(lines)


def test_names_that_differ_in_numbers_are_one():
    assert named([f"h.{i}.w" for i in range(12)]) == "h.{0-11}.w"
    assert named(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_a_parameters_story_says_what_it_hangs_on(broken):
    assert "it is the cause; 4 more hang on it" in broken.explain("3.weight")
    assert "it hangs on 3.weight" in broken.explain("0.weight")
    assert "opens at step 1" in broken.explain("5.bias")
    with pytest.raises(UnknownNameError, match=r"Did you mean .3\.weight."):
        broken.explain("3.wieght")


def test_the_notebook_escapes_what_it_shows():
    assert "<b>evidence</b>" not in notebook(large(2))
    assert "&lt;b&gt;evidence" in notebook(large(2))
    assert large(2)._repr_html_() == notebook(large(2))


def test_json_round_trips_and_says_the_derived_facts_too(broken, tmp_path):
    data = json.loads(to_json(broken))
    assert data["opening_step"]["3.weight"] is None
    assert data["opening_step"]["5.bias"] == 1
    assert data["effective_width"]["0.weight"] == 32
    assert data["findings"][0]["code"] == "stuck-saddle"
    assert data["findings"][0]["parameters"][0] == "3.weight"
    assert from_json(to_json(broken)) == broken
    save(broken, tmp_path / "d.json")
    assert load(tmp_path / "d.json") == broken


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "facts": {}}'])
def test_what_is_no_diagnosis_is_refused(text):
    with pytest.raises(DiagnosisFileError, match="is no diagnosis"):
        from_json(text)


def test_a_file_that_cannot_be_written_says_so(broken, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        save(broken, tmp_path / "missing" / "d.json")


def test_sarif_has_what_its_specification_requires(broken, healthy):
    log = json.loads(to_sarif(broken, file="examples/check_me.py"))
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    result = run["results"][0]
    assert (result["ruleId"], result["level"]) == ("stuck-saddle", "error")
    assert rules[result["ruleIndex"]] == "stuck-saddle"
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "3.weight"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "examples/check_me.py"
    assert {r["level"] for r in json.loads(to_sarif(healthy))["runs"][0]["results"]} == {"note"}


def test_sarif_says_what_was_suppressed_and_why():
    found = check(Adapted(["up", "down"]), vectors(), criterion=CRITERION, suppress={"stuck-saddle": "pruned"})
    result = json.loads(to_sarif(found))["runs"][0]["results"][0]
    assert result["suppressions"] == [{"kind": "external", "justification": "pruned"}]
    assert re.search(r"off   stuck-saddle +suppressed: pruned", screen(found))
