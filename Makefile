# Everything lives in .venv and the folders named here; nothing is installed outside the clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pyright keeps its own program in a cache; it belongs into the clone as well.
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/$(VENV)/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Many containers set it, and dozens of short processes would each compile the same modules anew.
unexport PYTHONDONTWRITEBYTECODE
DEMO_DIR ?= demo-output

.PHONY: setup demo check test test-s3 bench clean

setup: $(STAMP)

# Torch first: its pinned version may come as a CPU build from a local wheel, and nothing later may replace it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	$(BIN)/pyright --version > /dev/null
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python jobs/demo.py --output $(DEMO_DIR)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell pipeline jobs tests cluster docs README.md Makefile pyproject.toml ray_cluster.yaml
	$(BIN)/pyright

# Rooms in parallel, one thread each; then the jobs as a user runs them, two files at a time, for they wait for Ray a lot. What
# they share is made by the first that needs it while the other waits, which a test's own limit of time would count.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --ignore tests/jobs --ignore tests/s3
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 1800 tests/jobs

# Storage and the jobs on a real S3 server, Ceph, whose Debian packages are installed where they are missing.
test-s3: $(STAMP)
	$(BIN)/python tests/s3/ceph.py install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/s3

# The peers live in an environment of their own, for they pin other versions of what we use.
PEERS := .bench/venv
bench: $(STAMP) $(PEERS)/.installed
	$(BIN)/python benchmarks/stream.py

$(PEERS)/.installed: benchmarks/peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/peers.txt
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_DIR) .bench build *.egg-info .pytest_cache .ruff_cache .hypothesis
