# Lexor's inference image: /workspace laid out as a checkout, with its environment in .venv. The CUDA libraries come
# with the wheels; of the base image only Python is used, and the driver's hooks, so plain Debian or Ubuntu will do.
ARG BASE_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04
FROM ${BASE_IMAGE}

# NVIDIA_DISABLE_REQUIRE: NVIDIA's base refuses to start where the driver is older than its CUDA; the wheels decide
# what they run on, and Lexor runs on the CPU where there is no driver.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_DISABLE_REQUIRE=1

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

WORKDIR /workspace

# cu130: everything from PyPI; driver 580 or newer. cu126: driver 525.60.13 or newer; torch is from PyTorch's own
# index. cpu: no GPU, a quarter of the size; torch is from there, too.
ARG CUDA=cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/${CUDA}

# What the lock names, before anything that changes often. Its hashes say which build of torch is meant, whatever
# others pip is offered. pip itself stays out of the image.
# Left out: what links, tests or compiles. Triton is the compiler of torch.compile, which Lexor does not use.
COPY requirements/torch.txt requirements/${CUDA}.txt requirements/
RUN python3 -m venv /tmp/pip && python3 -m venv --without-pip .venv \
    && pip() { /tmp/pip/bin/python -m pip --python .venv/bin/python "$@"; } \
    && if [ "${CUDA}" != cu130 ]; then \
        pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" "$(cat requirements/torch.txt)+${CUDA}"; \
    fi \
    && pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r "requirements/${CUDA}.txt" \
    && pip check \
    && if [ "${CUDA}" != cpu ]; then pip uninstall --yes triton; fi \
    && cd .venv/lib/python3*/site-packages \
    && find . -name '*.a' -delete \
    && find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} + \
    && rm -rf torch/include torch/share /tmp/* /root/.cache

# The package is installed as a link to /workspace/app, which need not be there yet; what its metadata names must.
COPY pyproject.toml ./
RUN python3 -m venv /tmp/pip \
    && touch README.md LICENSE && mkdir weights \
    && /tmp/pip/bin/python -m pip --python .venv/bin/python install --no-cache-dir --no-deps --editable . \
    && rm -rf /tmp/* /root/.cache


COPY README.md LICENSE predict.sh ./
COPY weights weights
COPY kernels kernels
COPY app app
# The file system may be read-only, and the organisers start six cold containers per case. pip has compiled the rest.
RUN .venv/bin/python -m compileall -q app && mkdir inputs && mkdir -m 1777 outputs

# LEXOR_INPUTS, LEXOR_OUTPUTS: the folders of a `lexor predict` that names none.
# LEXOR_KERNELS: GPU kernels that were compiled beforehand, if any (make image-kernels).
# Any uid, with or without an entry in /etc/passwd: what wants a home or a cache finds it in /tmp.
# GOMP_SPINCOUNT: threads that spin while they wait cost ten times the time on a host whose cores are busy (cores.py).
ENV PATH=/workspace/.venv/bin:${PATH} \
    LEXOR_INPUTS=/workspace/inputs \
    LEXOR_OUTPUTS=/workspace/outputs \
    LEXOR_KERNELS=/workspace/kernels \
    HOME=/tmp \
    USER=lexor \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GOMP_SPINCOUNT=1000

LABEL org.opencontainers.image.title="Lexor" \
      org.opencontainers.image.description="Interactive and automatic segmentation of 3D medical images" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      lexor.cuda="${CUDA}"

# No entry point: the organisers pass the whole command, `/bin/bash -c "sh predict.sh"`.
ENTRYPOINT []
CMD ["sh", "predict.sh"]
