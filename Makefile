# What a developer does in a day. Every target does its own set-up; nothing but Python and make is needed.
HOST ?= $(or $(SLIMSEQ_HOST),127.0.0.1)
PORT ?= $(or $(SLIMSEQ_PORT),8000)
# The Pythons to try, in this order. `make PYTHON=/path/to/python3.12 run` names another one.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

# What `run` serves. Without a name, commands use ./artifacts.
EMBEDDED := models_store/artifacts
VENDORED := app/slimseq/app/web/static/vendor
VENV := .venv
BIN := $(VENV)/bin
SERVE_STAMP := $(VENV)/.installed-serve
DEV_STAMP := $(VENV)/.installed-dev
# The environment of the `optimum` extra, which holds transformers below 4.58.
VENV4 := .venv-transformers4
STAMP4 := $(VENV4)/.installed
# The environment of the `openvino` extra: a peer of the benchmarks.
VENV_OPENVINO := .venv-openvino
STAMP_OPENVINO := $(VENV_OPENVINO)/.installed
# The environment of the `cluster` extra: Ray.
VENV_CLUSTER := .venv-cluster
STAMP_CLUSTER := $(VENV_CLUSTER)/.installed
# Modules are compiled when they are first imported: to compile all of them takes most of a minute.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile -e
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest
# So many processes; each test file runs in one of them, in the order that tests/conftest.py gives.
PROCESSES := --dist loadfile --no-loadscope-reorder -n
# Versions for Python 3.11 to 3.14 and every platform, with the hashes of PyPI. Versions that still fit stay.
LOCK := $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'
LOCKS := deploy/requirements
# Where tests are that measure seconds. To collect all others imports PyTorch, for nothing.
ALONE_TESTS := tests/chaos tests/service tests/inference/text/test_held_interpreter.py

.DEFAULT_GOAL := help
.PHONY: help setup setup-openvino run prepare check test chaos audit docs reference vendor screenshots lock test-transformers4 test-cluster lint format clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Makes the environment $(1) with the first Python that is of a supported version and has venv.
define make_venv
@seen=; for python in $(PYTHON); do \
	version=$$($$python -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then version="$$version without venv"; \
	elif $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; then \
		echo "Using Python $$version ($$(command -v $$python))"; exec $$python -m venv $(1); \
	fi; \
	seen="$${seen:+$$seen, }$$python is $$version"; \
done; \
echo "error: Slimseq needs Python 3.11 to 3.14 with venv (found: $${seen:-none}). Install one, or name one:" \
	"make PYTHON=/path/to/python3.13. For Python 3.15, ONNX Runtime has no build yet." >&2; exit 1
endef

$(BIN)/python:
	$(call make_venv,$(VENV))

$(VENV4)/bin/python:
	$(call make_venv,$(VENV4))

$(VENV_OPENVINO)/bin/python:
	$(call make_venv,$(VENV_OPENVINO))

$(VENV_CLUSTER)/bin/python:
	$(call make_venv,$(VENV_CLUSTER))

$(SERVE_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing Slimseq and its packages into $(VENV): about a minute the first time ..."
	@$(BIN)/python $(INSTALL) .
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python $(INSTALL) '.[compress,dev]'
	@touch $@ $(SERVE_STAMP)

$(STAMP4): pyproject.toml | $(VENV4)/bin/python
	$(VENV4)/bin/python $(INSTALL) '.[compress,optimum,dev]'
	@touch $@

$(STAMP_OPENVINO): pyproject.toml | $(VENV_OPENVINO)/bin/python
	$(VENV_OPENVINO)/bin/python $(INSTALL) '.[compress,openvino,dev]'
	@touch $@

$(STAMP_CLUSTER): pyproject.toml | $(VENV_CLUSTER)/bin/python
	$(VENV_CLUSTER)/bin/python $(INSTALL) '.[cluster,dev]'
	@touch $@

setup: $(DEV_STAMP) ## Install everything for development into .venv, and the pre-commit hook.
	$(BIN)/pre-commit install

setup-openvino: $(STAMP_OPENVINO) ## Install OpenVINO, a peer of the benchmarks, into .venv-openvino.

prepare: $(SERVE_STAMP) ## Build what derives from the embedded models: ONNX and int8.
	$(BIN)/slimseq prepare --store $(EMBEDDED)

run: prepare ## Serve the embedded models on HOST:PORT (127.0.0.1:8000).
	exec env SLIMSEQ_STORE=$(EMBEDDED) SLIMSEQ_HOST=$(HOST) SLIMSEQ_PORT=$(PORT) $(BIN)/slimseq serve

check: lint ## Lint, and run the tests that start no process and load no embedded model: under 3 minutes.
	$(PYTEST) $(PROCESSES) 2 -m 'not slow'

# Tests wait for what they start: more processes than cores. Those that wait for idle CPU time come last.
test: $(DEV_STAMP) prepare ## Run all tests: about 15 minutes on two cores.
	$(PYTEST) $(PROCESSES) 3 -m 'not alone'
	$(PYTEST) -m alone $(ALONE_TESTS)

chaos: $(DEV_STAMP) prepare ## Send 10,000 mixed requests with attacks and failures at once. For a machine without other work.
	$(BIN)/python -m tests.chaos

test-transformers4: $(STAMP4) ## Run what touches transformers on 4.57, and the optimum extra.
	$(VENV4)/bin/python -m pip check
	$(VENV4)/bin/python -m pytest $(PROCESSES) 2 -m 'transformers4 and not slow'

test-cluster: $(STAMP_CLUSTER) ## Run the service, and a job on a file, on two Ray nodes on this machine.
	$(VENV_CLUSTER)/bin/python -m pip check
	$(VENV_CLUSTER)/bin/python -m pytest -W ignore::DeprecationWarning tests/app/cluster tests/evaluation/bulk/on_ray
	$(VENV_CLUSTER)/bin/python -m pytest -W ignore::DeprecationWarning tests/benchmarks/test_cluster_files.py

audit: $(DEV_STAMP) ## Look for known vulnerabilities of the installed packages (needs PyPI) and for secrets in files.
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r $(VENV)/installed.txt
	$(BIN)/pre-commit run detect-secrets --all-files

lint: $(DEV_STAMP) ## Check style, types, layers, the reference against the code, and the README's tables against the manifests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.openapi --check
	$(BIN)/python -m docs.reference_pages --check
	@echo "Speed is compared with commit $$(cat benchmarks/baseline): python -m benchmarks.regression"
	$(BIN)/slimseq report --store $(EMBEDDED) --readme README.md --readme docs/results.md --check

docs: $(DEV_STAMP) ## Build the documentation site: docs/_build/index.html.
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

reference: $(DEV_STAMP) ## Write docs/reference from the code: the OpenAPI document and the pages.
	$(BIN)/python -m docs.openapi
	$(BIN)/python -m docs.reference_pages

vendor: ## Copy the page's libraries from npm, as app/package-lock.json pins them. Needs npm.
	npm ci --prefix app --ignore-scripts --no-audit --no-fund
	cd $(VENDORED) && find . -type f -exec cp $(CURDIR)/app/node_modules/{} {} \;
	cd $(VENDORED) && find . -type f | LC_ALL=C sort | xargs sha256sum > $(CURDIR)/app/vendored.sha256
	rm -rf app/node_modules

screenshots: $(DEV_STAMP) prepare ## Take the README's pictures of the page. Needs Chromium.
	$(BIN)/python -m tests.web.screenshots

lock: $(DEV_STAMP) ## Write the image's pinned packages: deploy/requirements. `make lock UPGRADE=--upgrade` renews them.
	$(BIN)/python -m pip install --quiet 'uv>=0.9'
	$(LOCK) $(UPGRADE) --output-file $(LOCKS)/build.txt $(LOCKS)/build.in
	$(LOCK) $(UPGRADE) --extra postgres --extra redis --extra signing --output-file $(LOCKS)/serving.txt pyproject.toml
	$(LOCK) $(UPGRADE) --extra postgres --extra redis --extra signing --extra compress --constraint $(LOCKS)/serving.txt \
		--override $(LOCKS)/without-torch.in --no-emit-package torch --output-file $(LOCKS)/compress.txt pyproject.toml

format: $(DEV_STAMP) ## Format, and fix what can be fixed.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environments and everything derived.
	rm -rf $(VENV) $(VENV4) $(VENV_CLUSTER) build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf $(EMBEDDED)/*/*quantized $(EMBEDDED)/*/*compact $(EMBEDDED)/*/*/onnx $(EMBEDDED)/*/*/ctranslate2
