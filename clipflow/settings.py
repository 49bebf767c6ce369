"""The environment, mapped to names once."""

from functools import cache
from pathlib import Path
from tempfile import gettempdir

from pydantic import Field
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """What a run needs to know of where it runs; each field is an environment variable."""

    table_name: str = Field(validation_alias="TABLE_NAME")
    bucket_name: str = Field(validation_alias="BUCKET_NAME")
    key_prefix: str = Field(default="", validation_alias="KEY_PREFIX")
    aws_region: str = Field(default="us-east-1", validation_alias="AWS_REGION")
    aws_endpoint_url: str | None = Field(default=None, validation_alias="AWS_ENDPOINT_URL")
    scratch: Path = Field(default=Path(gettempdir()), validation_alias="CLIPFLOW_SCRATCH")


class Limits(BaseSettings):
    """How much of a machine a run may use, and with which ffmpeg."""

    max_parallel_segments: int = Field(default=10, ge=1, validation_alias="MAX_PARALLEL_SEGMENTS")
    ffmpeg: str | None = Field(default=None, validation_alias="CLIPFLOW_FFMPEG")
    ffmpeg_deadline_seconds: float | None = Field(
        default=None, gt=0, validation_alias="CLIPFLOW_FFMPEG_DEADLINE_SECONDS"
    )


@cache
def settings() -> Settings:
    """The settings of this process. Raises pydantic's ValidationError naming what is missing."""
    return Settings()


@cache
def limits() -> Limits:
    """The limits of this process."""
    return Limits()
