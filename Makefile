# make setup | demo | test | lint | format | docs | clean
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint format docs clean

setup: .venv/.ready

# The pinned version of torch selects the CPU build where one is available. torchaudio, a dependency of encodec, must match
# the build of torch exactly. One that cannot be imported breaks other packages that look for it, and valle needs none.
.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[train,eval,serve,dev,docs]"
	$(BIN)/python -c "import torchaudio" >/dev/null 2>&1 || $(BIN)/pip uninstall --quiet --yes torchaudio
	touch $@

demo: setup
	bash egs/mini/run.sh

test: setup lint
	$(BIN)/pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Warnings of Sphinx are errors.
docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf docs/_build .venv .mypy_cache .pytest_cache .ruff_cache valle.egg-info egs/*/{data,dump,exp}
