# The front door. Needs make and Python 3.11 or newer; everything else it installs into .venv.

UV_VERSION := 0.13.8
BIN := .venv/bin
UV := .venv/.uv-$(UV_VERSION)
INSTALLED := .venv/.installed
# Once `make whisperx` was asked for, it stays.
LOCK = $(if $(wildcard .venv/.whisperx),requirements-whisperx.lock,requirements.lock)
# Newest first among those this is tested with; PYTHON=... goes before them.
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3 python
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
IS_PYTHON := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help up demo test lint bench whisperx lock clean

help: ## Say what there is
	@echo "make up        the local stack, in the foreground until Ctrl-C: AWS, Prefect, worker, bridge"
	@echo "make demo      two clips by an event, three shorts by a command, into out/"
	@echo "make test      the whole test suite, or TESTS=tests/flows"
	@echo "make lint      ruff, mypy, cfn-lint"
	@echo "make bench     what it costs, side by side with other ways, into out/; BENCH=--quick is short"
	@echo "make whisperx  adds WhisperX, speech recognition for real use: 7 GB, with torch"
	@echo "make lock      requirements.lock from pyproject.toml; UPGRADE=1 takes the newest of all"
	@echo "make clean     remove what make has made; what the local stack stores, .clipflow, stays"

# exec: the command becomes make's own child, so that a signal to make reaches it.
up: $(INSTALLED)
	@exec $(BIN)/python -m deployments.local_stack --with-parent

demo: $(INSTALLED)
	@exec $(BIN)/python -m deployments.demo

test: $(INSTALLED)
	@exec $(BIN)/python -m pytest $(TESTS)

bench: $(INSTALLED)
	@exec $(BIN)/python -m benchmarks $(BENCH)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/cfn-lint infra/*.yaml

whisperx: $(UV)
	@touch .venv/.whisperx
	@$(MAKE) --no-print-directory --always-make --assume-old=$(UV) $(INSTALLED)

lock: $(UV)
	$(COMPILE) --extra local --extra dev --output-file requirements.lock
	$(COMPILE) --extra local --extra dev --extra whisperx --constraint requirements.lock \
		--output-file requirements-whisperx.lock

clean:
	rm -rf .venv out .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): $(LOCK) pyproject.toml $(UV)
	@echo "Installing $(LOCK) into .venv"
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python $(LOCK)
	@$(BIN)/uv pip install --quiet --compile-bytecode --no-deps --no-build-isolation --python $(BIN)/python --editable .
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
