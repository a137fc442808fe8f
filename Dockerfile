# One image for CUDA and for CPU; build arguments say which.
#   CUDA   docker build -t infomax .
#   CPU    docker build -t infomax:cpu --build-arg RUNTIME_IMAGE=ubuntu:24.04 --build-arg TORCH_INDEX_URL=... .
# torch's own packages bring the CUDA libraries, so the base image adds little more than the driver's contract.
ARG RUNTIME_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04
# The virtual environment is built where it cannot hurt and copied; both images must have the same python3.
ARG BUILD_IMAGE=${RUNTIME_IMAGE}

# ---- build: everything Python, below /venv and /app ----
FROM ${BUILD_IMAGE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build

# Dependencies first: this layer, the large one, changes only with the pins.
# TORCH_INDEX_URL: where torch and torchvision come from; empty means the usual index. EXTRAS: e.g. "parquet".
ARG TORCH_INDEX_URL=""
ARG EXTRAS=""
COPY pyproject.toml constraints.txt deploy/requirements.py ./
RUN python3 -m venv /venv \
 && python3 requirements.py "${EXTRAS}" > requirements.txt \
 && if [ -n "${TORCH_INDEX_URL}" ]; then \
      /venv/bin/python -m pip install --constraint constraints.txt --no-deps \
        --index-url "${TORCH_INDEX_URL}" torch torchvision; \
    fi \
 && /venv/bin/python -m pip install --constraint constraints.txt setuptools --requirement requirements.txt

# The application, installed apart from its dependencies, readable by every user.
COPY README.md LICENSE ./
COPY models ./models
COPY training ./training
COPY service ./service
RUN /venv/bin/python -m pip install --no-deps --no-build-isolation --target /app/lib .
COPY configs /app/configs
COPY checkpoints/dim-cifar10 /app/checkpoints/dim-cifar10
COPY LICENSE deploy/healthcheck.py /app/
RUN chmod -R a+rX /app

# ---- run: an interpreter, an init, and what was built ----
FROM ${RUNTIME_IMAGE} AS runtime
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 infomax \
 && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin infomax \
 && install --directory --owner 10001 --group 10001 /data
COPY --from=build /venv /venv
COPY --from=build /app /app

ENV PATH=/venv/bin:/app/lib/bin:$PATH \
    PYTHONPATH=/app/lib \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    INFOMAX_HOST=0.0.0.0 \
    INFOMAX_PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
  CMD ["/usr/bin/python3", "-I", "-S", "/app/healthcheck.py"]
LABEL org.opencontainers.image.title="infomax" \
      org.opencontainers.image.description="Deep InfoMax embeddings and mutual-information scores over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"

# tini reaps and passes SIGTERM on: the service stops accepting, answers what it accepted, exits 0.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "service", "serve"]
