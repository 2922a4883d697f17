# Each target does all of its own set-up: tools/install.py creates .venv and does only what is still missing.
# CMAKE_ARGS reaches it through the environment, also when given to make. `make help` lists the targets.

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
# -S: a set-up with nothing to do should take no time, and needs no site-packages.
SETUP := $(PYTHON) -S -m tools.install
ARGS ?=
# pyright's check for a newer version needs the network.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help run install setup-dev test check lint types contracts unit torture coverage format lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  e.g. make run ARGS="--ctx 8192", make run CMAKE_ARGS=-DGGML_CUDA=on, make unit ARGS="tests/cache -k evict"'

run: ## open the chat; ARGS are passed to swachat
	@$(SETUP)
	@$(BIN)/swachat $(ARGS)

install: ## set up .venv with all that swachat needs; CMAKE_ARGS choose the GPU backend
	@$(SETUP)
	@echo 'Installed: $(BIN)/swachat'

setup-dev:
	@$(SETUP) --dev

test: check ## formatting, lint, types, import contracts and every test
	$(BIN)/pytest

check: lint types contracts ## what `make test` does, without the tests

lint: setup-dev ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup-dev ## pyright, strict
	$(BIN)/pyright

contracts: setup-dev ## check which packages import which
	$(BIN)/lint-imports

unit: setup-dev ## only the tests; ARGS are passed to pytest
	$(BIN)/pytest $(ARGS)

# Each class of damage for MINUTES, from a new seed, which is printed; SEED repeats a run.
MINUTES ?= 3
SEED := $(or $(SEED),$(shell $(PYTHON) -c 'import secrets; print(secrets.randbelow(10**9))'))
torture: setup-dev ## damaged files, kills and signals, some minutes for each class; MINUTES and SEED are settings
	@echo 'SEED=$(SEED)'
	TORTURE_MINUTES=$(MINUTES) TORTURE_SEED=$(SEED) $(BIN)/pytest tests/robustness --timeout 0 -v $(ARGS)

coverage: setup-dev ## test coverage of kernels/: at least 95% of lines
	$(BIN)/coverage run -m pytest tests/kernels
	$(BIN)/coverage report

format: setup-dev ## format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One lock for every Python from 3.11 on, Linux and macOS. With UPGRADE=--upgrade the indirect dependencies move too.
# llama-cpp-python has its own: it is built from source, and again when CMAKE_ARGS change.
UPGRADE ?=
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)
lock: ## write requirements/*.lock from pyproject.toml (needs uv)
	$(COMPILE) pyproject.toml --extra fast --extra lab --no-emit-package llama-cpp-python -o requirements/runtime.lock
	sed -n 's/^ *"\(llama-cpp-python==.*\)",/\1/p' pyproject.toml | $(COMPILE) - --no-deps -o requirements/llama.lock
	$(COMPILE) --group build -c requirements/runtime.lock -o requirements/build.lock
	$(COMPILE) --group dev -c requirements/runtime.lock -c requirements/build.lock -o requirements/dev.lock
	sed -n 's/^gpu = \["\(.*\)"\]/\1/p' pyproject.toml | $(COMPILE) - -o requirements/gpu.lock
	$(COMPILE) --group starter --no-deps -o requirements/starter.lock
	$(COMPILE) --group test-models -o requirements/test-models.lock

clean: ## remove the environment and all generated files
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage snapshot_report.html
