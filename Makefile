# `make demo` and `make test` set up all they need by themselves.

PYTHON ?= python3
TORCH ?= torch==2.13.0
# A package index for a particular build of torch (CPU, CUDA ...); empty = the one that pip knows.
TORCH_INDEX ?=
# Where `make demo` keeps what is between the steps: folder | s3
WORKSPACE ?= folder
# Side of the demo's world in pixels of 10 m.
DEMO_SIZE ?= 256
PYTEST_ARGS ?=

BIN := .venv/bin
READY := .venv/.ready
CODE := src pipelines components tests benchmarks scripts

# For `make images` and `make push`: see scripts/build-images.sh for BASE, FIND_LINKS, MOUNTS and the rest.
REGISTRY ?=

.PHONY: help setup demo demo-run submit schedule test test-slow check compile compile-check images push manifests manifests-check helm-lint validate bench clean

help:
	@echo "make setup          .venv with everything, and the system packages"
	@echo "make demo           a synthetic world from images to maps (WORKSPACE=s3: by way of an S3 server)"
	@echo "make submit STUDY=study.yaml     have Kubeflow Pipelines make the maps (make schedule STUDY=... CRON='0 3 1 * *': regularly)"
	@echo "make test           the tests, offline (test-slow: those that take minutes, in containers)"
	@echo "make check          format, lint, types, import rules, compiled pipelines"
	@echo "make compile        write pipelines/compiled/*.yaml"
	@echo "make images         the container images, by docker, podman or buildah (make push REGISTRY=...: push them, too)"
	@echo "make manifests      write manifests/ from the chart"
	@echo "make helm-lint      lint of the chart"
	@echo "make validate       chart and manifests against the schemas of Kubernetes and of custom resources (CRD_DIR=...: whole CRDs)"
	@echo "make bench          the quick form of every benchmark"
	@echo "make clean          remove .venv, caches and work/"

setup: $(READY)

$(READY): requirements.lock pyproject.toml scripts/install-system-packages.sh scripts/install-cluster-tools.py
	scripts/install-system-packages.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "landtide needs Python 3.11 or later: make setup PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	$(BIN)/python scripts/install-cluster-tools.py
	touch $@

demo: setup
	$(BIN)/landtide simulate work/demo --size $(DEMO_SIZE)
ifeq ($(WORKSPACE),s3)
	$(BIN)/python -m landtide.launch.object_store -- $(MAKE) --no-print-directory demo-run DEMO_ARGS="--workspace s3://landtide/demo" DEMO_SAVE=work/demo/site
else
	$(MAKE) --no-print-directory demo-run
endif

# One step of `demo`: within the life of the S3 server, which forgets its objects when it ends.
demo-run:
	$(BIN)/landtide run work/demo/study.yaml $(DEMO_ARGS)
	$(if $(DEMO_SAVE),$(BIN)/landtide view work/demo/study.yaml $(DEMO_ARGS) --save $(DEMO_SAVE))

# Kubeflow's API: kubernetes.api of the study, else found; SUBMIT_ARGS such as --token-file FILE.
submit: setup
	$(BIN)/landtide submit $(STUDY) $(SUBMIT_ARGS)

schedule: setup
	$(BIN)/landtide schedule $(STUDY) --cron "$(CRON)" $(SUBMIT_ARGS)

test: setup
	$(BIN)/python -m pytest -m "not slow and not network and not cluster and not gpu" $(PYTEST_ARGS)

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not network and not cluster and not gpu" $(PYTEST_ARGS)

check: setup compile-check manifests-check helm-lint
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

compile: setup
	$(BIN)/python -m pipelines update compile

compile-check: setup
	$(BIN)/python -m pipelines update compile --check

images:
	scripts/build-images.sh

push:
	REGISTRY="$(REGISTRY)" scripts/build-images.sh --push

manifests: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/render-manifests.py

manifests-check: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/render-manifests.py --check

helm-lint: setup
	@for values in manifests/values/*.yaml; do PATH="$(CURDIR)/$(BIN):$$PATH" helm lint --strict --quiet helm/landtide --values $$values || exit 1; done

validate: setup
	$(BIN)/python -m pytest tests/deploy -m "not slow" $(PYTEST_ARGS)

bench: setup
	@set -e; for script in $$(grep -l -- --quick benchmarks/*.py); do echo "== $$script"; $(BIN)/python $$script --quick; done

clean:
	rm -rf .venv work .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist src/*.egg-info
