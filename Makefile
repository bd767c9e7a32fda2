# What a developer does in a day. Every target does its own set-up; nothing but python3 and make is needed.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

# What `run` serves. Without a name, commands use ./artifacts.
EMBEDDED := models_store/artifacts
VENV := .venv
BIN := $(VENV)/bin
SERVE_STAMP := $(VENV)/.installed-serve
DEV_STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup run prepare test lint docs format clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(SERVE_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[compress,dev]'
	@touch $@ $(SERVE_STAMP)

setup: $(DEV_STAMP) ## Install everything for development into .venv, and the pre-commit hook.
	$(BIN)/pre-commit install

prepare: $(SERVE_STAMP) ## Build what derives from the embedded models: ONNX and int8.
	$(BIN)/slimseq prepare --store $(EMBEDDED)

run: prepare ## Serve the embedded models on HOST:PORT (127.0.0.1:8000).
	SLIMSEQ_STORE=$(EMBEDDED) SLIMSEQ_HOST=$(HOST) SLIMSEQ_PORT=$(PORT) $(BIN)/slimseq serve

test: $(DEV_STAMP) ## Run all tests.
	$(BIN)/python -m pytest

lint: $(DEV_STAMP) ## Check style, types, layers, and the README's tables against the manifests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/slimseq report --store $(EMBEDDED) --readme README.md --check
	$(BIN)/slimseq report --store $(EMBEDDED) --readme docs/results.md --check

docs: $(DEV_STAMP) ## Build the documentation site: docs/_build/index.html.
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

format: $(DEV_STAMP) ## Format, and fix what can be fixed.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and everything derived.
	rm -rf $(VENV) build docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf models_store/artifacts/*/*/onnx models_store/artifacts/*/*/ctranslate2
