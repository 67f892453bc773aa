# make demo    set up, then simulate a rotation image into demo/
# make test    set up, then run the whole test suite
# make setup   the virtual environment .venv with the pinned versions of constraints.txt, and the compiled kernels
# make bench   set up, then time this program beside the C program against the targets; below ten minutes
# make lint    ruff over the whole tree
# make guard   what this branch, or the last commit, does to protected files, tests and the ledger
# make browser Chromium for the tests of the report, from Debian's packages; says so where it cannot be installed
# make clean   remove what the others made

PYTHON  ?= python3
EXTRAS  ?= dev,loop
WORKERS ?= 2
PYTEST_ARGS ?=

BIN   := .venv/bin
STAMP := .venv/installed
C_PROGRAM := golden_suite_generator
BENCHMARKS := scripts/benchmarks
APT := DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium

.PHONY: help setup demo test bench lint guard browser clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(STAMP)

# pip compiles to bytecode what it copies, and this package it only links
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: Python 3.11 or newer is needed; set PYTHON=/path/to/python3' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -q src
	@$(BIN)/nanoBragg -warmup || echo 'make: no compiled kernels: everything runs, slower' >&2
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/rotation_image.py demo

test: $(STAMP)
	$(MAKE) -C $(C_PROGRAM)
	NB_RUN_PARALLEL=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# Figures of a machine that does something else besides are not worth having: each table says so where it happens.
bench: $(STAMP)
	$(MAKE) -C $(C_PROGRAM)
	$(BIN)/python $(BENCHMARKS)/benchmark_detailed.py --table --dtype float64,mixed --eager --iterations 7
	$(BIN)/python $(BENCHMARKS)/backward.py --iterations 5
	$(BIN)/python $(BENCHMARKS)/scaling.py
	$(BIN)/python $(BENCHMARKS)/investigate_compile_cache.py --instances 3 --dtypes float64,float32

lint: $(STAMP)
	$(BIN)/ruff check .

# Compared with where the branch left the remote's, else with the commit before. Tests that changed are only reported:
# a person may sign for them.
guard: $(STAMP)
	@start=$$(git merge-base origin/main HEAD 2>/dev/null) || start=; \
	[ "$$start" != "$$(git rev-parse -q --verify HEAD)" ] || start=; \
	[ -n "$$start" ] || start=$$(git rev-parse -q --verify 'HEAD^1^{commit}' 2>/dev/null) || start=; \
	if [ -n "$$start" ]; then $(BIN)/nb-loop guard --range "$$start..HEAD" --warn T; \
	else echo 'make: no earlier commit to compare with: the guard was not run' >&2; fi

# Only the download has a time limit: a package manager that is stopped while it unpacks leaves a broken system.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { \
	  [ "$$(id -u)" -eq 0 ] && command -v apt-get || \
	    { echo 'make: no Chromium, and it can be installed by root on Debian only: its tests are skipped' >&2; exit 1; }; \
	  timeout 120 sh -c '$(APT) --download-only || { apt-get -q update && $(APT) --download-only; }' && $(APT) || \
	    { echo 'make: Chromium could not be installed: its tests are skipped' >&2; exit 1; }; } >&2

clean:
	rm -rf .venv demo build .pytest_cache .ruff_cache .hypothesis
	-$(MAKE) -C $(C_PROGRAM) clean
