# One-word verbs; each does its own set-up on a machine with only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IMAGE ?= lexor:latest

.PHONY: demo test fuzz record lint image clean

$(BIN)/lexor: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: $(BIN)/lexor
	$(BIN)/lexor demo

test: $(BIN)/lexor
	$(BIN)/python -m pytest

fuzz: $(BIN)/lexor
	LEXOR_FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/fuzz


# Scores that a change was meant to move: says which moved, and keeps them as tests/regression/scores.json.
record: $(BIN)/lexor
	$(BIN)/python tests/regression/recorded.py

lint: $(BIN)/lexor
	$(BIN)/ruff check app tests
	$(BIN)/ruff format --check app tests
	$(BIN)/mypy
	$(BIN)/shellcheck predict.sh .ci/run tests/container/*.sh

# CUDA=cpu leaves the GPU's libraries out (a tenth of the size); BASE_IMAGE is another base.
image:
	docker build --tag $(IMAGE) $(if $(CUDA),--build-arg CUDA=$(CUDA)) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) .

clean:
	rm -rf $(VENV) demo
