# `make train` and `make test` set up the environment and run. `make help` lists all targets.
# README.md shows the same commands for use without make.

SHELL := /bin/sh
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS  ?=
ONLY  ?=
# The exact versions; `make train CONSTRAINTS=` installs the newest ones that pyproject.toml allows.
CONSTRAINTS ?= constraints.txt

# `make train PYTHON=python3.12` chooses; otherwise the first of these that fits is used.
PYTHON ?= python3
PYTHONS := $(if $(filter file,$(origin PYTHON)),$(PYTHON) python3.13 python3.12 python3.11 python3.10,$(PYTHON))
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))

.PHONY: help bench bench-gpu experiments site train test lint test-all format schema clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20
	@echo '  ARGS="..." is passed to train.py, pytest or the benchmark:  make train ARGS="model=vit_ti16 model.params.depth=6"'

train: $(STAMP) ## set up; train and test a model, write a run folder
	$(BIN)/python train.py $(ARGS)

test: $(STAMP) lint ## set up; check format, lint and types; run the tests
	$(BIN)/python -m pytest -n auto $(ARGS)

test-all: $(STAMP) lint ## the same with slow tests, and those that need transformers or datasets (about 250 MB more)
	$(BIN)/python -m pip install -q $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[dev,parity,datasets]"
	$(BIN)/python -m pytest -n auto -m "not gpu" $(ARGS)

lint: $(STAMP) ## check format, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## format the code and apply fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

experiments: $(STAMP) ## run the experiments of docs/results.md, resuming where they stopped; ONLY=memory runs one
	$(BIN)/python docs/experiments.py $(ONLY)

site: $(STAMP) ## build the course and the documents as a site in both languages: site/index.html
	$(BIN)/python -m pip install -q $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[site]"
	$(BIN)/python docs/course/site/build.py

bench: $(STAMP) .peers/.installed ## measure training beside timm, transformers and others; ARGS="--only vit_s --infer"
	$(BIN)/python -m bench $(ARGS)

bench-gpu: $(STAMP) .peers/.installed ## all figures of a GPU: its tests, then steps beside the peers, MFU, memory, decoding; ARGS="--parts steps"
	$(BIN)/python -m bench.gpu $(ARGS)

.peers/.installed: bench/peers.txt
	$(BIN)/python -m pip install -q --no-deps --upgrade --target .peers -r bench/peers.txt
	@touch $@

schema: $(STAMP) ## regenerate docs/schema, which editors read
	$(BIN)/python -m blocks schema -o docs/schema
	$(BIN)/python -m tasks schema -o docs/schema

clean: ## remove the environment and all caches, not runs/
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A working environment is kept, so that another build of torch can be installed into it first.
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
