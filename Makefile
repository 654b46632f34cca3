# `make` alone prints the targets. Everything lives in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
# Which Detectron2: pinned, or git. The targets that set up by themselves keep what `make setup` was given last.
DETECTRON2 ?= $(or $(shell cat $(VENV)/.detectron2 2>/dev/null),pinned)
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-$(DETECTRON2)
# Tests run side by side, so each has one thread: the detectors in them are too small for more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup run study test test-all lint format docs lock clean

help: ## print this list
	@echo "al: active learning for object detection and image classification"
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with everything (DETECTRON2=git builds the official source instead of the pinned one)

$(STAMP): requirements.lock requirements-detectron2.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "al needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make setup PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
ifeq ($(DETECTRON2),git)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation "git+https://github.com/facebookresearch/detectron2.git"
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
	  --implementation cp --python-version 3.10 --abi none --platform any \
	  --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" -r requirements-detectron2.txt
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo $(DETECTRON2) > $(VENV)/.detectron2
	@touch $@

run: $(STAMP) ## the main job: ccms with ud_split=[1,0.75,0.5,0.25] on the built-in digits
	$(BIN)/al run sampler=ccms 'ud_split=[1,0.75,0.5,0.25]'

study: $(STAMP) ## the thesis' grid on the built-in digits: 12 UD-splits and random, 3 seeds each, then its report (about 35 minutes on 2 cores)
	$(BIN)/al sweep thesis_digits --jobs 2
	$(BIN)/al report outputs/thesis_digits

test: $(STAMP) lint ## lint, type check and every test that is not slow (under 6 minutes on 2 cores)
	$(PYTEST)

test-all: $(STAMP) lint ## the slow tests too
	$(PYTEST) -m "slow or not slow"

lint: $(STAMP) ## ruff (lint and format check) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write docs/samplers.md from the samplers' files and docstrings, docs/documents.md from documents.yaml
	$(BIN)/al samplers --markdown > docs/samplers.md
	$(BIN)/python docs/documents_page.py > docs/documents.md

lock: ## resolve requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock

clean: ## remove .venv and caches; outputs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist
