# Each target does its own set-up from a fresh clone: a virtual environment in .venv, pinned versions, this package.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := report

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PRESET ?= quick
OUT ?= report

# One thread a process: the work is spread over processes, and two thread pools on the same cores slow each other down.
export OMP_NUM_THREADS := 1

# Tests of one file share a process, and so what its fixtures made, such as the whole quick report.
PYTEST := $(BIN)/pytest -q -n $(WORKERS) --dist loadfile

.PHONY: setup report test slow lint readme benchmarks benchmark-check benchmark-check-sample clean docs

setup: $(VENV)/.complete

# The editable installation compiles the kernel, so that a change of its source installs anew.
KERNEL := setup.py $(wildcard src/exnihilo/fills/*.[ch])

$(VENV)/.complete: pyproject.toml constraints.txt scripts/setup.sh $(KERNEL)
	@scripts/setup.sh $(VENV) -e '.[lab,dev,zoo,triton]'
	@touch $@

report: setup ## the 24 answers, as report/index.html and report/results.json
	@$(BIN)/exnihilo claims --preset $(PRESET) --out $(OUT)

test: setup ## the quick tests and every docstring's example
	@$(PYTEST) -m 'not slow'

slow: setup ## the tests that take more than a few seconds
	@$(PYTEST) -m slow

lint: setup ## style, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

readme: setup ## writes the outputs that README.md shows
	@$(BIN)/python scripts/write_readme.py

docs: setup ## writes the pages that repeat the code: docs/recipes/ and docs/roles.md
	@$(BIN)/python scripts/write_docs.py

benchmarks: setup ## writes the figures that docs/benchmarks.md shows; on an idle machine
	@$(BIN)/python scripts/write_benchmarks.py

benchmark-check: setup ## exnihilo check and its rivals on the same healthy and broken models; hours, resumable
	@$(BIN)/python -m benchmarks.check.all --workers $(WORKERS)

benchmark-check-sample: setup ## the same on every thirtieth case; minutes
	@$(BIN)/python -m benchmarks.check.all --workers $(WORKERS) --seeds 1 --every 30 --out .benchmark-check/sample

clean: ## the environment and what was built; reports and their ledgers stay
	rm -rf $(VENV) build dist src/exnihilo/fills/*.so .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
