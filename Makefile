# Every verb sets up .venv by itself; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types format docs clean

demo: .venv/.installed-demo
	$(BIN)/cascade quickstart

test: .venv/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.installed-dev
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.created:
	$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + ': make PYTHON=/path/to/python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	touch $@

.venv/.installed-demo: .venv/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[local]"
	touch $@

.venv/.installed-dev: .venv/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,ray]" --group dev
	touch .venv/.installed-demo $@
