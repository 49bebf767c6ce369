"""Flow runs: the names of the flows, the record that each run keeps, its tags and its error."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError, ObjectNotFound

from clipflow.domain import errors
from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    InvalidInputError,
    MachineLostError,
    StoppedError,
    TerminalError,
)
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


# Prefect's own words for a flow that raised: the type of its error, and what it said.
_RAISED = re.compile(r"exception: (\w+): (.*)", re.DOTALL)
_TIMED_OUT = "TimedOut"


def state_of(run_id: str) -> State[Any] | None:
    """The flow run's; None where Prefect knows of no such run. Raises httpx's HTTPError."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return None


def error_of(run: FlowRun, state: State[Any] | None) -> ClipflowError | None:
    """What ended a run in `state`, with its own message; None where it did its part."""
    message = (state and state.message) or "no reason was given"
    if state is None or state.is_completed():
        return None
    if state.is_cancelled():
        return StoppedError(f"{run.name} was cancelled: {message}")
    if state.is_crashed():
        return MachineLostError(f"{run.name} was lost: {message}", "Start it again to go on.")
    if state.name == _TIMED_OUT:
        return DeadlineExceededError(f"{run.name}: {message}", "Start it again to go on.")
    raised = _RAISED.search(message)
    if not raised:
        return TerminalError(f"{run.name} failed: {message}")
    kind: Callable[[str], ClipflowError] | None = getattr(errors, raised[1], None)
    if not (isinstance(kind, type) and issubclass(kind, ClipflowError)):
        return TerminalError(
            f"{raised[1]}: {raised[2]}", "This is a defect in clipflow: see its log."
        )
    return kind(raised[2])


def this_run() -> FlowRun:
    """Raises MissingContextError outside of a flow."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise MissingContextError("This is called from a flow.")
    return context.flow_run
