# One gate for people and CI. Needs only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev,reference,mp-server,optimade-server
DEMO_DB ?= demo.duckdb
NEWEST := $(VENV)/.installed
NEWEST_DEV := $(VENV)/.installed-dev

.PHONY: setup demo test lint types bench reference chaos audit clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(NEWEST): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(NEWEST_DEV): $(NEWEST)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

setup: $(NEWEST_DEV)

demo: $(NEWEST)
	$(BIN)/screen run --chemsys "Mg-*" --db $(DEMO_DB)
	$(BIN)/screen top --db $(DEMO_DB)

test: $(NEWEST_DEV)
	$(BIN)/python -m pytest

lint: $(NEWEST_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(NEWEST_DEV)
	$(BIN)/mypy

bench: $(NEWEST_DEV)
	$(BIN)/python -m tests.bench --json build/bench.json --png build/bench.png

reference: $(NEWEST_DEV)
	$(BIN)/python -m tests.reference

chaos: $(NEWEST_DEV)
	$(BIN)/python -m tests.chaos

# A tool apart from what it looks at; --strict: what could not be looked up is no pass.
audit: $(BIN)/python
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info models/_fused*.so pathways/_paths*.so
