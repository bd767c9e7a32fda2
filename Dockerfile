# syntax=docker/dockerfile:1
# One slim image for serving, and the target `compress` with the offline side:
#   docker build --tag slimseq:dev .
#   docker build --target compress --tag slimseq:compress .
# Packages come with their hashes from deploy/requirements, which `make lock` writes.

# 3.11 to 3.14.
ARG PYTHON=3.13
FROM docker.io/library/python:${PYTHON}-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Two environments: /opt/build with pip and the build backends, /opt/slimseq with what runs.
FROM base AS build
WORKDIR /src
# It has `strip`, for the stage `trimmed`.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/slimseq
COPY deploy/requirements/build.txt deploy/requirements/serving.txt ./
RUN /opt/build/bin/pip install --require-hashes --requirement build.txt
# rouge-score has no wheel: it is built here, with the backend of build.txt.
RUN /opt/build/bin/pip wheel --require-hashes --no-build-isolation --wheel-dir /wheels --requirement serving.txt \
    && /opt/build/bin/pip --python /opt/slimseq/bin/python3 install --no-compile --no-deps --no-index /wheels/*.whl \
    && rm -r /wheels
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY cli cli
COPY client client
COPY compression compression
COPY evaluation evaluation
COPY inference inference
COPY models_store/slimseq models_store/slimseq
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/slimseq/bin/python3 install --no-compile --no-deps --no-index /wheels/*.whl \
    && rm -r /wheels

# The int8 variants. With all of them the image takes 230 MB more: --build-arg VARIANTS="original quantized …".
FROM build AS artifacts
ARG VARIANTS="quantized compact portuguese-quantized portuguese-compact"
WORKDIR /store
COPY models_store/artifacts .
RUN /opt/slimseq/bin/slimseq prepare --store . && mkdir /artifacts \
    && for variant in ${VARIANTS}; do cp --recursive --parents ./*/"${variant}" /artifacts || exit 1; done

# Without what only `prepare` and downloads from a hub import, without tests, types, symbol tables, and the copy of ONNX
# Runtime for programs in C. Bytecode is made here, since a read-only service could not write it. The bill of materials
# lists what is left.
FROM build AS trimmed
RUN /opt/build/bin/pip --python /opt/slimseq/bin/python3 uninstall --yes hf-xet ml-dtypes mpmath onnx onnx-ir \
      protobuf sympy watchfiles websockets
WORKDIR /opt/slimseq/lib
# WORKDIR takes no pattern, and the folder has Python's version in its name.
# hadolint ignore=DL3003
RUN cd ./*/site-packages \
    && rm -r onnxruntime/capi/libonnxruntime.so* onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
      numpy/tests numpy/*/tests numpy/f2py nltk/test sqlalchemy/testing \
      sqlalchemy/dialects/mssql sqlalchemy/dialects/mysql sqlalchemy/dialects/oracle lxml/includes lxml/objectify* \
    && strip --strip-unneeded ctranslate2/*.so ctranslate2.libs/libctranslate2* uvloop/*.so \
      cryptography/hazmat/bindings/*.so httptools/parser/*.so regex/*.so rapidfuzz/*.so rapidfuzz/distance/*.so \
      sentencex/*.so sqlalchemy/*/*.so tokenizers/*.so wrapt/*.so yaml/*.so \
    && find . -name '*.pyi' -delete \
    && python3 -m compileall -q -x '/(huggingface_hub|nltk|pygments)/' .
WORKDIR /src
RUN mkdir -p /opt/slimseq/share \
    && /opt/build/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
      --output-format JSON --output-file /opt/slimseq/share/sbom.cdx.json /opt/slimseq/bin/python3

# The offline side, with a CPU build of PyTorch, which the lock has not: each platform takes it from another index.
FROM build AS compress
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
LABEL org.opencontainers.image.title="slimseq-compress" \
      org.opencontainers.image.description="Compresses T5 and BART models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/slimseq/slimseq"
COPY deploy/requirements/compress.txt ./
RUN /opt/build/bin/pip --python /opt/slimseq/bin/python3 install --index-url "${TORCH_INDEX}" 'torch>=2.6,<3' \
    && /opt/build/bin/pip --python /opt/slimseq/bin/python3 install --require-hashes --requirement compress.txt \
    && /opt/build/bin/pip --python /opt/slimseq/bin/python3 check \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin slimseq \
    && install --directory --owner 10001 /work
ENV PATH=/opt/slimseq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001
# `docker run --volume "$PWD:/work" …`: commands that write use ./artifacts.
WORKDIR /work
ENTRYPOINT ["slimseq"]
CMD ["--help"]

FROM base AS serve
ARG REVISION=""
LABEL org.opencontainers.image.title="slimseq" \
      org.opencontainers.image.description="Serves compressed T5 and BART models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/slimseq/slimseq" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
# /var/lib/slimseq is the database's, /etc/slimseq the keys'. Prometheus reads its own key there, as another user.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin slimseq \
    && install --directory --owner 10001 --mode 700 /var/lib/slimseq \
    && install --directory --owner 10001 --mode 711 /etc/slimseq
COPY --from=trimmed /opt/slimseq /opt/slimseq
COPY --from=artifacts /artifacts /artifacts
# A container's address is its own: whoever publishes the port decides who reaches it. SLIMSEQ_KEYS_FILE asks for keys.
ENV PATH=/opt/slimseq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    SLIMSEQ_STORE=/artifacts \
    SLIMSEQ_DATABASE_URL=sqlite:////var/lib/slimseq/slimseq.db \
    SLIMSEQ_HOST=0.0.0.0 \
    SLIMSEQ_ALLOW_NO_KEYS=true \
    SLIMSEQ_PORT=8000
USER 10001
WORKDIR /tmp
VOLUME /var/lib/slimseq
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python3", "-m", "slimseq.app.healthcheck"]
CMD ["slimseq", "serve"]
