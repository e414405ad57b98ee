# One-word verbs; each does its own set-up on a machine with only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
IMAGE ?= lexor:latest

.PHONY: demo test quick fuzz record lint image image-check image-kernels gpu-wheels gpu-check lock clean

# What prediction needs, as locked. Of torch whatever build the machine offers: PyPI's, for CUDA 13, is several GB;
# where PIP_FIND_LINKS names a build for the CPU, pip prefers that.
$(VENV)/predicts: requirements/torch.txt requirements/cpu.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements/cpu.txt
	$(PIP) install --quiet --requirement requirements/torch.txt
	$(PIP) install --quiet --no-deps --editable .
	touch $@

# What evaluation, training and the tests want beside it.
$(VENV)/tests: $(VENV)/predicts requirements/test.txt
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements/test.txt
	touch $@

demo: $(VENV)/predicts
	$(BIN)/lexor demo

test: $(VENV)/tests
	$(BIN)/python -m pytest --durations=10

fuzz: $(VENV)/tests
	LEXOR_FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/fuzz

# Scores that a change was meant to move: says which moved, and keeps them as tests/regression/scores.json.
record: $(VENV)/tests
	$(BIN)/python tests/regression/recorded.py

# No container, no test marked slow: under three minutes.
quick: $(VENV)/tests
	$(BIN)/python -m pytest -m 'not slow and not container and not gpu'

lint: $(VENV)/tests
	$(BIN)/ruff check app tests
	$(BIN)/ruff format --check app tests
	$(BIN)/mypy
	$(BIN)/shellcheck predict.sh .ci/run tests/container/*.sh tests/gpu/*.sh

# CUDA=cu126 is for older drivers, CUDA=cpu for none (a quarter of the size): both need PyTorch's own package index.
# BASE_IMAGE is another base.
image:
	docker build --tag $(IMAGE) $(if $(CUDA),--build-arg CUDA=$(CUDA)) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) .

# The tests of the container on that image, in place of the small one that `make test` builds.
image-check: image $(VENV)/tests
	LEXOR_TEST_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/container

# Kernels that CuPy compiles for the GPU of this machine, for the image to bring along; see kernels/README.md.
image-kernels: image
	docker run --rm --gpus all --volume "$(CURDIR)/kernels":/kernels --env CUPY_CACHE_DIR=/kernels $(IMAGE) \
		lexor prompt app/lexor/viewing/cases/CT_sarcoma.npz --method intensity --device cuda
	$(MAKE) image

# The prepared check of a GPU. DEVICE=cpu rehearses it. On a machine without a network carry gpu-wheels/ there.
gpu-check:
	sh tests/gpu/check.sh gpu-check.json $(if $(DEVICE),--device $(DEVICE))

# What that machine lacks beside torch and CuPy, as locked, for its Python.
GPU_PYTHON ?= 3.12
GPU_WHEELS = annotated-types connected-components-3d cucim-cu13 lightning-fabric lightning-utilities monai pydantic \
	pydantic-core typing-inspection

gpu-wheels: $(VENV)/predicts
	for name in $(GPU_WHEELS); do grep -hoE "^$$name==[^ ]+" requirements/test.txt requirements/cu130.txt | head -n 1; done \
		>$(VENV)/gpu-wheels
	$(PIP) download --quiet --no-deps --only-binary :all: --python-version $(GPU_PYTHON) --dest gpu-wheels \
		$(foreach level,2_28 2_27 2_24 2_17 2014,--platform manylinux$(if $(filter 2014,$(level)),,_)$(level)_x86_64) \
		--platform any --requirement $(VENV)/gpu-wheels

# The locks, from PyPI alone; what is locked already stays, unless UPGRADE=1. torch's builds for the CPU and for CUDA
# 12.6 are not on PyPI: those locks leave out torch, and the CUDA 13 that PyPI's torch asks for.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) \
	--constraints requirements/torch.txt --extra serve pyproject.toml
NO_TORCH = $(LOCK) --no-emit-package torch --excludes

lock: $(VENV)/predicts
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	$(LOCK) --extra gpu --output-file requirements/cu130.txt
	grep -oE '^(cuda|nvidia|triton)[a-z0-9-]*' requirements/cu130.txt >$(VENV)/cuda13
	grep -e '-cu13$$' $(VENV)/cuda13 >$(VENV)/cu13
	$(NO_TORCH) $(VENV)/cuda13 --constraints requirements/cu130.txt --output-file requirements/cpu.txt
	$(NO_TORCH) $(VENV)/cuda13 --constraints requirements/cpu.txt --extra test --output-file requirements/test.txt
	$(NO_TORCH) $(VENV)/cu13 --constraints requirements/cpu.txt --extra gpu-cuda12 requirements/cu126.in \
		--overrides requirements/cu126.in --output-file requirements/cu126.txt

clean:
	rm -rf $(VENV) demo
