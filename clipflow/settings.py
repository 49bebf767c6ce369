"""The settings, each read from its environment variable."""

from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import describe_errors
from clipflow.machine import Machine, encoders_at_once

Kind = TypeVar("Kind", bound=BaseSettings)


class Transcriber(StrEnum):
    """The programs that recognise speech, each with its description in docs/settings.md."""

    description: str

    WHISPER = "whisper", "faster-whisper"
    WHISPERX = "whisperx", "an extra that separates speakers and processes batches on a GPU"

    def __new__(cls, name: str, description: str) -> Self:
        transcriber = str.__new__(cls, name)
        transcriber._value_ = name
        transcriber.description = description
        return transcriber


class AwsSettings(BaseSettings):
    """The region and the address of AWS, with the names and defaults of the AWS SDK."""

    aws_region: str = Field(
        default="us-east-1",
        validation_alias="AWS_REGION",
        description="The region, as in the AWS SDK.",
    )
    aws_endpoint_url: str | None = Field(
        default=None,
        validation_alias="AWS_ENDPOINT_URL",
        description="The endpoint of AWS's services, if it is not Amazon's, as in the AWS SDK.",
    )


class Settings(AwsSettings):
    """The table, buckets and folders of a run."""

    table_name: str = Field(
        validation_alias="TABLE_NAME",
        description="The DynamoDB table of the records. `make up` sets its own.",
    )
    bucket_name: str = Field(
        validation_alias="BUCKET_NAME",
        description="The S3 bucket of sources and clips. `make up` sets its own.",
    )
    # No key begins with a slash.
    key_prefix: Annotated[str, AfterValidator(lambda prefix: prefix.lstrip("/"))] = Field(
        default="",
        validation_alias="KEY_PREFIX",
        description="The prefix of every clip's keys; may contain `{tenantId}`.",
    )
    shorts_bucket_name: str | None = Field(
        default=None,
        validation_alias="VIDEO_WAREHOUSE_S3_BUCKET_NAME",
        description="The bucket of long videos and their shorts. If unset, `BUCKET_NAME`.",
    )
    shorts_prefix: str = Field(
        default="klippers_warehouse",
        validation_alias="CLIPFLOW_SHORTS_PREFIX",
        description="The prefix of every key of long videos and their shorts.",
    )
    event_bus: str = Field(
        default="default",
        min_length=1,
        validation_alias="CLIPFLOW_EVENT_BUS",
        description="The name or ARN of the EventBridge bus that receives events about results.",
    )
    scratch: Path = Field(
        default=Path(gettempdir()),
        validation_alias="CLIPFLOW_SCRATCH",
        description="The folder of temporary files, such as windows and segments.",
    )
    public_url: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PUBLIC_URL",
        description="The base address of the objects for browsers, such as that of a CDN; may"
        " contain `{bucket}`.",
    )


class Limits(BaseSettings):
    """The limits of a run on its machine, and the ffmpeg it uses."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    max_parallel_segments: int = Field(
        default=10,
        ge=1,
        validation_alias="MAX_PARALLEL_SEGMENTS",
        description="The largest number of segments, shorts or windows of audio that a run"
        " processes at once. On one machine, cores and memory limit it further.",
    )
    machine_cpu_seconds: float = Field(
        default=90,
        ge=0,
        validation_alias="CLIPFLOW_MACHINE_CPU_SECONDS",
        description="With `CLIPFLOW_FAN_OUT=remote`, the estimated CPU seconds of cutting and"
        " rendering that are worth another machine. A clip that needs less is cut where its run"
        " is, as are shorts that need less together. More segments or shorts are divided over as"
        " many machines as this allows. With `0`, each one has a machine of its own.",
    )
    ffmpeg: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_FFMPEG",
        description="The path of ffmpeg. If unset, the one on the PATH if it is 5.1 or newer,"
        " otherwise that of PyPI's `imageio-ffmpeg`.",
    )
    ffmpeg_deadline_seconds: float | None = Field(
        default=None,
        gt=0,
        validation_alias="CLIPFLOW_FFMPEG_DEADLINE_SECONDS",
        description="Seconds after which ffmpeg is killed. If unset, the time depends on the"
        " length of its output.",
    )
    run_deadline_seconds: float = Field(
        default=24 * 3600,
        gt=0,
        validation_alias="CLIPFLOW_RUN_DEADLINE_SECONDS",
        description="Seconds after which a whole run is ended.",
    )


class Placement(StrEnum):
    """Where the parts of a run are executed."""

    LOCAL = "local"
    REMOTE = "remote"


class FanOut(BaseSettings):
    """The distribution of a run's parts over machines."""

    placement: Placement = Field(
        default=Placement.LOCAL,
        validation_alias="CLIPFLOW_FAN_OUT",
        description="`local`: a run cuts its segments, prepares its video and renders its shorts in"
        " its own process. `remote`: groups of a clip's segments and of a video's shorts, the"
        " preparation, and each window of a long video's audio are separate flow runs, in the work"
        " pools `clipflow-media` and `clipflow-prepare`. The work pools on AWS set `remote`.",
    )

    @property
    def is_remote(self) -> bool:
        return self.placement is Placement.REMOTE


class Models(BaseSettings):
    """The models that recognise speech, find faces and choose moments."""

    # A variable that is set and empty means the default, as everywhere in a shell.
    model_config = SettingsConfigDict(env_ignore_empty=True)

    transcriber: Transcriber = Field(
        default=Transcriber.WHISPER,
        validation_alias="CLIPFLOW_TRANSCRIBER",
        description="The program that recognises speech: "
        + ", ".join(f"`{each.value}` ({each.description})" for each in Transcriber)
        + ".",
    )
    whisper_model: str = Field(
        default="base",
        validation_alias="CLIPFLOW_WHISPER_MODEL",
        description="The Whisper model of either program: a size (`base`, `small`,"
        " `large-v3-turbo`), a name on Hugging Face's hub or a folder (`./base`, `/models/base`).",
    )
    whisperx_align_model: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_WHISPERX_ALIGN_MODEL",
        description="The model that finds the time of each word. If unset, WhisperX chooses one for"
        " the language.",
    )
    hugging_face_token: SecretStr | None = Field(
        default=None,
        validation_alias="HF_TOKEN",
        description="A token of Hugging Face, with which WhisperX separates speakers. The terms of"
        " its diarization model must be accepted.",
    )
    face_model: Path | None = Field(
        default=None,
        validation_alias="CLIPFLOW_FACE_MODEL",
        description="A YuNet model for OpenCV's FaceDetectorYN. If unset, the included one.",
    )
    mouth_model: Path | None = Field(
        default=None,
        validation_alias="CLIPFLOW_MOUTH_MODEL",
        description="An ONNX model that detects from a person's faces when the person speaks. If"
        " unset, the movement of the lips is measured.",
    )
    highlight_model: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_HIGHLIGHT_MODEL",
        description="The language model that chooses moments, in pydantic-ai's format:"
        " `openai:gpt-5-mini`, `anthropic:…`, `bedrock:…`, `ollama:…`, or `openai-chat:…` with"
        " `OPENAI_BASE_URL`. Its key is in the provider's usual variable. If unset, moments are"
        " chosen by salience.",
    )

    @property
    def diarizes(self) -> bool:
        """Whether speakers are separated by their voices."""
        return self.transcriber is Transcriber.WHISPERX and bool(self.hugging_face_token)


def _read(kind: type[Kind]) -> Kind:
    try:
        return kind()
    except ValidationError as error:
        raise InvalidInputError(
            f"The environment is not valid: {describe_errors(error)}.",
            "Correct these variables.",
        ) from None


@cache
def settings() -> Settings:
    """The settings of this process. Raises InvalidInputError naming missing or invalid
    variables."""
    return _read(Settings)


@cache
def limits() -> Limits:
    """The limits of this process. Raises InvalidInputError."""
    return _read(Limits)


@cache
def fan_out() -> FanOut:
    """The distribution of parts by this process. Raises InvalidInputError."""
    return _read(FanOut)


@cache
def models() -> Models:
    """The models of this process. Raises InvalidInputError."""
    return _read(Models)


def this_machine(threads: int = 1) -> Machine:
    """The limits of one piece of media work in this process, with `threads` threads per encoder."""
    own, shared = settings(), limits()
    return Machine(
        scratch=own.scratch,
        ffmpeg=shared.ffmpeg,
        ffmpeg_timeout=shared.ffmpeg_deadline_seconds,
        threads=threads,
        encoders=encoders_at_once(shared.max_parallel_segments),
    )
