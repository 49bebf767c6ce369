# The image of clipflow.Dockerfile with WhisperX and its models, which run without a network.
# linux/amd64 only: torchcodec has no wheel for Linux on ARM.
# Build it from the root of the repository: make image-whisperx IMAGE=clipflow:1
#
# The base image has to have the same version of the code and the same Python.
ARG CLIPFLOW_IMAGE=clipflow:latest
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${CLIPFLOW_IMAGE} AS clipflow

FROM ${PYTHON_IMAGE} AS packages
ARG UV_VERSION=0.13.8
# As in clipflow.Dockerfile.
ARG PACKAGE_INDEX=""
WORKDIR /build
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    PIP_INDEX_URL="${PACKAGE_INDEX}" pip install --no-cache-dir "uv==${UV_VERSION}"
COPY --from=clipflow /opt/clipflow /opt/clipflow
COPY requirements-image-whisperx.lock ./
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    UV_DEFAULT_INDEX="${PACKAGE_INDEX}" uv pip sync --no-cache --require-hashes --no-build \
    --compile-bytecode --python /opt/clipflow/venv/bin/python requirements-image-whisperx.lock
# A path that does not depend on the version of Python.
RUN ln -s "$(echo /opt/clipflow/venv/lib/python*/site-packages/nvidia)" /opt/clipflow/venv/nvidia

FROM packages AS models
# A size (large-v3, small) or a name on Hugging Face's hub.
ARG WHISPER_MODEL=large-v3
# The languages whose words are aligned, as two-letter codes, separated by commas.
ARG LANGUAGES=en
# One alignment model for all of these languages, instead of the default of each.
ARG ALIGN_MODEL=""
# A mirror of Hugging Face's hub. The default alignment model for English is from torch and not on the
# hub, so a build with a mirror needs a model of the hub in ALIGN_MODEL.
ARG MODEL_MIRROR=""
ENV PATH=/opt/clipflow/venv/bin:$PATH \
    PYTHONPATH=/opt/clipflow/code \
    HF_HOME=/opt/clipflow/models/hugging-face \
    TORCH_HOME=/opt/clipflow/models/torch
RUN if [ -n "${MODEL_MIRROR}" ]; then export HF_ENDPOINT="${MODEL_MIRROR}"; fi \
    && CLIPFLOW_TRANSCRIBER=whisperx CLIPFLOW_WHISPER_MODEL="${WHISPER_MODEL}" \
    CLIPFLOW_WHISPERX_ALIGN_MODEL="${ALIGN_MODEL}" HF_HUB_OFFLINE=0 \
    python -m deployments.operate.image models "${LANGUAGES}" \
    && chmod -R a+rX /opt/clipflow/models

FROM clipflow AS whisperx
ARG WHISPER_MODEL=large-v3
ARG LANGUAGES=en
ARG ALIGN_MODEL=""
COPY --from=packages /opt/clipflow/venv /opt/clipflow/venv
COPY --from=models /opt/clipflow/models /opt/clipflow/models
ENV CLIPFLOW_TRANSCRIBER=whisperx \
    CLIPFLOW_WHISPER_MODEL=${WHISPER_MODEL} \
    CLIPFLOW_WHISPERX_ALIGN_MODEL=${ALIGN_MODEL} \
    HF_HOME=/opt/clipflow/models/hugging-face \
    TORCH_HOME=/opt/clipflow/models/torch \
    HF_HUB_OFFLINE=1 \
    # CTranslate2 finds the GPU libraries that torch installs only by this path.
    LD_LIBRARY_PATH=/opt/clipflow/venv/nvidia/cudnn/lib:/opt/clipflow/venv/nvidia/cublas/lib
# Checks the models as a run uses them: without a network, and as the user of the image.
RUN python -m deployments.operate.image models "${LANGUAGES}"
LABEL org.opencontainers.image.title="clipflow-whisperx"
