# `make demo` and `make test` need python3 (3.11 or newer, with venv) and make, nothing else. Both set up .venv when
# it is missing or when pyproject.toml or the pinned versions have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := .matrix/engines
ICEBERG := .matrix/iceberg
OLD_DUCKDB := .matrix/duckdb
CONSTRAINTS := tests/environments/constraints.txt
STAMP := $(VENV)/.set-up

# Installs in seconds what takes pip minutes.
UV := uv==0.13.8
# What `make constraints` pins by hand; everything else becomes the newest that fits.
AIRFLOW := 3.3.2
AMAZON := 9.39.0

# It is set on some machines, and makes every start of Airflow take three times as long.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# uv trusts whom the machine trusts, as pip does: behind a company's proxy its own list is not enough.
export UV_SYSTEM_CERTS := 1
# A package index that does not answer is asked again for a minute (by default, for 10 seconds), a slow one waited for.
export UV_HTTP_RETRIES ?= 8
export UV_HTTP_TIMEOUT ?= 180
export PIP_RETRIES ?= 8
export PIP_DEFAULT_TIMEOUT ?= 180

.DEFAULT_GOAL := help
.PHONY: help demo test check test-mwaa test-matrix test-reference test-engines bench distributions constraints clean

help: ## what can be made
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## run the main job: a synthetic trail, a local S3 server, Airflow, DuckDB
	@$(BIN)/python -m airflow_provider_cloudtrail.demo

test: $(STAMP) ## run all tests
	@$(BIN)/python -m pytest -n logical --dist worksteal

check: $(STAMP) ## lint, format, types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

test-mwaa: $(STAMP) ## run on the six images of Amazon MWAA, in each mode of deployment
	@$(BIN)/python -m tests.mwaa.matrix

test-matrix: $(STAMP) ## the same on the oldest and the newest image of each major line
	@$(BIN)/python -m tests.mwaa.matrix --ci

test-reference: $(STAMP) ## compare the validation of digests with the AWS CLI's, which is installed for it
	@$(BIN)/python -m pytest -n logical tests/reference

bench: $(STAMP) ## compare speed, memory and requests with other tools; make bench BENCH='--scale 0.05' takes minutes
	@$(BIN)/python -m tests.benchmarks --output .bench/results.md $(BENCH)

test-engines: $(STAMP) ## run warehouses on Snowflake's emulator and the oldest DuckDB, read Iceberg with two others; installed for it
	@test -x $(ENGINES)/bin/python || $(BIN)/uv venv -q -p $(BIN)/python $(ENGINES)
	@$(BIN)/uv pip install -q -p $(ENGINES)/bin/python -r tests/environments/engines.txt
	@$(ENGINES)/bin/python -m pytest -k 'snowflake or all_engines or shows_no_value' \
		tests/unit/warehouse tests/integration/test_concurrent_writers.py
	@test -x $(ICEBERG)/bin/python || $(BIN)/uv venv -q -p $(BIN)/python $(ICEBERG)
	@$(BIN)/uv pip install -q -p $(ICEBERG)/bin/python -r tests/environments/iceberg.txt
	@$(BIN)/python -m pytest tests/reference/test_iceberg.py
	@$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --target $(OLD_DUCKDB) -r tests/environments/duckdb.txt
	@PYTHONPATH=$(OLD_DUCKDB) $(BIN)/python -m pytest -n logical -k duckdb tests/unit/warehouse \
		tests/unit/export/test_log_files.py tests/unit/export/test_batches.py

distributions: $(STAMP) ## build the wheel and the sdist, look what is in them, throw them away
	@$(BIN)/python .ci/check_distributions.py

constraints: | $(STAMP) ## renew the pinned versions
	@printf '%s\n' apache-airflow==$(AIRFLOW) apache-airflow-providers-amazon==$(AMAZON) hatchling > $(VENV)/pins.in
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --extra dev pyproject.toml $(VENV)/pins.in -o $(VENV)/pins.txt
	@{ echo '# Pinned versions of the development environment: Python 3.11 to 3.13, x86-64 and arm64.'; \
	   echo '# Renew with `make constraints`; the version of Airflow stands in the Makefile.'; \
	   cat $(VENV)/pins.txt; } > $(CONSTRAINTS)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		     "Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Needs Python's venv module (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV), once ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq '$(UV)'
	@$(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]' -c $(CONSTRAINTS) -b $(CONSTRAINTS) \
		|| { echo "uv could not install, now with pip (some minutes)"; \
		     PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install -qq -e '.[dev]'; }
	@touch $@

clean: ## remove everything that was set up, built or cached
	@rm -rf $(VENV) .matrix .bench .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
