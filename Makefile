# Every target makes what it needs: Python 3.11+ and make are enough to start.

PYTHON ?= python3
ARGS :=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq

# A stamp is touched only after its installation succeeded, so a failed one is tried again.
CREATED := $(VENV)/.created
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed

# `run` and `rebuild` need less than the rest; asked for beside the rest they share its installation,
# so that `make -j run test` never has two pips in one environment.
TO_RUN := $(if $(filter-out run rebuild,$(MAKECMDGOALS)),$(INSTALLED),$(RUNNABLE))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check fmt format lint types arch prop bench soak rebuild clean

help: ## Show this list
	@echo "Usage: make TARGET [ARGS='...'] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(TO_RUN) ## Run the demonstration farm; ARGS='--json' and the like go to `milepost demo`
	@$(BIN)/milepost demo $(ARGS)

test: $(INSTALLED) ## Run the tests and write report.json; ARGS='tests/domain -x' goes to pytest
	$(BIN)/python -m pytest --json-report --json-report-file=report.json --json-report-indent=2 $(ARGS)

check: format lint types arch ## Check format, lint, types and architecture, then run the tests
	@$(MAKE) --no-print-directory test

fmt: $(INSTALLED) ## Put every file into the agreed format and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

format: $(INSTALLED) ## Check that every file is in the agreed format
	$(BIN)/ruff format --check .

lint: $(INSTALLED) ## Look for mistakes in the code
	$(BIN)/ruff check .

types: $(INSTALLED) ## Check the types of the four packages, strictly
	$(BIN)/mypy

arch: $(INSTALLED) ## Check that imports between the packages point inward
	$(BIN)/lint-imports --no-logo

prop: $(INSTALLED) ## Run the property tests with many more examples
	$(BIN)/python -m pytest -m "hypothesis and not soak and not bench" --hypothesis-profile=soak $(ARGS)

bench: $(INSTALLED) ## Measure the hot paths against their budgets; ARGS go to the benchmarks
	$(BIN)/python -m tests.benchmarks $(ARGS)

soak: $(INSTALLED) ## Run the long tests that look for rare failures
	$(BIN)/python -m pytest -m soak --hypothesis-profile=soak $(ARGS)

rebuild: $(TO_RUN) ## Drop the read models and replay the log into new ones
	@$(BIN)/milepost rebuild $(ARGS)

clean: ## Remove the environment, reports and caches; data of a farm stays
	rm -rf $(VENV) report.json build dist *.egg-info .benchmarks .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find domain application projections adapters tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Milepost needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one, for example: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNNABLE): $(CREATED) pyproject.toml
	@echo "Installing Milepost into $(VENV) ..."
	@$(PIP) -e '.[all]'
	@touch $@

$(INSTALLED): $(CREATED) pyproject.toml
	@echo "Installing Milepost and its development tools into $(VENV) ..."
	@$(PIP) -e '.[all,dev]'
	@touch $(RUNNABLE) $@
