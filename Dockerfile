# Lexor's inference image: /workspace laid out as a checkout, with its environment in .venv. The CUDA libraries come
# with torch's wheel; of the base image only the driver's hooks are used.
ARG BASE_IMAGE=nvidia/cuda:12.6.3-base-ubuntu24.04
FROM ${BASE_IMAGE}

# NVIDIA_DISABLE_REQUIRE: the base refuses to start where the driver is older than its CUDA; the wheels run on any
# driver from 525.60 on, and Lexor runs on the CPU where there is none.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_DISABLE_REQUIRE=1

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

WORKDIR /workspace

# cu126: torch, cupy and cucim for CUDA 12.6. cpu: torch alone, for the CPU (a tenth of the size).
ARG CUDA=cu126
ARG TORCH_INDEX=https://download.pytorch.org/whl/${CUDA}

# The environment, before anything that changes often. The package is installed as a link to /workspace/app, which
# need not be there yet; what its metadata names must. The wheel's index serves torch alone: the plain torch of PyPI is
# built for another CUDA.
COPY pyproject.toml ./
RUN python3 -m venv .venv \
    && touch README.md LICENSE && mkdir weights \
    && case "${CUDA}" in cpu) package=. ;; *) package='.[gpu]' ;; esac \
    && .venv/bin/pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" "torch==2.13.0+${CUDA}" \
    && .venv/bin/pip install --no-cache-dir --editable "${package}" \
    && .venv/bin/pip check \
    && .venv/bin/pip uninstall --quiet --yes pip \
    && rm -rf /tmp/* /root/.cache

COPY README.md LICENSE ./
COPY weights weights
COPY app app
# The file system may be read-only, and the organisers start six cold containers per case.
RUN .venv/bin/python -m compileall -q app && mkdir inputs && mkdir -m 1777 outputs
COPY predict.sh ./

# LEXOR_INPUTS, LEXOR_OUTPUTS: the folders of a `lexor predict` that names none.
# Any uid, with or without an entry in /etc/passwd: what wants a home or a cache finds it in /tmp.
ENV PATH=/workspace/.venv/bin:${PATH} \
    LEXOR_INPUTS=/workspace/inputs \
    LEXOR_OUTPUTS=/workspace/outputs \
    HOME=/tmp \
    USER=lexor \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

LABEL org.opencontainers.image.title="Lexor" \
      org.opencontainers.image.description="Interactive and automatic segmentation of 3D medical images" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      lexor.cuda="${CUDA}" \
      lexor.minimum-driver="525.60.13"

# No entry point: the organisers pass the whole command, `/bin/bash -c "sh predict.sh"`.
ENTRYPOINT []
CMD ["sh", "predict.sh"]
