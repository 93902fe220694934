# `make` lists the tasks.

VENV ?= .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11.3 --python-platform linux --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help run test pytest lint types layers format lock vendor texts screenshots clean

help: ## List the tasks
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

run: $(BIN)/.installed ## Install what is needed and serve on port 3000, with SQLite in this folder
	$(BIN)/oneapi

test: lint types layers pytest ## Everything CI checks: the four below

pytest: $(BIN)/.installed-test ## Run the tests, in two halves at once; PYTEST_FLAGS="-k name" picks some
	$(BIN)/python -m tools.shards $(PYTEST_FLAGS)

lint: $(BIN)/.installed-test ## Look for mistakes and for imports out of order
	$(BIN)/ruff check .

types: $(BIN)/.installed-test ## Check types
	$(BIN)/mypy

layers: $(BIN)/.installed-test ## Check that no module knows one above it
	$(BIN)/lint-imports

format: $(BIN)/.installed-test ## Lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/.installed-test ## Take the newest versions that setup.cfg allows into requirements*.txt
	$(LOCK) --upgrade setup.cfg --output-file requirements.txt
	$(LOCK) --generate-hashes setup.cfg --constraint requirements.txt --output-file requirements-hashed.txt
	$(LOCK) --upgrade setup.cfg --extra test --constraint requirements.txt --output-file requirements-test.txt
	grep -vxFf requirements.txt requirements-test.txt > $(VENV)/test-only && mv $(VENV)/test-only requirements-test.txt

vendor: ## Take the browser's parts of npm packages into oneapi/static/vendor (needs npm)
	$(BIN)/python -m tools.vendor

texts: $(BIN)/.installed-test ## List texts of the panel that have no Chinese
	$(BIN)/python -m tools.texts

screenshots: $(BIN)/.installed-test ## Take pictures of all pages into screenshots/; PAGES="dashboard login" picks some
	$(BIN)/python -m tools.screenshots $(PAGES)

clean: ## Remove what the tasks have made, save the database and the logs
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the virtual environment ----

# python3, or the newest of the supported versions where python3 is older.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
          $(if $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("fits")' 2>/dev/null),$(name))))

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.installed: setup.cfg pyproject.toml requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(BIN)/.installed-test: $(BIN)/.installed requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-test.txt
	touch $@
