# Every target builds .venv when it is missing or older than the lock.
PYTHON ?= python3.11
# The build of torch that suits the machine, e.g. TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'.
TORCH ?= torch==2.13.0

BIN := .venv/bin
INSTALLED := .venv/installed
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: help
help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
	  { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13, which MMPose's packages need; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(INSTALLED)  ## Install everything into .venv

.PHONY: demo
demo: $(INSTALLED)  ## Run the whole pipeline on rendered pedestrians and print its tables
	@{ git rev-parse --git-dir && ! git check-ignore dvc.yaml dvc.lock; } >/dev/null 2>&1 || \
	  dvc config --local core.no_scm true  # a copy without its Git history
	dvc repro
	pirt-report show runs/report

.PHONY: lint
lint: $(INSTALLED)  ## ruff, mypy --strict, import-linter
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: test
test: lint  ## Lint and the fast tests
	OMP_NUM_THREADS=1 pytest --numprocesses auto --dist worksteal  # neighbours stay together, and so do their fixtures

.PHONY: test-slow
test-slow: $(INSTALLED)  ## The heavier checks
	OMP_NUM_THREADS=1 pytest -m slow

STAGE_2 := tests/property tests/unit/pirt $(addprefix tests/unit/stages/,data train evaluate search export report)
OTHER := .venv-stage2/bin

.PHONY: test-python
test-python:  ## Stage 2's tests on another Python, in .venv-stage2 (make test-python PYTHON=python3.13)
	$(PYTHON) -m venv --clear .venv-stage2
	$(OTHER)/pip install --quiet $(TORCH)
	$(OTHER)/pip install --quiet '.[search,export]' hypothesis pytest pytest-timeout pytest-xdist
	OMP_NUM_THREADS=1 $(OTHER)/pytest --numprocesses auto $(STAGE_2)

.PHONY: bench bench-manifest bench-pose bench-store bench-train bench-eval bench-gpu bench-explore bench-heatmaps bench-arithmetic bench-backbones
bench: bench-manifest bench-pose bench-store bench-train bench-eval bench-backbones bench-explore  ## All that need minutes and no GPU, as Markdown; those of trained parts use the demo's

bench-manifest: $(INSTALLED)  ## A manifest of a million images: read, written, checked, a store begun
	python benchmarks/manifest.py

bench-pose: demo  ## Extraction over the bare network, over MMPose's API; cached against live heatmaps; adapted statistics
	python benchmarks/pose.py --trained runs/pose --manifest runs/manifest.csv
	python benchmarks/cached_vs_live.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \
	  --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth
	python benchmarks/adapt.py --params params.yaml

bench-store: demo  ## Bytes an image, bulk reading, what heatmaps cost the loader
	pirt-pose extract --manifest runs/manifest.csv --config runs/pose/config.py --checkpoint runs/pose/checkpoint.pth \
	  --input-size 128 64 --codec float32 --out runs/bench/float32.zarr
	python benchmarks/store.py --manifest runs/manifest.csv --heatmaps runs/bench/float32.zarr

bench-train: demo  ## Steps of each Table 3 row, what the cache saves, waiting for data
	python benchmarks/train_step.py --params params.yaml
	python benchmarks/train_step.py --batch-size 8
	python benchmarks/train_loader.py --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr

bench-eval: $(INSTALLED)  ## Metrics over argsort, matching over its matrix product, a million images, search
	python benchmarks/evaluate.py

bench-gpu: $(INSTALLED)  ## On a GPU: floors, steps, whole trainings, repeated steps, evaluation
	python benchmarks/gpu.py

bench-heatmaps: demo  ## In mAP, over hours: live against cached heatmaps in training; true and spoilt ones
	python benchmarks/live_training.py
	python benchmarks/heatmap_quality.py

bench-arithmetic: $(INSTALLED)  ## Whether other processors' instructions give other bytes
	python benchmarks/arithmetic.py

bench-backbones: $(INSTALLED)  ## A forward pass of each backbone at 384×128
	python benchmarks/backbones.py --batch-size 2 --rounds 2

bench-explore: demo  ## The explorer of two evaluations at Occluded-DukeMTMC's size, and its page in Chromium
	python benchmarks/explore.py --manifest runs/manifest.csv

.PHONY: paper-dryrun
paper-dryrun: $(INSTALLED)  ## Run the paper's pipelines on stand-ins of its data sets
	OMP_NUM_THREADS=1 python pipelines/dryrun.py

.PHONY: lock
lock: $(INSTALLED)  ## Re-make requirements.lock from pyproject.toml (add UPGRADE=--upgrade for newer versions)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command 'make lock' --quiet --output-file requirements.lock $(UPGRADE)

.PHONY: clean
clean:  ## Remove what the pipeline and the tests made; .venv stays
	rm -rf runs .dvc/cache .dvc/tmp .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
