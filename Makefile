# make setup | demo | test | lint | format | clean
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint format clean

setup: .venv/.ready

# The pin takes the CPU build where one is at hand. torchaudio, which encodec asks for, must match torch's build to the
# letter; one that does not load would break other packages that look for it, and valle needs none.
.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[eval,dev]"
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

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache valle.egg-info egs/*/{data,dump,exp}
