"""docs/benchmarks.md shows what the benchmarks print, in tables that their script writes."""

import importlib.util
import json
import subprocess
import sys

import imports
import pytest

SCRIPT = imports.ROOT / "scripts" / "write_benchmarks.py"
ENGINE_ROW = {
    "case": "8-4-2, batch 2",
    "optimizer": "adam",
    "runs": 4,
    "ratios": [3.0, 9.0, 4.0],
    "plain": 1000.4,
    "batched": 4000.0,
    "wanted": 2.0,
}


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("write_benchmarks", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_ratio_is_the_median_of_its_rounds_with_their_range_and_number(script):
    assert script.engine_table([ENGINE_ROW])[-1] == (
        "| 8-4-2, batch 2 | adam | **4.0×** | 3.0 to 9.0, n = 3 | 1,000 | 4,000 |"
    )


def test_a_time_is_the_median_of_its_rounds_with_their_range_and_number(script):
    row = {"work": "plan", "wall": [0.3, 0.1, 0.2], "cpu": [0.2, 0.1, 0.15], "goal": 10.0}
    assert script.ledger_table([row])[-1] == "| plan | **0.20 s** | 0.10 to 0.30 s, n = 3 | 0.15 s | 10 s |"


def test_one_block_is_written_and_the_rest_stays(script):
    page = "Above.\n<!-- begin: a -->\nold\n<!-- end: a -->\n<!-- begin: b -->\nkept\n<!-- end: b -->\n"
    fresh = script.rewritten(page, "a", ["new"])
    assert fresh == page.replace("old", "new")
    assert script.rewritten(fresh, "a", ["new"]) == fresh
    with pytest.raises(SystemExit, match="no markers"):
        script.rewritten(page, "c", [])


def test_the_machine_is_named_by_its_kind(script, monkeypatch):
    monkeypatch.setattr(script.os, "cpu_count", lambda: 2)
    cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor avx2\n"
    assert script.machine_class(cpuinfo) == "2 shared AMD EPYC cores, one thread"
    assert script.machine_class(cpuinfo.replace(" hypervisor", "")) == "2 AMD EPYC cores, one thread"


def test_every_table_of_the_page_is_filled_and_says_when_and_where(script):
    text = script.PAGE.read_text(encoding="utf-8")
    for name in script.TABLES:
        block = text.split(f"<!-- begin: {name} -->\n")[1].split(f"<!-- end: {name} -->")[0]
        assert block.startswith("| ") and "Measured on 20" in block, name
        assert "n = " in block or name not in ("engine", "ledger"), name


@pytest.mark.slow
def test_the_engine_prints_what_the_page_shows(script):
    command = [sys.executable, imports.ROOT / "benchmarks" / "engine.py"]
    command += ["--json", "--rounds", "1", "--steps", "16", "--runs", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    assert [row.keys() for row in rows] == [ENGINE_ROW.keys()] * 4
    assert len(script.engine_table(rows)) == 2 + 4


def test_models_that_are_slow_are_named_and_shares_of_outputs_shown(script):
    oracle = {"models": 2, "true": 8, "precision": 1.0, "recall": 0.875, "exact": 1}
    totals = {
        "models": 3,
        "read": 3,
        "read_and_planned": 2,
        "slow": ["timm:x"],
        "renamed_differ": [],
        "oracles": {"by hand": oracle},
    }
    lines = script.structure_table({"totals": totals})
    assert "| slower than 1 s, and than 1.5 × the bare forward pass | timm:x |" in lines
    assert lines[-1].endswith("2 models, 8 outputs | precision **100.00%**, recall **87.50%** |")
