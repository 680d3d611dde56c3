# Two commands are enough: `make serve` and `make test`. Both install first, which does nothing when all is in place.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
OUR_CODE := protocol tokenizer server client tests examples bench

.PHONY: install install-dev serve test lint format clean

install: $(VENV)/.installed-server
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-server: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[server]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed-server

serve: install
	$(BIN)/vistok serve --host $(HOST) --port $(PORT)

test: install-dev
	$(BIN)/python -m pytest

lint: install-dev
	$(BIN)/ruff check $(OUR_CODE)
	$(BIN)/ruff format --check $(OUR_CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev
	$(BIN)/ruff check --fix $(OUR_CODE)
	$(BIN)/ruff format $(OUR_CODE)

clean:
	rm -rf $(VENV)
