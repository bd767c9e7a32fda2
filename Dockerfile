# syntax=docker/dockerfile:1
# A builder and one slim image. No training library is needed to make what the embedded models are served from.

# 3.11 to 3.14.
ARG PYTHON=3.11
FROM docker.io/library/python:${PYTHON}-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS serving
WORKDIR /src
RUN python3 -m venv /opt/slimseq
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY cli cli
COPY client client
COPY compression compression
COPY evaluation evaluation
COPY inference inference
COPY models_store/slimseq models_store/slimseq
RUN /opt/slimseq/bin/pip install .

FROM serving AS artifacts
COPY models_store/artifacts /artifacts
RUN cd / && /opt/slimseq/bin/slimseq prepare --store /artifacts

FROM base
LABEL org.opencontainers.image.title="slimseq" \
      org.opencontainers.image.description="Serves compressed T5 and BART models" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin slimseq \
    && install --directory --owner 10001 --mode 700 /var/lib/slimseq
COPY --from=serving /opt/slimseq /opt/slimseq
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
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python3", "-m", "slimseq.app.healthcheck"]
CMD ["slimseq", "serve"]
