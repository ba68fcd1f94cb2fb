# The chores. Needs python3 (3.11 or newer) and make; everything else goes into .venv.
# Which Python: make PYTHON=python3.12 test

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
NIGHTLY ?=

.DEFAULT_GOAL := help
.PHONY: help demo test nightly lint lock bench

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

demo: .venv/installed  ## link, sync and mirror a simulated administration, and check it to the cent
	@$(BIN)/connector demo

test: lint  ## lint, types, import contracts and the whole test suite
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal

nightly: .venv/installed  ## the properties and the long stories with many examples, others each time; takes hours
	@CONNECTOR_TEST_PROFILE=nightly $(BIN)/pytest -q -n $(WORKERS) --dist worksteal -k "$(NIGHTLY)"

bench: .venv/installed .venv-bench/installed  ## measure against a floor and dlt on recorded pages; BENCH="--size small" is quick
	@$(BIN)/python -m benchmarks $(BENCH)

lint: .venv/installed  ## format, lint, types and import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# Two locks from one resolution: everything, and what the program needs to run (the image). A third one for what the
# benchmark compares with, which never meets the program's own.
lock:  ## resolve the dependencies anew and write both lock files
	@rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --upgrade $(COMPILE) --extra dev -o requirements.lock pyproject.toml
	@build/lock/bin/uv pip compile --quiet $(COMPILE) -c requirements.lock -o requirements-run.lock pyproject.toml
	@build/lock/bin/uv pip compile --quiet --upgrade $(COMPILE) -o requirements-bench.lock benchmarks/requirements.in
COMPILE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing the locked dependencies into .venv (about a minute, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-bench/installed: requirements-bench.lock
	@$(PYTHON) -m venv .venv-bench && echo '*' > .venv-bench/.gitignore
	@.venv-bench/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@
