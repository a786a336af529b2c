# One task file: continuous integration runs the same commands as a person.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/lock-installed
DEMO := demo
# macOS 13 has no wheels of the newest torch and FAISS, and so a lock of its own.
MACOS := $(shell sw_vers -productVersion 2>/dev/null | cut -d. -f1)
LOCK := $(if $(filter 11 12 13,$(MACOS)),requirements-macos13.lock,requirements.lock)

.DEFAULT_GOAL := help
.PHONY: help env demo ui test test-slow mutants test-faults test-cluster fuzz check lock wheel docs clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

env: $(STAMP) ## Make the environment in .venv (again only when the lock changes)

# The lock names exact versions and no index: packages come from wherever pip and uv are told to look.
$(STAMP): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: env ## Build a demo archive and search it, by report and by image
	$(BIN)/coin demo --out $(DEMO)

ui: env ## Open the view on the demo archive
	test -d $(DEMO)/archive || $(BIN)/coin demo --out $(DEMO)
	$(BIN)/coin ui --archive $(DEMO)/archive

# One thread: torch with two was measured 10 to 25 times slower than with one beside other busy processes. Each process
# gets an unbroken stretch of the tests, and at its end half of what another has left: so what the tests of a file or a
# package share is made once (models, archives, servers), and no process waits for the last file. Bytecode is written even
# where the shell forbids it: each process, and each that a test starts, would compile the tests and what they import anew.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test: env ## Run the tests (minutes; make test-slow runs the slow ones)
	$(PYTEST)

test-slow: env ## Run the slow tests: whole trainings, crashes and faults, the browser, the benchmarks, the documents' commands
	$(PYTEST) -m slow

mutants: env ## Change lines at random and see that a test fails (a seeded sample; two hours)
	$(BIN)/python -m tests.mutants

fuzz: env ## Try 10,000 hostile manifests and as many images (make test tries a few)
	OMP_NUM_THREADS=1 COIN_FUZZ=10000 $(BIN)/python -m pytest -m "" tests/index_store/test_fuzz.py

test-faults: env ## Kill the archive at every operation on files, and try many more sequences of calls (half an hour)
	COIN_TEST_FAULTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m "" tests/index_store/test_faults.py \
		tests/index_store/test_crash.py tests/index_store/test_stateful.py

test-cluster: env ## The tests that start clusters: Ray on two nodes, PostgreSQL and Milvus with several processes (minutes)
	$(BIN)/uv pip install --quiet --python $(BIN)/python "ray>=2.50"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster

check: env ## Lint, formatting, types (what .ci/run and the pre-commit hook run first)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: ## Write requirements.lock anew from pyproject.toml (needs an environment; keeps versions that still fit)
	$(BIN)/uv pip compile pyproject.toml --extra cpu --extra dev --universal --quiet \
		--annotation-style line --custom-compile-command "make lock" --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra cpu --extra dev --python-platform aarch64-apple-darwin --quiet \
		--python-version 3.11 --only-binary faiss-cpu --only-binary torch --only-binary torchvision \
		--annotation-style line --custom-compile-command "make lock" --output-file requirements-macos13.lock

wheel: env ## Build the wheel into dist/
	rm -rf build
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python

docs: env ## Build the documentation as a site into site/ (open site/index.html); broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean: ## Remove the environment, the demo and what was built
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .mutants site
