# Development and demo commands; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SILENT:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := schemas stream agents lampit
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest -m "not chaos and not fuzz"
# ARGS goes to pytest: make test ARGS="tests/unit -k calendar"
ARGS ?=

.PHONY: system-packages help setup setup-dev compile interpreted demo test lint format scenarios mutations fuzz chaos simulate bench lock clean

help: ## This list
	awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.setup ## Install Lampit and its locked packages into .venv

setup-dev: $(VENV)/.setup-dev ## The same with everything the tests need

compile: setup-dev $(VENV)/.compiled ## Compile the core with mypyc: the same figures for less processor time

interpreted: ## Take the compiled core away
	rm -f stream/*.so $(VENV)/.compiled

demo: setup ## Embedded broker, all agents, live events and the page, in one command
	$(BIN)/lampit demo

test: system-packages compile lint ## Lint, types, import contracts and every test
	scripts/kafka-distribution
	PYTHON=$(PYTHON) scripts/s3-server
	# Tests on brokers wait more than they work: two at a time, each process with a Kafka of its own.
	$(if $(ARGS),$(PYTEST) $(ARGS),$(PYTEST) -q --numprocesses auto --ignore tests/broker && \
		$(PYTEST) -q --numprocesses 2 --dist loadfile tests/broker)

lint: setup-dev ## Ruff, mypy --strict and the import contracts
	echo "ruff check"
	$(BIN)/ruff check --quiet
	echo "ruff format --check"
	$(BIN)/ruff format --check --quiet
	echo "mypy --strict $(PACKAGES)"
	$(BIN)/mypy --strict $(addprefix -p ,$(PACKAGES))
	echo "lint-imports"
	$(BIN)/lint-imports --no-cache --no-logo

format: setup-dev ## Let ruff rewrite what it can
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

# ARGS: --json, --without-live, --only TEXT
scenarios: system-packages compile ## Every scenario by core, SQL and live agents, as one table
	scripts/kafka-distribution
	$(BIN)/python -m tests.scenario_table $(ARGS)

mutations: setup-dev ## Faults made by hand in the core, and the tests that catch each
	$(BIN)/python -m tests.mutation_table $(ARGS)

# LAMPIT_FUZZ_SECONDS, _EXAMPLES, _BATCHES and _LIVE_SECONDS bound it; LAMPIT_FUZZ_SEED repeats a search.
fuzz: system-packages compile ## The long random searches, about 25 minutes
	scripts/kafka-distribution
	$(BIN)/python -m pytest -m fuzz $(ARGS)

# ARGS: --seeds N, --first-seed N, --fault NAME, --events N, --json, --list
chaos: system-packages compile ## Faults put to the live agents on three brokers, as one table
	scripts/kafka-distribution
	$(BIN)/python -m pytest -q -m chaos
	$(BIN)/python -m tests.chaos $(ARGS)

# ARGS: --seeds N, --first-seed N, --processes N, --trace FILE, --json
simulate: compile ## The agents on a Kafka in memory, by seeds: crashes, zombies, late sends; about 15 minutes
	$(BIN)/python -m tests.simulation $(or $(ARGS),--seeds 2000 --processes 2)

bench: system-packages compile ## Benchmarks; results are added to bench/results.jsonl
	scripts/kafka-distribution
	$(BIN)/python -m bench $(or $(ARGS),all)

lock: setup-dev ## Write the lock files again from pyproject.toml
	scripts/lock

clean: ## Remove .venv and .cache
	rm -rf stream/*.so $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

system-packages:
	scripts/system-packages

# python3 -m venv leaves an existing environment and its packages as they are, so each lock file is installed over it.
$(BIN)/python:
	echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	$(PYTHON) -m venv $(VENV)

$(VENV)/.setup: pyproject.toml requirements.lock | $(BIN)/python
	echo "Installing the locked packages into $(VENV) ..."
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.setup-dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	echo "Installing the locked packages for development into $(VENV) ..."
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/.setup

# A machine without a C compiler goes on without, and is asked again the next time.
$(VENV)/.compiled: scripts/compile requirements-dev.lock $(wildcard stream/*.py)
	$(BIN)/python scripts/compile --if-possible
	if compgen -G "stream/*.so" >/dev/null; then touch $@; fi
