# These commands do everything on a machine with Python >= 3.11 and make:
#   make train   sets up and trains CartPole-v1 until the loop decides that it is trained
#   make test    sets up and runs every gate and test
#   make release-check   builds both distributions, installs them in four ways, and trains with each
#   make lock    writes requirements.lock anew, after a change of pyproject.toml or constraints.txt
#   make docs    sets up and builds the documentation site into build/site
#   make trade   sets up and runs an example, as do make backtest, forecast, watch: see docs/market.md and docs/forecast.md

PYTHON ?= python3
ENV ?= CartPole-v1
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python packages/locked_install.py
PROJECT := pyproject.toml constraints.txt requirements.lock packages/locked_install.py
RELEASE := build/release
# Short-lived objects are most of what a type checker makes: with more room for them Node collects garbage less often.
PYRIGHT := NODE_OPTIONS=--max-semi-space-size=64 $(BIN)/pyright
# Tests start some hundred processes: where no bytecode is kept, each compiles the package anew.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest

.PHONY: train trade backtest forecast watch test lint format types tests coverage bench soak ray docs release-check lock clean

train: $(VENV)/.train
	$(BIN)/tensor-optix train $(ENV) $(ARGS)

trade backtest forecast watch: $(VENV)/.live
	$(BIN)/python -m examples.market.$@ $(ARGS)

test: lint
	$(MAKE) --jobs 2 types tests

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.dev
	$(PYRIGHT) --pythonpath $(BIN)/python

tests: $(VENV)/.dev
	$(PYTEST) -n 2 $(ARGS)

coverage: $(VENV)/.dev
	$(PYTEST) -n 2 --cov --cov-report term $(ARGS)

bench: $(VENV)/.bench
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev
	$(PYTEST) -m '(slow or soak) and not ray' -n 2 --dist loadgroup --durations 15 tests $(ARGS)
	$(MAKE) ray

# A tier of its own: Ray's start is slow, and can fail beside other work.
ray: $(VENV)/.dev
	$(PYTEST) -m ray tests $(ARGS)

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W -n -b html docs build/site

# Two distributions, built and installed in the four ways of docs/install.md, where nothing but the wheels is importable.
release-check: $(VENV)/.dev
	rm -rf $(RELEASE)
	$(BIN)/python -m build --outdir $(RELEASE) .
	$(BIN)/python -m build --outdir $(RELEASE) packages/tensor-optix
	$(BIN)/twine check --strict $(RELEASE)/*
	$(BIN)/python packages/release_check.py $(RELEASE)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.train: $(BIN)/python $(PROJECT)
	$(INSTALL) tf
	touch $@

$(VENV)/.live: $(BIN)/python $(PROJECT)
	$(INSTALL) tf live
	touch $@

$(VENV)/.dev: $(BIN)/python $(PROJECT)
	$(INSTALL) dev
	touch $@

$(VENV)/.docs: $(BIN)/python $(PROJECT)
	$(INSTALL) docs
	touch $@

$(VENV)/.bench: $(BIN)/python $(PROJECT)
	$(INSTALL) bench
	touch $@

# The hashes of all files that PyPI has of each version in constraints.txt, for every machine.
lock: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip compile --quiet --no-config --universal --generate-hashes --no-annotate --no-header --all-extras \
		--python-version 3.11.7 --output-file requirements.lock pyproject.toml constraints.txt

clean:
	rm -rf $(VENV) .ruff_cache .pytest_cache .import_linter_cache build dist
