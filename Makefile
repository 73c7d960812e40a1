# `make` lists the targets. Everything runs in .venv, which is made from requirements-dev.lock and made anew when that changes.

PYTHON ?= python3
ARGS ?=
BASE ?=
IMAGE ?= authsvc

VENV := .venv
BIN := $(VENV)/bin
SOURCES := authsvc tests tools bench examples
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Tests start hundreds of processes: none compiles again what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help run demo test check fuzz chaos bench lint types fmt proto audit sbom freeze docs lock image clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.ready ## Start authsvc for development, with its own Postgres and mail catcher.
	@$(BIN)/authsvc dev $(ARGS)

demo: $(VENV)/.ready ## Walk through sign-up, sign-in with TOTP and a refused replay, with real mail.
	@$(BIN)/authsvc demo $(ARGS)

test: $(VENV)/.ready ## Check everything: lint, types, then all tests (ARGS goes to pytest: make test ARGS="-k totp").
	@$(MAKE) --jobs=2 --output-sync lint types
	@$(BIN)/python tools/run_tests.py $(ARGS)

check: $(VENV)/.ready ## Check lint, types, and the tests near what changed since the branch began (BASE=main); the rest is left to make test.
	@$(MAKE) --jobs=2 --output-sync lint types
	@$(BIN)/python -m tools.check "$(BASE)" $(ARGS)

fuzz: $(VENV)/.ready ## Send a million messages of every kind to every method (another run: make fuzz FUZZ_SEED=1).
	@FUZZ_MESSAGES=$${FUZZ_MESSAGES:-1000000} FUZZ_SEED=$(or $(FUZZ_SEED),0) $(BIN)/pytest -q tests/fuzz $(ARGS)

chaos: $(VENV)/.ready ## Kill servers 200 times and Postgres 20 times under load, and look for what is lost (CHAOS_SEED=1: otherwise).
	@CHAOS_KILLS=$${CHAOS_KILLS:-200} CHAOS_SEED=$(or $(CHAOS_SEED),0) $(BIN)/pytest -q tests/chaos $(ARGS)

bench: $(VENV)/.ready ## Measure the server against an empty RPC on the same stack.
	@$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/.ready ## Check style, imports and layers.
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --diff .
	@report=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$report"; exit 1; }
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml authsvc
	@echo "lint: ok"

types: $(VENV)/.ready ## Check types.
	@$(BIN)/mypy --no-error-summary $(SOURCES)
	@echo "types: ok"

fmt: $(VENV)/.ready ## Format the code and the protos.
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write

proto: $(VENV)/.ready ## Generate the stubs in authsvc/v1 from the protos.
	@$(BIN)/python tools/generate_stubs.py

audit: $(VENV)/.ready ## Ask the advisories about every locked dependency; needs the package index itself, not a mirror.
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

sbom: $(VENV)/.ready ## Write dist/sbom.cdx.json: what a release is made of, as CycloneDX.
	@mkdir -p dist
	@$(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --of JSON \
		--output-file dist/sbom.cdx.json requirements.lock
	@echo "dist/sbom.cdx.json"

freeze: $(VENV)/.ready ## At a release: take the protos as released; later ones must not break them.
	@$(BIN)/buf breaking --against protos/released.binpb
	@$(BIN)/buf build --exclude-source-info --output protos/released.binpb

docs: $(VENV)/.ready ## Write docs/configuration.md, docs/errors.md and docs/security/conformance.md.
	@$(BIN)/python -m tools.generate_docs

lock: $(VENV)/.ready ## Resolve the dependencies (newest versions: make lock ARGS=--upgrade).
	@$(COMPILE) pyproject.toml --extra demo --output-file requirements.lock $(ARGS)
	@$(COMPILE) pyproject.toml --extra dev --group test --constraint requirements.lock \
		--output-file requirements-dev.lock $(ARGS)
	@$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements-build.lock $(ARGS)

image: ## Build the Docker image.
	@docker build --tag $(IMAGE) .

clean: ## Remove what make made; the data of `make run` stays.
	@rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.packages: requirements-dev.lock tools/create_venv.sh
	@tools/create_venv.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@

# Offline and without build isolation: the build backend is one of the locked packages, so nothing unpinned is fetched.
$(VENV)/.ready: $(VENV)/.packages pyproject.toml
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-cache --offline --no-deps --no-build-isolation --editable .
	@touch $@
