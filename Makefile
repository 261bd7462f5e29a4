PYTHON  ?= python3
NETWORK ?= mlp
SEED    ?= 1

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
ROLES := producer worker worker-slim trainer flower
PACKAGES := console process imaging evaluation messaging storage dispatch worker producer trainer \
            monitor desk local

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage format lint types imports fix unit integration acceptance faults \
        storm bench test-compose lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## Make .venv from locks/dev.txt
	@echo "$(VENV) is ready. Next: . $(BIN)/activate && python -m local up"

demo: $(READY) ## Train, predict and report, without Docker (NETWORK=mlp)
	@$(BIN)/python -m local demo --network $(NETWORK)

test: format lint types imports ## Everything CI checks: format, lint, types, imports, tests
	@$(PYTEST)

coverage: $(READY) ## Show which lines no test runs
	@$(BIN)/coverage erase
	@$(PYTEST) --cov

PYTEST = $(BIN)/pytest --ignore=tests/compose --numprocesses 4 --dist worksteal

format: $(READY) ## Check formatting (make fix repairs it)
	@$(BIN)/ruff format --check . || { echo "Run 'make fix' to format these files."; exit 1; }

lint: $(READY) ## Check style and docstrings
	@$(BIN)/ruff check .

types: $(READY) ## Check types
	@$(BIN)/mypy

imports: $(READY) ## Check which package may import which
	@$(BIN)/lint-imports --no-logo

fix: $(READY) ## Format, and repair what lint can repair
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

unit integration acceptance faults: $(READY)
	@$(BIN)/pytest tests/$@

unit: ## Tests of functions and classes, in seconds
integration: ## Tests with the real Redis and TensorFlow
acceptance: ## Tests of the whole system, as a user runs it
faults: ## Tests that kill, lose and corrupt things

storm: $(READY) ## Random faults until something gives (SEED=1)
	@$(BIN)/python -m tests.faults.storm --seed $(SEED)

bench: $(READY) ## Measure images per second
	@$(BIN)/python -m benchmarks

test-compose: $(READY) ## Test the containers; needs Docker
	@$(BIN)/pytest tests/compose

lock: $(BIN)/python ## Write locks/*.txt anew (UPGRADE=1 for newer versions)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes --no-deps -r locks/uv.txt
	@echo "locks/uv.txt" && $(COMPILE) --group lock --output-file locks/uv.txt
	@echo "locks/dev.txt" && $(COMPILE) $(ALL) --all-extras --output-file locks/dev.txt
	@for role in $(ROLES); do \
	    extra="--extra $$role"; [ $$role = producer ] && extra=; \
	    echo "locks/$$role.txt" && $(COMPILE) $(ALL) $$extra --constraint locks/dev.txt \
	        --output-file locks/$$role.txt || exit 1; \
	done

ALL = pyproject.toml --group build
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
          --no-emit-find-links --no-annotate $(if $(UPGRADE),--upgrade) \
          --custom-compile-command 'make lock'

clean: ## Remove .venv, caches and coverage data
	rm -rf $(VENV) build *.egg-info htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
	    { echo "Batchsight needs Python 3.11, 3.12 or 3.13: name one, as in make PYTHON=python3.12."; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)

define SHOW_PACKAGES
/^(Collecting|Processing|Requirement already)/ { if (++count % 25 == 0) { print "  " count " packages"; fflush() } }
/^Installing/ { print "Installing " count " packages into $(VENV) ..."; fflush() }
/^exit/ { code = $$2 }
END { exit code }
endef
export SHOW_PACKAGES

# Byte code is made here, on all cores: pip uses one, and where Python is told to keep none every
# program would compile its imports at each start.
$(READY): locks/dev.txt pyproject.toml | $(BIN)/python
	@echo "Fetching the locked packages, TensorFlow among them: about a minute ..."
	@{ PYTHONUNBUFFERED=1 $(BIN)/pip install --disable-pip-version-check --require-hashes --no-deps \
	    --no-compile -r locks/dev.txt; echo "exit $$?"; } | awk "$$SHOW_PACKAGES"
	@echo "Compiling them ..."
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib $(PACKAGES)
	@touch $@
