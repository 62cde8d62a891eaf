# `make help` lists the targets. Everything runs in .venv, which is created when needed.
PYTHON ?= python3
PORT ?= 8000
SECONDS ?= 120
SEED ?= 1
DATABASE ?= postgres

BIN := .venv/bin
STAMP := .venv/installed
# Not called MAKE, because a dry run (`make -n`) would execute lines with $(MAKE).
AGAIN := $(MAKE) --no-print-directory
# Starts the services that the environment does not name, and stops them after the command.
WITH_SERVICES := $(BIN)/python -m tools.services --
WITH_TEST_SERVICES := $(BIN)/python -m tools.services --tests --
# Creates the environment while the services that do not come with it start.
WHILE_SERVICES_START = $(PYTHON) -m tools.services --tests --meanwhile '$(AGAIN) prepared' --

# Some containers forbid Python to store bytecode: each of about a hundred processes would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv prepared demo services test test-all quick lint docs pictures bench-quick chaos protections hostile clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/make \1 \t/p' Makefile | expand -t 20

venv: $(STAMP)  ## the virtual environment in .venv, with everything that the demo and the tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -m tools.venv .venv
	@touch $@

prepared:
	@$(PYTHON) -m tools.prepare & $(AGAIN) venv && wait

demo: venv  ## the demo shop on http://127.0.0.1:PORT/ (PORT=8000), or with your own pictures (CATALOGUE=folder or file.csv)
	@$(if $(CATALOGUE),export DEMO_CATALOGUE='$(CATALOGUE)' CATALOGUE_LANGUAGE='$(CATALOGUE_LANGUAGE)';) exec $(BIN)/python manage.py demo --port $(PORT)

services: venv  ## Elasticsearch, Redis, PostgreSQL and MariaDB in the foreground, for running single tests against them
	@exec $(BIN)/python -m tools.services

test:  ## every check and the tests, against the real services
	@exec $(WHILE_SERVICES_START) $(WITH_TEST_SERVICES) $(BIN)/python -m tools.checks

test-all:  ## more than the daily checks: long tests, coverage, every test on SQLite and MariaDB too, longer runs under attack and faults, and one with each protection off
	@exec $(WHILE_SERVICES_START) $(WITH_TEST_SERVICES) $(BIN)/python -m tools.checks --all

quick: venv  ## lint and fast tests on SQLite, without any service: for daily work
	@exec $(BIN)/python -m tools.checks --quick

lint: venv  ## the checks that need no service
	@exec $(BIN)/python -m tools.checks --lint

docs: venv  ## the documentation as a site in build/docs
	@$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs build/docs && echo "open build/docs/README.html"

pictures: venv  ## the pictures of pages in docs/images, taken from the demo shop (needs Chromium)
	@exec $(BIN)/python -m tools.pictures

bench-quick: venv  ## ratios of search to its limits in a few minutes, compared with the previous run (docs/performance.md)
	@exec $(WITH_SERVICES) $(BIN)/python -m benchmarks.quick

chaos: venv  ## writes, kills and outages for a while (SECONDS=120 SEED=1 DATABASE=postgres; SECURE=1: TLS, API key), then count what was lost
	@exec $(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) --database $(DATABASE) $(if $(SECURE),--secure)

protections: venv  ## the same harness with each protection disabled: it must notice
	@exec $(WITH_TEST_SERVICES) $(BIN)/python -m pytest tests/chaos/check_protections.py

hostile: venv  ## attack the demo shop over HTTP (SECONDS=120 of damaged files, SEED=1) and print what requests cost
	@exec $(BIN)/python -m tests.hostile --seconds $(SECONDS) --seed $(SEED)

clean:  ## remove the files that make created here (downloads stay in the cache folder)
	rm -rf .venv build dist *.egg-info demo.sqlite3* media staticfiles .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
