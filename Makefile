# Two commands do all the set-up: `make quickstart` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help quickstart test coverage lint bench soak e2e clean

help: ## This list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.run ## Set up, and show the product in a few minutes, offline
	$(BIN)/gatebench quickstart

test: $(VENV)/.dev ## Set up, and run the tests
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

coverage: $(VENV)/.dev ## Which lines of the instrument no test runs; fails below 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/load
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench ## Measure the marks on an idle machine: a table, and JSON (about 12 minutes; ARGS="--only cpu,wrk")
	$(BIN)/python tests/bench/engine.py $(ARGS)

soak: $(VENV)/.bench ## Half an hour at 500/s: are memory and lag flat?
	$(BIN)/python tests/bench/soak.py $(ARGS)

e2e: $(VENV)/.run ## Real gateways in front of a simulator and a real model (40 to 60 minutes, 1.5 GB; ARGS="--gateways nginx")
	$(BIN)/python -m tests.e2e.run $(ARGS)

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "gatebench needs Python 3.11, 3.12 or 3.13; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev,bench]'
	@touch $@
