# `make demo` and `make test` do all the set-up they need and may be repeated at any time.
#
# Variables, all optional:
#   PYTHON          interpreter for the virtual environment, 3.11 or later
#   PIP_TORCH_ARGS  extra arguments for installing PyTorch, for example its CPU-only index:
#                   --extra-index-url https://download.pytorch.org/whl/cpu
#   PYTEST_ARGS     extra arguments for pytest, for example -k codebook
#   JOBS            number of test processes (default: one for each core)

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
  done)
PIP_TORCH_ARGS ?=
PYTEST_ARGS ?=
JOBS ?= auto

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test lint slow bench setup clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    a small CNN for handwritten digits, exported for a Cortex-M4 and checked"
	@echo "make test    linters and all tests but the slow ones"
	@echo "make slow    the slow tests (minutes)"
	@echo "make bench   the benchmarks"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove what was built, except the virtual environment"

demo: setup
	$(BIN)/edgefactor demo -o demo-out

test: setup lint
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) $(PYTEST_ARGS)

slow: setup
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/networks.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/arena.py
	$(BIN)/python benchmarks/calibration.py

# The script installs what is missing where it may, else says how, and fails only without Python.
setup:
	@PYTHON="$(PYTHON)" sh .ci/system-tools
	@$(MAKE) --no-print-directory $(INSTALLED)

# PyTorch comes first, alone, so that PIP_TORCH_ARGS concerns no other package. The warning that is
# turned off is setuptools' general advice on editable installations.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing Python packages in $(VENV); the first time takes a minute or more"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet -c constraints.txt $(PIP_TORCH_ARGS) torch
	PYTHONWARNINGS=ignore $(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf build dist demo-out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
