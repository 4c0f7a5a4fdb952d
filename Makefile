# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up in .venv.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first interpreter that starts and is 3.11 or 3.12; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: demo test bench docs lint audit format setup lock clean

demo: $(READY)
	$(BIN)/augpipe run configs/digits.yaml --out data/demo

# Compiled modules are kept, also where the environment says otherwise: the tests start hundreds of processes.
test: $(READY)
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# What is measured, not tested; minutes. BENCH_ROOT: a folder that holds FashionMNIST/raw, MNIST/raw, orl_faces/orl_faces.zip, or some of these.
bench: $(READY)
	$(BIN)/python tests/benchmarks/bench_start.py
	$(BIN)/python tests/benchmarks/bench_demo.py
	$(BIN)/python tests/benchmarks/mutations.py
	$(BIN)/python tests/benchmarks/bench_inspect.py $(if $(BENCH_ROOT),--root $(BENCH_ROOT))
	$(if $(BENCH_ROOT),$(BIN)/python tests/benchmarks/bench_fidelity_claims.py $(BENCH_ROOT))

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python tests/vocabulary.py

# The documentation site in build/docs. Warnings are errors: a broken link or anchor stops the build. No network is needed.
docs: $(READY)
	$(BIN)/python docs/check_links.py README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# Known faults of the locked dependencies; where the advisory database is not reachable it says that nothing was checked.
audit: $(READY)
	test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-audit && \
		$(VENV)-audit/bin/python -m pip install -qq --disable-pip-version-check pip-audit; } || rm -rf $(VENV)-audit
	$(BIN)/python tests/audit.py $(VENV)-audit/bin/pip-audit requirements.lock

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

# The lock is whole, so nothing is resolved: asked to, older pips take a newer release of what is wanted with
# extras, find no hash for it, and stop.
$(READY): requirements.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "augpipe needs Python 3.11 or 3.12; found neither (make PYTHON=/path/to/python3.12)" >&2; exit 2; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Resolve every dependency anew, for Linux and macOS and Python 3.11 and 3.12, with hashes and no address.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install -qq uv
	$(VENV)-lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --upgrade \
		--constraint requirements.in --output-file requirements.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) $(VENV)-audit build *.egg-info .pytest_cache .mypy_cache .ruff_cache
