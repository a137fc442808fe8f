# The front door. Plain `make` lists what it can do; every target sets up what it needs first.

PYTHON          ?= python3
VENV            ?= .venv
TORCH_INDEX_URL ?=
ARGS            ?=
PYTEST_ARGS     ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup serve train evaluate test check lint format types layers bench clean

help: ## list the targets
	@echo 'infomax: train an image encoder without labels, serve what it learned'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
	@echo
	@echo '  PYTHON=python3.12      another interpreter (3.11 or newer) for a new $(VENV)'
	@echo '  TORCH_INDEX_URL=URL    take torch and torchvision from this package index, e.g. a smaller CPU build'
	@echo "  ARGS='...'             passed on by serve, train, evaluate and bench; PYTEST_ARGS='...' by test"

setup: $(VENV)/.dev ## create .venv with everything for using and developing it

serve: $(VENV)/.core ## answer HTTP requests from the shipped checkpoint (ARGS='--checkpoint DIR --port 9000')
	@$(if $(wildcard .env),$(BIN)/dotenv run --no-override) $(BIN)/python -m service serve $(ARGS)

train: $(VENV)/.core ## train an encoder (ARGS='--data FOLDER --out runs/mine')
	@$(BIN)/python -m training train $(ARGS)

evaluate: $(VENV)/.core ## did it pay off? (ARGS='--checkpoint DIR --data FOLDER')
	@$(BIN)/python -m training evaluate $(ARGS)

test: $(VENV)/.dev ## run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types layers test ## lint, types, layers and test: what CI and the pre-push hook run

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy, strict, on models, training and service
	$(BIN)/mypy

layers: $(VENV)/.dev ## who may import whom (import-linter)
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.bench ## measure serving and training (needs wrk on the PATH)
	$(BIN)/python -m benchmarks.serving $(ARGS)
	$(BIN)/python -m benchmarks.training $(ARGS)

clean: ## remove .venv, caches and build leftovers; runs and checkpoints stay
	rm -rf $(VENV) .cache .hypothesis .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- setting up: a stamp for each set of extras, renewed when the project's dependencies change ----

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "infomax needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# The index that was asked for is remembered, so that a later plain `make test` keeps the same torch.
# --no-deps: only these two come from there, what they need comes from the usual index.
ifneq ($(strip $(TORCH_INDEX_URL)),)
ifneq ($(strip $(TORCH_INDEX_URL)),$(strip $(shell cat $(VENV)/.torch-index 2>/dev/null)))
.PHONY: $(VENV)/.torch-index
endif
endif
$(VENV)/.torch-index: $(VENV)/pyvenv.cfg constraints.txt
	@url='$(strip $(TORCH_INDEX_URL))'; [ -n "$$url" ] || url=$$(cat $@ 2>/dev/null || true); \
	if [ -n "$$url" ]; then $(PIP) --index-url "$$url" --no-deps --upgrade torch torchvision || exit 1; fi; \
	echo "$$url" > $@

# setuptools first: it builds the editable install itself, in the environment its version is pinned for.
define install
	@$(PIP) --quiet setuptools
	$(PIP) --no-build-isolation --editable '$(1)'
	@touch $@
endef

$(VENV)/.core: $(VENV)/.torch-index pyproject.toml constraints.txt
	$(call install,.)

$(VENV)/.dev: $(VENV)/.torch-index pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(VENV)/.core

$(VENV)/.bench: $(VENV)/.torch-index pyproject.toml constraints.txt
	$(call install,.[bench])
	@touch $(VENV)/.core
