# One thing each. `make demo` and `make test` need Python and a compiler, and make everything else themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DELETE_ON_ERROR:
.PRECIOUS: $(VENV)/%.stamp
.PHONY: help demo test lint format types docs bench clean

help:
	@echo "make demo    align the recordings in examples/data and draw a picture: build/demo"
	@echo "make test    the whole test suite, and its coverage"
	@echo "make lint    ruff and import-linter       make format  let ruff put right what it can"
	@echo "make types   mypy --strict                make docs    the documentation: build/docs"
	@echo "make bench   the benchmarks               make clean   remove build/ and caches, keep $(VENV)"

demo: $(VENV)/speech.stamp
	$(BIN)/semihmm demo --out build/demo

test: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist worksteal --cov $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/dev.stamp
	$(BIN)/mypy --strict

docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

bench: $(VENV)/benchmarks.stamp
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script" $(BENCH_ARGS); done

clean:
	rm -rf build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find semihmm tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp says that the virtual environment holds what these two files ask for. The install is editable, so that a
# change of the sources needs none.
$(VENV)/torch.stamp: constraints.txt
	@echo "Installing PyTorch into $(VENV) (once) ..."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	@touch $@

$(VENV)/%.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing semihmm[$*] into $(VENV) (once) ..."
	$(INSTALL) --editable '.[$*]'
	@touch $@
