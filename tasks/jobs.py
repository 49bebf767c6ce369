"""The two jobs, as their runs are asked for: a flow, and the record that its parameters name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.settings import settings
from clipflow.storage.records import record_store

BEGIN = "begin-clip-generation"
GENERATE_CLIP = "generate-clip"
GENERATE_SHORTS = "generate-shorts"


def clip_keys(asked: dict[str, Any]) -> ClipKeys:
    """Of the run with these parameters."""
    return ClipKeys(
        asked["tenant_id"], asked["episode_id"], asked["clip_id"], settings().key_prefix
    )


def shorts_keys(asked: dict[str, Any]) -> ShortsKeys:
    """Of the run with these parameters."""
    return ShortsKeys(asked["user_id"], asked["video_id"], settings().shorts_prefix)


_KEYS_OF: dict[str, Callable[[dict[str, Any]], RecordKeys]] = {
    GENERATE_CLIP: clip_keys,
    GENERATE_SHORTS: shorts_keys,
}


def record_of(flow: str, parameters: dict[str, Any]) -> RecordKeys | None:
    """The record that a run of `flow` keeps; None where it keeps none, or names none."""
    try:
        return _KEYS_OF[flow](parameters)
    except KeyError:
        return None


def asked_for(parameters: dict[str, Any]) -> BeginClipGeneration:
    """What a run of `begin-clip-generation` is to start. Raises InvalidInputError."""
    detail = {
        "tenantId": parameters.get("tenant_id"),
        "episodeId": parameters.get("episode_id"),
        "clips": parameters.get("clips"),
    }
    return BeginClipGeneration.read(detail, "the request")


def records_of(flow: str, parameters: dict[str, Any]) -> list[RecordKeys]:
    """Every record that a run of `flow` was to see to; none where its parameters make no sense."""
    if flow != BEGIN:
        keys = record_of(flow, parameters)
        return [keys] if keys else []
    try:
        asked = asked_for(parameters)
    except InvalidInputError:
        return []
    where = (asked.tenant_id, asked.episode_id)
    clips = asked.clips
    named = record_store().due_clips(*where) if clips is None else [c.clip_id for c in clips]
    return [ClipKeys(*where, clip_id, settings().key_prefix) for clip_id in named]


def tags_of(keys: RecordKeys) -> list[str]:
    """What the record's runs are found by in the UI: whose it is, and what it is part of."""
    match keys:
        case ClipKeys(tenant, episode):
            return [f"tenant:{tenant}", f"episode:{episode}"]
        case ShortsKeys(user, video):
            return [f"user:{user}", f"video:{video}"]
    raise TypeError(f"{keys!r} is of no job.")


@dataclass(frozen=True)
class Job:
    """What to run to make what a record stands for."""

    flow: str
    parameters: dict[str, Any]

    @property
    def deployment(self) -> str:
        return f"{self.flow}/clipflow"


def job_of(keys: RecordKeys) -> Job:
    """The job whose record this is."""
    match keys:
        case ClipKeys(tenant, episode, clip):
            asked = {"tenant_id": tenant, "episode_id": episode, "clip_id": clip}
            return Job(GENERATE_CLIP, asked)
        case ShortsKeys(user, video):
            return Job(GENERATE_SHORTS, {"user_id": user, "video_id": video})
    raise TypeError(f"{keys!r} is of no job.")
