"""A finished object is the checkpoint: its metadata says what it was made from."""

import hashlib
import json
from fractions import Fraction

from clipflow import PIPELINE_VERSION
from clipflow.storage.objects import ObjectHead

MADE_FROM = "made-from"


def fingerprint(made_from: object) -> str:
    """A short digest of what something is made from, and of the pipeline that makes it."""
    text = json.dumps([PIPELINE_VERSION, made_from], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_made_from(head: ObjectHead | None, made_from: str) -> bool:
    """Whether there is a finished object that says it was made from just this."""
    return head is not None and head.metadata.get(MADE_FROM) == made_from


def is_ours(head: ObjectHead) -> bool:
    """Whether clipflow made the object, and not a person."""
    return MADE_FROM in head.metadata


def checkpoint(etag: str, made_from: str) -> dict[str, str]:
    """The metadata of anything that is made from the source with this etag."""
    return {"source-etag": etag, "pipeline-version": PIPELINE_VERSION, MADE_FROM: made_from}


def video_metadata(
    duration: Fraction, resolution: str, count: int, etag: str, made_from: str
) -> dict[str, str]:
    """The metadata of a finished video: what it is, and what it was made from."""
    return {
        "duration-seconds": f"{float(duration):.6f}".rstrip("0").rstrip("."),
        "resolution": resolution,
        "segment-count": str(count),
        **checkpoint(etag, made_from),
    }
