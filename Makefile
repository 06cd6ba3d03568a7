# Everything a fresh clone needs, one target each; `make` alone lists them.
# GNU make 3.81 or newer (Debian, Ubuntu, macOS). README.md says how to do the same without make.
#
#   PYTHON=python3.12 make report      build .venv with another Python than python3
#   make report ARGS="--models lenet5" options of run_all.py

PYTHON ?= python3
ARGS ?=
UPGRADE ?=

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# With a terminal pip shows its progress; without one it speaks only of what fails.
PIP := $(PY) -m pip --disable-pip-version-check install $(shell [ -t 2 ] || echo --quiet)

# One test process a core, one thread each: they would only get in each other's way.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help report quick test test-gpu test-long smoke lab data lint check lock clean distclean moved

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

report: data  ## train what is missing, write the report to build/paper/ (the main job)
	@$(PY) run_all.py --profile paper $(ARGS)

quick: data  ## close to the paper's accuracies, from short recipes; a report in build/quick/
	@$(PY) run_all.py --profile quick $(ARGS)

test: lint data  ## lint and test everything, the notebooks included
	@$(ONE_THREAD) $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-long: data  ## the tests that take minutes each: runs killed at random
	@$(ONE_THREAD) $(PY) -m pytest -m long $(ARGS)

test-gpu: data  ## the tests that take an NVIDIA GPU; skipped, with the reason, where there is none
	@$(PY) -m pytest -m gpu $(ARGS)

smoke: data  ## the whole way in small: a draft report in build/smoke/
	@$(PY) run_all.py --profile smoke $(ARGS)

lab: data  ## open JupyterLab on the comparison of all models, the others beside it
	@$(PY) -m jupyterlab notebooks/comparison.ipynb --ServerApp.root_dir="$(CURDIR)" $(ARGS)

data: $(READY)  ## get FashionMNIST and verify it
	@$(PY) -m fmnist_lib.data

lint: $(READY)  ## ruff: rules and formatting, notebooks too
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

check:  ## say what this machine lacks, install nothing
	@PYTHON="$(PYTHON)" sh ./setup_check.sh

# The stamp is written last and holds the folder's path: an environment that was left half-finished,
# or moved or copied with its folder (it would go on importing the old one), is built anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): moved
endif

# pip unpacks gigabytes; /tmp is often small or in memory, so it works beside the environment.
$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh ./setup_check.sh
	@if [ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ]; then \
		echo "Bringing $(VENV) up to date with requirements.lock"; \
	else \
		echo "Creating $(VENV) with the packages of requirements.lock (this takes minutes)"; \
		"$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@rm -f $@ && mkdir -p $(VENV)/tmp
	@TMPDIR="$(CURDIR)/$(VENV)/tmp" $(PIP) --require-hashes -r requirements.lock
	@TMPDIR="$(CURDIR)/$(VENV)/tmp" $(PIP) --no-deps --no-build-isolation -e .
	@rm -rf $(VENV)/tmp
	@printf '%s\n' "$(CURDIR)" > $@

# Versions already locked stay unless asked for: make lock UPGRADE="--upgrade-package numpy".
lock:  ## write requirements.lock anew from pyproject.toml, with uv
	@uv=$$(command -v uv) || { \
		uv=.cache/uv/bin/uv; \
		[ -x $$uv ] || { "$(PYTHON)" -m venv --clear .cache/uv && .cache/uv/bin/python -m pip install --quiet uv; }; \
	}; \
	$$uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--custom-compile-command "make lock" $(UPGRADE) -o requirements.lock pyproject.toml

clean:  ## delete build/ and caches (never runs/ or data/)
	rm -rf build .cache .hypothesis .pytest_cache .ruff_cache
	@find . \( -path ./.git -o -path ./$(VENV) -o -path ./data -o -path ./runs \) -prune -o \
		-type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

distclean: clean  ## also delete .venv/, data/ and runs/ (everything trained here)
	@echo "Deleting, with their sizes: the environment, the data, and all local records and weights"
	@du -sh $(VENV) data runs 2>/dev/null || true
	rm -rf $(VENV) data runs fmnist_lib.egg-info
