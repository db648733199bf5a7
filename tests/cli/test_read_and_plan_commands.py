"""`exnihilo read`, `plan` and `recipes`: what they print, and how they refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exnihilo.cli.fixes import as_options
from exnihilo.cli.planned import plan_lines
from exnihilo.cli.shown import fold
from exnihilo.plans.files import load
from exnihilo.recipes.named import RECIPES
from exnihilo.structure.files import from_json


def test_read_prints_branches_roles_and_ties(net, ask):
    code, out, err = ask("read", "net.py:build")
    assert (code, err) == (0, "")
    assert "Residual branches (2)\n  blocks.{0-1}  identity, pre-norm → down\n" in out
    assert re.search(r"EMBEDDING +1 +88  embed\.weight  11×8\n", out)
    assert "head.weight: one tensor with embed.weight" in out


def test_read_as_json_is_the_structure_and_nothing_else(net, ask):
    code, out, err = ask("read", "net.py:loud", "--json")
    structure = from_json(out)
    assert (code, err) == (0, "a word from the factory\n")
    assert (structure.model, structure.depth) == ("Net", 2)


def test_sizes_reach_the_factory(net, ask):
    _, out, _ = ask("read", "net.py:build", "--size", "depth=5", "--size", "width=4", "--json")
    structure = from_json(out)
    assert (structure.depth, structure.by_name["embed.weight"].shape) == (5, (11, 4))


def test_an_input_of_the_command_line_takes_the_place_of_the_factorys(net, ask):
    Path("wrong.py").write_text("from net import Net\ndef example(): raise RuntimeError('none here')\n")
    assert ask("read", "wrong.py:Net")[0] == 2
    assert ask("read", "wrong.py:Net", "--input", "tokens=2x3:int64")[0] == 0


def test_a_module_of_this_folder_is_named_with_dots(net, ask, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (net / "nets_here").mkdir()
    (net / "nets_here" / "__init__.py").write_text("")
    (net / "nets_here" / "small.py").write_text((net / "net.py").read_text())
    assert ask("read", "nets_here.small:build")[0] == 0


def test_a_plan_shows_what_it_writes_by_reason_and_what_stays_by_role(net, ask):
    code, out, err = ask("plan", "net.py:build", "--recipe", "zero-residual", "--keep", "blocks.1.*")
    assert (code, err) == (0, "")
    assert out.splitlines()[:6] == [
        "zero-residual for Net",
        "16 parameters: 2 assigned, 13 kept, 1 tied",
        "",
        "Assigned (2): closes a residual branch",
        "  blocks.0.down.weight  RESIDUAL_OUT  zeros  std 0",
        "  blocks.0.down.bias    BIAS          zeros  std 0",
    ]
    assert "Kept (6): keep 'blocks.1.*'" in out
    assert "  head.weight  = embed.weight" in out


def test_all_lists_each_kept_parameter(net, ask):
    assert "  norm.bias" not in ask("plan", "net.py:build", "--recipe", "default")[1]
    _, out, _ = ask("plan", "net.py:build", "--recipe", "default", "--all")
    assert re.search(r"^  norm\.bias +NORM_SHIFT$", out, re.MULTILINE)
    assert re.search(r"^  blocks\.\{0-1\}\.up\.bias +BIAS$", out, re.MULTILINE)


def test_every_parameter_of_a_plan_is_counted_once_in_its_sections(net, ask):
    _, out, _ = ask("plan", "net.py:build", "--recipe", "he", "--keep", "role:NORM_SCALE")
    assert sum(map(int, re.findall(r"^(?:Assigned|Kept|Tied) \((\d+)\):", out, re.MULTILINE))) == 16


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_plan_fits_the_width_but_for_names_and_cuts_nothing(net, ask, columns):
    ask("plan", "net.py:build", "--recipe", "gpt2", "--out", "plan.json")
    plan = load("plan.json")
    lines = plan_lines(plan, columns, everything=True)
    assert max(len(line) for line in lines) <= columns
    shown = " ".join(" ".join(lines).split())
    assert "Normal(std=0.01414)" in shown and "blocks.{0-1}.down.weight" in shown
    for row in plan.rows:
        assert row.action == "tied" or f": {row.reason} " in shown


def test_names_stand_alone_where_a_line_has_no_room_for_laws(net, ask, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = ask("plan", "net.py:build", "--recipe", "gpt2")
    assert "  blocks.{0-1}.down.weight\n      RESIDUAL_OUT  Normal(std=0.01414)  std 0.01414\n" in out


def test_nothing_is_colored_where_the_output_is_no_terminal(net, ask):
    for arguments in (("read", "net.py:build"), ("plan", "net.py:build", "--recipe", "he"), ("recipes",)):
        assert "\x1b" not in ask(*arguments)[1]


def test_a_saved_plan_is_the_one_that_json_prints(net, ask):
    _, out, _ = ask("plan", "net.py:build", "--recipe", "he", "--out", "plan.json", "--json")
    assert Path("plan.json").read_text() == out
    assert json.loads(out)["recipe"] == "he"
    _, out, _ = ask("plan", "net.py:build", "--recipe", "he", "--out", "plan.json", "--size", "depth=2")
    assert "  exnihilo apply plan.json net.py:build --size depth=2 --seed 0 --out weights.safetensors" in out


def test_set_gives_another_law_and_the_last_of_two_patterns_holds(net, ask):
    options = ("--set", "role:NORM_SCALE=constant(value=0.5)", "--set", "norm.weight=normal(std=0.125)")
    _, out, _ = ask("plan", "net.py:build", "--recipe", "default", *options, "--json")
    rows = {row["parameter"]: row for row in json.loads(out)["rows"]}
    assert rows["blocks.0.norm.weight"]["scheme"] == "Constant(value=0.5)"
    assert rows["norm.weight"]["expected_std"] == 0.125


def test_a_diff_says_what_the_second_plan_says_otherwise(net, ask):
    ask("plan", "net.py:build", "--recipe", "he", "--out", "a.json")
    ask("plan", "net.py:build", "--recipe", "he", "--set", "blocks.*.up.bias=constant(value=2)", "--out", "b.json")
    assert ask("plan", "--diff", "a.json", "a.json") == (0, "  The plans are equal.\n", "")
    _, out, _ = ask("plan", "--diff", "a.json", "b.json")
    assert out == "  ~ blocks.{0-1}.up.bias: scheme zeros → Constant(value=2)\n"
    _, out, _ = ask("plan", "--diff", "a.json", "b.json", "--json")
    assert {change["parameter"] for change in json.loads(out)["changed"]} == {"blocks.0.up.bias", "blocks.1.up.bias"}


def test_every_recipe_is_listed(ask, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = ask("recipes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(RECIPES)


def test_a_folded_line_loses_no_word():
    line = "  name.of.something  a law that is long  → and its end, in more words than fit"
    pieces = fold(line, 44)
    assert max(map(len, pieces)) <= 44
    assert " ".join(pieces).split() == line.split()
    assert all(piece.startswith(" " * 21) for piece in pieces[1:])


@pytest.mark.parametrize(
    ("python", "options"),
    [
        ("keep=['a', 'role:B'], or overrides={'a': 'ones'}", "--keep a --keep role:B, or --set a=ones"),
        ('recipe="default", overrides={"fc.*": "zeros"}', "--recipe default, --set 'fc.*=zeros'"),
        ("run the model once", "run the model once"),
    ],
)
def test_a_fix_in_python_becomes_options(python, options):
    assert as_options(python) == options


# --------------------------------------------------------------------------------------------------- what is refused

BUILD = ("plan", "net.py:build", "--recipe")
REFUSED = [
    (("read", "gpt2"), "'gpt2' names no model.", "exnihilo read hf:gpt2"),
    (("read", "none.py:build"), "Model file 'none.py' does not exist.", "my_model.py:build"),
    (("read", "broken.py:build"), "'broken.py' failed: SyntaxError", "mend it"),
    (("read", "net.py:bild"), "Unknown factory in net.py 'bild'. Did you mean 'build'?", "use 'build'"),
    (("read", "net.py:failing"), "Factory 'failing' of 'net.py' failed: ZeroDivisionError", "mend it"),
    (("read", "net.py:leaving"), "Factory 'leaving' of 'net.py' failed: SystemExit: 3", "mend it"),
    (("read", "net.py:number"), "'number' of 'net.py' makes a int", "return the model"),
    (("read", "net.py:number", "--size", "a=1"), "'number' of 'net.py' is no function", "leave --size out"),
    (("read", "no_such_package.nets:build"), "'no_such_package.nets' failed: ModuleNotFoundError", "mend it"),
    (("read", "net.py:Net"), "Nothing says what 'net.py:Net' is called with.", "--input 2x3x224x224"),
    (("read", "net.py:build", "--size", "deph=3"), "Unknown size of build 'deph'.", "use 'depth'"),
    (("read", "net.py:build", "--size", "depth"), "Size 'depth' must be a name and a value.", "--size n_layer=2"),
    (("read", "net.py:build", "--size", "depth=1", "--size", "depth=2"), "name one twice", "give each --size once"),
    (("read", "net.py:build", "--input", "2,3"), "Input '2,3' spells no tensor.", "--input 2x3x224x224"),
    (("read", "net.py:build", "--input", "2x3:int46"), "Unknown dtype 'int46'.", "use 'int64'"),
    (("read", "net.py:build", "--input", "a=2", "--input", "3"), "must all have names of their own", "--input"),
    (("read", "net.py:build", "--input", "2x3"), "does not run on the example", ""),
    (("plan",), "MODEL and --recipe are missing", "exnihilo plan hf:gpt2 --recipe depth-scaled"),
    (("plan", "net.py:build"), "--recipe is missing", "exnihilo plan hf:gpt2 --recipe depth-scaled"),
    (("plan", "--recipe", "he"), "MODEL is missing", "exnihilo plan hf:gpt2 --recipe depth-scaled"),
    ((*BUILD, "hee"), "Unknown recipe 'hee'. Did you mean 'he'?", "use 'he'"),
    ((*BUILD, "he", "--set", "zeros"), "'zeros' sets nothing", "--set 'head.*=zeros'"),
    ((*BUILD, "he", "--set", "a=zeros", "--set", "a=ones"), "--set means 'a' twice", "give it once"),
    ((*BUILD, "he", "--set", "norm.*=zeroes"), "Unknown scheme 'zeroes'. Did you mean 'zeros'?", "use 'zeros'"),
    ((*BUILD, "he", "--set", "nrm.*=zeros"), "Pattern 'nrm.*' matches no parameter of Net.", "use"),
    ((*BUILD, "he", "--keep", "role:HAED"), "'HAED'", "HEAD"),
    ((*BUILD, "he", "--out", "none/plan.json"), "none/plan.json cannot be written: 'none' is no folder.", "mkdir"),
    ((*BUILD, "he", "--out", "."), ". cannot be written: it is a folder.", "name a file"),
    (("plan", "net.py:plain", "--recipe", "zero-residual"), "has nothing to do", "--recipe he"),
    (("plan", "net.py:Powers", "--recipe", "he", "--input", "1x4"), "no rule for 1 parameter", "--keep role:UNKNOWN"),
    (("plan", "--diff", "net.py", "net.py"), "net.py is no plan", "exnihilo plan MODEL --recipe NAME --out plan.json"),
    (("plan", "--diff", "none.json", "net.py"), "none.json cannot be read", "exnihilo plan MODEL"),
    (("plan", "net.py:build", "--diff", "a", "b"), "--diff compares two saved plans, and takes no MODEL.", "--diff"),
    (("plan", "--keep", "a", "--diff", "a", "b"), "--diff compares two saved plans, and takes no --keep.", "--diff"),
]


@pytest.mark.parametrize(("arguments", "fact", "fix"), REFUSED)
def test_bad_input_gets_one_clear_error_and_writes_no_file(net, ask, arguments, fact, fix):
    Path("broken.py").write_text("def build(:\n")
    before = {path.name for path in net.iterdir()}
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert fact in first
    assert any(line.startswith("  Fix: ") and fix in line for line in rest)
    assert re.fullmatch(r"  \[[\w-]+\]  docs/errors\.md#[\w-]+", rest[-1])
    assert {path.name for path in net.iterdir()} - {"__pycache__"} == before


PROGRAM = """
import sys
for module in ("sklearn", "scipy", "altair", "vl_convert", "jinja2", "pyarrow"):
    sys.modules[module] = None
sys.argv = ["exnihilo", *{arguments!r}]
from exnihilo.cli import main
assert "torch" not in sys.modules
main()
"""


@pytest.mark.parametrize("arguments", [("recipes",), ("read", "net.py:build"), ("plan", "net.py:build", "--recipe=he")])
def test_the_core_alone_is_enough(net, arguments):
    code = PROGRAM.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=net)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_without_a_traceback(net):
    Path("slow.py").write_text("import time, pathlib\ndef build():\n  pathlib.Path('on').touch(); time.sleep(60)\n")
    command = [sys.executable, "-c", "from exnihilo.cli import main; main()", "read", "slow.py:build"]
    process = subprocess.Popen(command, cwd=net, stderr=subprocess.PIPE, text=True, start_new_session=True)
    limit = time.monotonic() + 60
    while not Path("on").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "\nInterrupted. Nothing was written.\n  Continue with: exnihilo read slow.py:build\n"
