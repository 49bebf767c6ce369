"""The environment, mapped to names once."""

from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import describe_errors
from clipflow.machine import Machine, encoders_at_once

Kind = TypeVar("Kind", bound=BaseSettings)


class Transcriber(StrEnum):
    """The ways to recognise what is said."""

    WHISPER = "whisper"
    WHISPERX = "whisperx"


class Settings(BaseSettings):
    """What a run needs to know of where it runs; each field is an environment variable."""

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
    aws_region: str = Field(
        default="us-east-1", validation_alias="AWS_REGION", description="As the AWS SDK knows it."
    )
    aws_endpoint_url: str | None = Field(
        default=None,
        validation_alias="AWS_ENDPOINT_URL",
        description="Another AWS than Amazon's, as the AWS SDK knows it.",
    )
    shorts_bucket_name: str | None = Field(
        default=None,
        validation_alias="VIDEO_WAREHOUSE_S3_BUCKET_NAME",
        description="The bucket of long videos and their shorts; unset, `BUCKET_NAME`.",
    )
    shorts_prefix: str = Field(
        default="klippers_warehouse",
        validation_alias="CLIPFLOW_SHORTS_PREFIX",
        description="The prefix of every key of long videos and their shorts.",
    )
    scratch: Path = Field(
        default=Path(gettempdir()),
        validation_alias="CLIPFLOW_SCRATCH",
        description="The folder of temporary files, such as windows and segments.",
    )
    public_url: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_PUBLIC_URL",
        description="Where people's browsers find the objects, as behind a CDN; it may hold"
        " `{bucket}`.",
    )


class Limits(BaseSettings):
    """How much of a machine a run may use, and with which ffmpeg."""

    max_parallel_segments: int = Field(
        default=10,
        ge=1,
        validation_alias="MAX_PARALLEL_SEGMENTS",
        description="Segments cut, shorts rendered or windows of sound transcribed at once by a"
        " run; on one machine never more than its cores and memory allow.",
    )
    ffmpeg: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_FFMPEG",
        description="The ffmpeg to run; unset, that on the PATH where it is 5.1 or newer, else"
        " that of PyPI's `imageio-ffmpeg`.",
    )
    ffmpeg_deadline_seconds: float | None = Field(
        default=None,
        gt=0,
        validation_alias="CLIPFLOW_FFMPEG_DEADLINE_SECONDS",
        description="After which a run of ffmpeg is killed; unset, it follows from the length of"
        " what is made.",
    )
    run_deadline_seconds: float = Field(
        default=24 * 3600,
        gt=0,
        validation_alias="CLIPFLOW_RUN_DEADLINE_SECONDS",
        description="Of a whole run, whatever it waits for: the last bound, when every other has"
        " failed.",
    )


class Placement(StrEnum):
    """Where the parts of a run are done."""

    LOCAL = "local"
    REMOTE = "remote"


class FanOut(BaseSettings):
    """How a run's parts are spread over machines."""

    placement: Placement = Field(
        default=Placement.LOCAL,
        validation_alias="CLIPFLOW_FAN_OUT",
        description="`local`: a run cuts its segments, prepares its video and renders its shorts in"
        " its own process. `remote`: each of these, and each window of a long video's sound, is"
        " a flow run of its own, in the work pools `clipflow-media` and `clipflow-prepare`. The"
        " work pools on AWS set `remote`.",
    )

    @property
    def is_remote(self) -> bool:
        return self.placement is Placement.REMOTE


class Models(BaseSettings):
    """What recognises speech, and what chooses the moments."""

    transcriber: Transcriber = Field(
        default=Transcriber.WHISPER,
        validation_alias="CLIPFLOW_TRANSCRIBER",
        description="What recognises speech: `whisper` (faster-whisper), or `whisperx`, an extra"
        "that separates speakers and processes batches on a GPU.",
    )
    whisper_model: str = Field(
        default="base",
        validation_alias="CLIPFLOW_WHISPER_MODEL",
        description="The Whisper model of both: a size (`base`, `small`, `large-v3-turbo`), a name"
        " on Hugging Face's hub or a folder.",
    )
    whisperx_align_model: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_WHISPERX_ALIGN_MODEL",
        description="The model that places each word; unset, WhisperX's own choice for the"
        " language.",
    )
    hugging_face_token: SecretStr | None = Field(
        default=None,
        validation_alias="HF_TOKEN",
        description="Lets WhisperX separate speakers: its diarization model requires its terms"
        " accepted.",
    )
    face_model: Path | None = Field(
        default=None,
        validation_alias="CLIPFLOW_FACE_MODEL",
        description="A YuNet model for OpenCV's FaceDetectorYN; unset, the one that comes along.",
    )
    mouth_model: Path | None = Field(
        default=None,
        validation_alias="CLIPFLOW_MOUTH_MODEL",
        description="An ONNX model that says from a person's faces when the person speaks; unset,"
        " how much the lips move.",
    )
    highlight_model: str | None = Field(
        default=None,
        validation_alias="CLIPFLOW_HIGHLIGHT_MODEL",
        description="The language model that chooses moments, as pydantic-ai names it:"
        " `openai:gpt-5-mini`, `anthropic:…`, `bedrock:…`, `ollama:…`, or `openai-chat:…` with"
        " `OPENAI_BASE_URL`; its key as its maker names it. Unset, salience.",
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
            "Correct the variables it names.",
        ) from None


@cache
def settings() -> Settings:
    """The settings of this process. Raises InvalidInputError naming what is missing or wrong."""
    return _read(Settings)


@cache
def limits() -> Limits:
    """The limits of this process. Raises InvalidInputError."""
    return _read(Limits)


@cache
def fan_out() -> FanOut:
    """How this process spreads a run's parts. Raises InvalidInputError."""
    return _read(FanOut)


@cache
def models() -> Models:
    """The models of this process. Raises InvalidInputError."""
    return _read(Models)


def this_machine(threads: int = 1) -> Machine:
    """What one piece of media work may use here, with `threads` threads for its encoder."""
    own, shared = settings(), limits()
    return Machine(
        scratch=own.scratch,
        ffmpeg=shared.ffmpeg,
        ffmpeg_timeout=shared.ffmpeg_deadline_seconds,
        threads=threads,
        encoders=encoders_at_once(shared.max_parallel_segments),
    )
