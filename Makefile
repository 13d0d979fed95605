# Two commands do all the set-up and go:  make train  and  make test.  `make help` lists the others.
# README.md shows the same commands for people without make.

SHELL := /bin/sh
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS  ?=
ONLY  ?=
# The exact versions; `make train CONSTRAINTS=` takes the newest ones that pyproject.toml admits.
CONSTRAINTS ?= constraints.txt

# `make train PYTHON=python3.12` chooses; otherwise the first of these that fits is taken.
PYTHON ?= python3
PYTHONS := $(if $(filter file,$(origin PYTHON)),$(PYTHON) python3.13 python3.12 python3.11 python3.10,$(PYTHON))
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))

.PHONY: help bench experiments train test lint test-all format schema clean
.DEFAULT_GOAL := help

help: ## these lines
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18
	@echo '  ARGS="..." goes to train.py, to pytest or to the bench:  make train ARGS="model=vit_ti16 model.params.depth=6"'

train: $(STAMP) ## set up, train, test, write a run folder
	$(BIN)/python train.py $(ARGS)

test: $(STAMP) lint ## set up; format, lint, types and tests
	$(BIN)/python -m pytest -n auto $(ARGS)

test-all: $(STAMP) lint ## the same with the slow tests, and logits compared with transformers (some 200 MB more)
	$(BIN)/python -m pip install -q $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[dev,parity]"
	$(BIN)/python -m pytest -n auto -m "not gpu" $(ARGS)

lint: $(STAMP) ## format, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

experiments: $(STAMP) ## run the experiments behind docs/results.md; goes on where it was stopped; ONLY=memory runs one
	$(BIN)/python docs/experiments.py $(ONLY)

bench: $(STAMP) .peers/.installed ## measure training beside timm, transformers and others; ARGS="--only vit_s --infer"
	$(BIN)/python -m bench $(ARGS)

.peers/.installed: bench/peers.txt
	$(BIN)/python -m pip install -q --no-deps --upgrade --target .peers -r bench/peers.txt
	@touch $@

schema: $(STAMP) ## write docs/schema again, which editors read
	$(BIN)/python -m blocks schema -o docs/schema
	$(BIN)/python -m tasks schema -o docs/schema

clean: ## remove the environment and all caches; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that works is kept, whoever made it: install the torch of your machine into it first, if you like.
$(STAMP): pyproject.toml constraints.txt
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(BIN)/python -c '$(FITS)' || { \
	    echo "$(VENV) has `$(BIN)/python --version`; Dougong needs Python 3.10 to 3.13. 'make clean' removes it." >&2; exit 2; }; \
	else \
	  found=; for python in $(PYTHONS); do \
	    if $$python -c '$(FITS)' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Dougong needs Python 3.10 to 3.13." >&2; \
	    echo "  tried     $(PYTHONS)" >&2; \
	    echo "  fix       install one of them, or name one: make train PYTHON=/path/to/python3.12" >&2; exit 2; \
	  fi; \
	  echo "$$found -m venv $(VENV)"; \
	  $$found -m venv --clear $(VENV) || { rm -rf $(VENV); exit 2; }; \
	fi
	$(BIN)/python -m pip install $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[dev]"
	@touch $@
