VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: quickstart test lint types layers unit bench simulate clean

quickstart: $(READY)  ## everything on this machine: broker, producer, learner
	$(BIN)/streammeta quickstart $(ARGS)

test: lint types layers unit  ## the whole gate, the same here and in CI

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

bench: $(READY)
	$(BIN)/streammeta bench $(ARGS)

SEEDS ?= 1000

simulate: $(READY)  ## so many worlds, or SEEDS=FIRST:END, over a simulated broker, disk and clock
	$(BIN)/python -m tests.simulator $(SEEDS) $(ARGS)

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
