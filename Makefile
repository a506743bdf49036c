# Everything sets itself up in a virtual environment of its own: .venv, or VENV=somewhere.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test hard lint clean help

help:
	@echo "make demo   set up, edit drawn clips, say where the results are"
	@echo "make test   set up, run the tests"
	@echo "make hard   set up, run every hostile and unlucky use of the command line"
	@echo "make lint   set up, check style and types"

demo: $(VENV)/.installed
	$(BIN)/faircut demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto

hard: $(VENV)/.installed
	$(BIN)/python -m pytest tests/hard -n auto -m "slow or not slow"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo build dist
