VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
READY = $(VENV)/.ready

# Compiled modules are kept, whatever the caller's shell says: every process of a test would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test lint types layers unit quick coverage fuzz bench chaos simulate ranks clean

quickstart: $(READY)  ## everything on this machine: broker, producer, learner
	$(BIN)/streammeta quickstart $(ARGS)

test: $(READY)  ## the whole gate, the same here and in CI; what needs no tests runs beside them, told at the end
	@told=$$(mktemp); $(MAKE) --no-print-directory --keep-going lint types layers >$$told 2>&1 & \
	$(MAKE) --no-print-directory unit; unit=$$?; \
	wait $$!; checks=$$?; cat $$told; rm $$told; exit $$((unit || checks))

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

# One more than a small machine has processors: at any time some tests wait for processes.
WORKERS ?= 3

unit: $(READY)
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

QUICK = codec config episodes evaluation algorithms/test_moml.py learner/test_engine.py runtime/test_iteration.py \
  runtime/test_quarantine_loop.py state/test_memories.py state/test_order_log.py state/test_trials.py

quick: $(READY)  ## the minute before a commit: lint, layers, the core's tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports
	$(BIN)/pytest --numprocesses 2 -q -m "not slow" $(addprefix tests/,$(QUICK))

coverage: $(READY)  ## the tests with their coverage: a third slower
	$(MAKE) unit ARGS="--cov --cov-report=term:skip-covered $(ARGS)"

fuzz: $(READY)  ## 100,000 mutants of each kind of input; FUZZ_INPUTS for another number
	FUZZ_INPUTS=$${FUZZ_INPUTS:-100000} $(BIN)/pytest --numprocesses 2 --dist load --timeout 0 tests/fuzz $(ARGS)

bench: $(READY)
	$(BIN)/streammeta bench $(ARGS)

chaos: $(READY)  ## kills, freezes, cuts and a rotation against Apache Kafka; SEEDS=10 for ten plans
	$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),1) $(ARGS)

ranks: $(READY)  ## Apache Kafka, two and four ranks, torchrun: 20 kills each, or KILLS=100: exact counts, the same bits
	RANKS_KILLS=$(or $(KILLS),20) $(BIN)/pytest --timeout 0 tests/distributed -k "killed or cut_off_is" $(ARGS)

simulate: $(READY)  ## so many worlds, or SEEDS=FIRST:END, over a simulated broker, disk and clock
	$(BIN)/python -m tests.simulator $(or $(SEEDS),1000) $(ARGS)

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
