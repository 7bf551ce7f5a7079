# Needs only make and Python 3.11 to 3.13; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install run test test-units test-runs test-calibration test-trust lint docs bench verify clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 12

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "ganinfer needs Python 3.11, 3.12 or 3.13; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(STAMP) ## The environment in .venv

run: $(STAMP) ## Estimates and a report from the shipped YRI + CEU genomes; goes on where it was stopped
	$(BIN)/ganinfer run experiments/yri-ceu.yaml $(if $(wildcard runs/yri-ceu/rounds/*),--resume)

lint: $(STAMP) ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) lint ## Lint and the default tests
	$(MAKE) --no-print-directory --jobs 2 test-runs test-units test-calibration test-trust

test-units:
	$(BIN)/python -m pytest --ignore-glob='tests/test_runner*.py'

# Whole runs fix TensorFlow's threads for their process, which only works before its first use: they have their own.
# The last two go side by side when the others have ended, which take about as long as each other.
CALIBRATION = tests/test_runner_calibration.py
TRUST = tests/test_runner_replicates.py tests/test_runner_verdict.py
test-runs:
	$(BIN)/python -m pytest $(filter-out $(CALIBRATION) $(TRUST),$(wildcard tests/test_runner*.py))

test-calibration:
	$(BIN)/python -m pytest $(CALIBRATION)

test-trust:
	$(BIN)/python -m pytest $(TRUST)

bench: $(STAMP) ## Benchmarks, ratios within one run
	$(BIN)/python -m tests.bench

# One that fails does not keep the others from being made.
VERIFICATION = .theory .leak "" .coverage .replicates .nuisance .opinions .bottlenecks .whole_sequences .widths .planted '.adequacy --full 5'
verify: $(STAMP) ## Long statistical verification, resumable
	@failed=; for part in $(VERIFICATION); do \
	  $(BIN)/python -m tests.verification$$part || failed="$$failed tests.verification$$part"; \
	done; test -z "$$failed" || { echo "not passed:$$failed"; exit 1; }

docs: $(STAMP) ## Checks that every command and link of the docs works
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf $(VENV) build dist *.egg-info
