"""The environment, mapped to names once."""

from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from clipflow.domain.errors import InvalidInput
from clipflow.domain.model import faults

Kind = TypeVar("Kind", bound=BaseSettings)


class Transcriber(StrEnum):
    """The ways to hear what is said."""

    POCKETSPHINX = "pocketsphinx"
    WHISPERX = "whisperx"


class Settings(BaseSettings):
    """What a run needs to know of where it runs; each field is an environment variable."""

    table_name: str = Field(validation_alias="TABLE_NAME")
    bucket_name: str = Field(validation_alias="BUCKET_NAME")
    key_prefix: str = Field(default="", validation_alias="KEY_PREFIX")
    aws_region: str = Field(default="us-east-1", validation_alias="AWS_REGION")
    aws_endpoint_url: str | None = Field(default=None, validation_alias="AWS_ENDPOINT_URL")
    shorts_bucket_name: str | None = Field(
        default=None, validation_alias="VIDEO_WAREHOUSE_S3_BUCKET_NAME"
    )
    shorts_prefix: str = Field(
        default="klippers_warehouse", validation_alias="CLIPFLOW_SHORTS_PREFIX"
    )
    scratch: Path = Field(default=Path(gettempdir()), validation_alias="CLIPFLOW_SCRATCH")
    # Where people's browsers find the objects, as behind a CDN; it may hold `{bucket}`.
    public_url: str | None = Field(default=None, validation_alias="CLIPFLOW_PUBLIC_URL")


class Limits(BaseSettings):
    """How much of a machine a run may use, and with which ffmpeg."""

    max_parallel_segments: int = Field(default=10, ge=1, validation_alias="MAX_PARALLEL_SEGMENTS")
    ffmpeg: str | None = Field(default=None, validation_alias="CLIPFLOW_FFMPEG")
    ffmpeg_deadline_seconds: float | None = Field(
        default=None, gt=0, validation_alias="CLIPFLOW_FFMPEG_DEADLINE_SECONDS"
    )
    # Of a whole run, whatever it waits for: the last bound, when every other has failed.
    run_deadline_seconds: float = Field(
        default=24 * 3600, gt=0, validation_alias="CLIPFLOW_RUN_DEADLINE_SECONDS"
    )


class Pools(BaseSettings):
    """The Prefect work pools of many machines; where one is not named, its work is done here."""

    # Each segment and each short becomes a flow run of its own, on a machine of this pool.
    media: str | None = Field(default=None, validation_alias="CLIPFLOW_MEDIA_WORK_POOL")
    prepare: str | None = Field(default=None, validation_alias="CLIPFLOW_PREPARE_WORK_POOL")


class Models(BaseSettings):
    """Who listens, and who chooses the moments."""

    transcriber: Transcriber = Field(
        default=Transcriber.POCKETSPHINX, validation_alias="CLIPFLOW_TRANSCRIBER"
    )
    # A size (`large-v3`, `small`), a name on Hugging Face's hub or a folder.
    whisperx_model: str = Field(default="large-v3", validation_alias="CLIPFLOW_WHISPERX_MODEL")
    # None: WhisperX's own choice for the language.
    whisperx_align_model: str | None = Field(
        default=None, validation_alias="CLIPFLOW_WHISPERX_ALIGN_MODEL"
    )
    # With it, WhisperX tells speakers apart: its diarization model wants its terms accepted.
    hugging_face_token: SecretStr | None = Field(default=None, validation_alias="HF_TOKEN")
    # A YuNet model for OpenCV's FaceDetectorYN. None: the Haar cascades that OpenCV brings.
    face_model: Path | None = Field(default=None, validation_alias="CLIPFLOW_FACE_MODEL")
    # As pydantic-ai names it: `openai:gpt-5-mini`, `anthropic:…`, `bedrock:…`, `ollama:…`.
    # None: salience, without a language model.
    highlight_model: str | None = Field(default=None, validation_alias="CLIPFLOW_HIGHLIGHT_MODEL")


def _read(kind: type[Kind]) -> Kind:
    try:
        return kind()
    except ValidationError as error:
        raise InvalidInput(
            f"The environment is not valid: {faults(error)}.", "Correct the variables it names."
        ) from None


@cache
def settings() -> Settings:
    """The settings of this process. Raises InvalidInput naming what is missing or wrong."""
    return _read(Settings)


@cache
def limits() -> Limits:
    """The limits of this process. Raises InvalidInput."""
    return _read(Limits)


@cache
def pools() -> Pools:
    """The work pools of this process. Raises InvalidInput."""
    return _read(Pools)


@cache
def models() -> Models:
    """The models of this process. Raises InvalidInput."""
    return _read(Models)
