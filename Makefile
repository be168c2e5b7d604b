# `make demo` and `make test` do all their own set-up; nothing else needs to be typed before.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The pinned versions are those for Python 3.11; a version manager may have a name that does not
# run, so the candidates are tried.
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
# For a smaller set-up without CUDA:
#   make PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" demo
PIP_ARGS ?=
# Of `make gallery`: configs, the second with its checkpoint.
BEFORE ?= energy_fcn-erfnet_cityscapes
AFTER ?=
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready

.PHONY: calibrations gallery help demo test test-fast test-all coverage docs lint format clean distclean

help:
	@echo "make demo      train and compare on drawn street scenes; no data or download needed"
	@echo "make test      run the tests (make test-all: also the slow ones; make coverage: measured)"
	@echo "make test-fast the core alone, in 90 seconds on two cores"
	@echo "make gallery   decisions on your copies of Road Anomaly and Fishyscapes Static, before and"
	@echo "               with AFTER='CONFIG CHECKPOINT' after training; into work_dirs/gallery"
	@echo "make calibrations  of the shipped configs, made again (needs data and weights)"
	@echo "make lint      check style, layers and types (make format: repair the style)"
	@echo "make docs      build the documentation into build/site"
	@echo "make clean     delete build leftovers and caches (make distclean: also .venv)"

# Made again when a dependency may have changed.
$(READY): constraints.txt pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed; or name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is \
	needed, found " + sys.version.split()[0] + "; name another: make PYTHON=...")'
	@echo "Setting up .venv with $$($(PYTHON) --version); once, a few minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
	  -c constraints.txt $(PIP_ARGS) -e '.[all,dev,docs]' \
	  | awk '/^Collecting/ {print "  fetching " $$2; fflush()} /^Building|^Installing/ {print "  " $$1 " ..."; fflush()}'
	@touch $@

demo: $(READY)
	@$(BIN)/ood-seg demo $(ARGS)

# On all cores; what an extra of `make` brings must be there, or its tests fail instead of skipping.
PYTEST := OOD_SEG_REQUIRE_EXTRAS=1 $(BIN)/python -m pytest -q -n logical --dist loadscope

# Of daily work: the core and the perception code, whose tests train, export and install nothing.
FAST := $(addprefix tests/,calibration detectors losses metrics perception) $(filter-out \
  $(patsubst %,tests/test_%.py,configs conftest extending finetuning_doc notebook packaging readme), \
  $(wildcard tests/test_*.py))

test: $(READY)
	@$(PYTEST) -m "not slow" $(ARGS)

test-fast: $(READY)
	@$(PYTEST) -m "not slow" $(FAST) $(ARGS)

test-all: $(READY)
	@$(PYTEST) $(ARGS)

# Beside the configs; docs/evaluation.md states what they are made on.
gallery: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/gallery.sh $(BEFORE) $(AFTER)

calibrations: $(READY)
	@$(BIN)/python benchmarks/calibrations.py make $(ARGS)

# With the lines that no test reaches, in the processes that tests start as well.
coverage: $(READY)
	@$(PYTEST) -m "not slow" --cov=ood_seg --cov-report=term-missing:skip-covered $(ARGS)

# Offline; a page that nothing leads to or a link that leads nowhere is an error. Into build/site.
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What you trained stays: work_dirs and demo_output are not touched.
clean:
	@rm -rf build dist *.egg-info .coverage .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	@find ood_seg tests tools configs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf .venv
