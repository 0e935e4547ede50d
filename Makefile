# The comments after ## are the help. Every path is relative, so the folder may have spaces in its name.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m
OPTBENCH := $(RUN) optbench

.PHONY: help setup demo test test-slow test-zoo check format bench mutants docs report clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## create .venv and install optbench with pinned versions

.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: set PYTHON=/path/to/python (3.11 or newer)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --constraint constraints.txt --upgrade pip
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/.installed-extras: .venv/.installed
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev,docs,ray,slurm,verify,notebook,tune,tensorboard,hf]'
	@touch $@

demo: setup ## run a surface race and the homework's CNN on digits, then compare them
	$(OPTBENCH) sweep +experiment=surface_race --name demo-surface
	$(OPTBENCH) sweep +experiment=digits_cnn --name demo-digits
	$(OPTBENCH) plot outputs/sweeps/demo-surface --path -o outputs/demo-race.png
	$(OPTBENCH) plot outputs/sweeps/demo-digits -o outputs/demo-digits.png
	$(OPTBENCH) compare outputs/sweeps/demo-surface outputs/sweeps/demo-digits

test: check ## run the checks and the tests (under 5 minutes on 2 cores)
	$(RUN) pytest -n auto

test-slow: .venv/.installed-extras ## install the extras (docs, ray, slurm, verify, notebook, tune, tensorboard, hf) and run the tests that take longer
	$(RUN) pytest -n auto --dist loadgroup -m slow

test-zoo: setup ## install optimizers of other packages (the extra zoo) and try each of them over three problems
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev,zoo]'
	$(RUN) pytest -n auto -m slow tests/optimizers/test_zoo.py

check: setup ## format, lint, types and layers
	$(RUN) ruff format --check src tests benchmarks
	$(RUN) ruff check src tests benchmarks
	$(RUN) mypy
	$(BIN)/lint-imports

format: setup ## let ruff format and mend what it can
	$(RUN) ruff check --fix src tests benchmarks
	$(RUN) ruff format src tests benchmarks

bench: setup ## measure speed ratios on this machine
	$(BIN)/python benchmarks/engine.py --quick
	$(BIN)/python benchmarks/launch.py
	$(BIN)/python benchmarks/results.py --quick
	$(BIN)/python benchmarks/curvature.py --quick
	$(BIN)/python benchmarks/critical.py --quick
	$(BIN)/python benchmarks/start.py --times 3
	$(BIN)/python benchmarks/homework.py --times 1

docs: setup ## build the documentation into site/ (open site/index.html)
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet

mutants: setup ## change the source in 300 small ways and see which of them the tests notice (an hour at most)
	$(BIN)/python benchmarks/mutants --out outputs/mutants.json

report: setup ## compare everything under outputs/
	$(OPTBENCH) compare outputs

clean: ## remove the environment, caches and builds (results in outputs/ stay)
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
