"""Names of flows, and the record, tags and error of a flow run."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError, ObjectNotFound
from prefect.settings import get_current_settings

from clipflow.domain import errors
from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.errors import (
    ClipflowError,
    DeadlineExceededError,
    InvalidInputError,
    MachineLostError,
    StoppedError,
    TerminalError,
)
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.model import parse_json
from clipflow.settings import settings
from clipflow.storage.records import record_store

BEGIN_CLIP_GENERATION = "begin-clip-generation"
GENERATE_CLIP = "generate-clip"
GENERATE_SHORTS = "generate-shorts"
TRANSCRIBE_WINDOW = "transcribe-window"
# Options of all flows: what they make is in the bucket and the table. Without them, each run asks
# Prefect's server three times where it would store its result.
NO_RESULTS: dict[str, Any] = {
    "persist_result": False,
    "result_storage": get_current_settings().results.local_storage_path,
}


def this_run() -> FlowRun:
    """The flow run that the caller is a part of. Raises MissingContextError outside of a flow."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise MissingContextError("This function must be called from a flow.")
    return context.flow_run


@dataclass(frozen=True)
class Job:
    """The deployment and parameters of the run that makes a record's output."""

    flow: str
    parameters: dict[str, Any]

    @property
    def deployment(self) -> str:
        """`flow/deployment`."""
        return f"{self.flow}/clipflow"


def job_of(keys: RecordKeys) -> Job:
    """The job whose runs write the record `keys`."""
    match keys:
        case ClipKeys(tenant, episode, clip):
            parameters = {"tenant_id": tenant, "episode_id": episode, "clip_id": clip}
            return Job(GENERATE_CLIP, parameters)
        case ShortsKeys(user, video):
            return Job(GENERATE_SHORTS, {"user_id": user, "video_id": video})
    raise TypeError(f"{keys!r} does not belong to a job.")


def tags_of(keys: RecordKeys) -> list[str]:
    """The tags of the record's runs in the UI: first the tenant or user, then the episode or
    video."""
    match keys:
        case ClipKeys(tenant, episode):
            return [f"tenant:{tenant}", f"episode:{episode}"]
        case ShortsKeys(user, video):
            return [f"user:{user}", f"video:{video}"]
    raise TypeError(f"{keys!r} does not belong to a job.")


def clip_keys(parameters: dict[str, Any]) -> ClipKeys:
    """The keys of the record of a `generate-clip` run."""
    return ClipKeys(
        parameters["tenant_id"],
        parameters["episode_id"],
        parameters["clip_id"],
        settings().key_prefix,
    )


def clip_request(parameters: dict[str, Any]) -> ClipRequest:
    """The clip that a `generate-clip` run must make. Raises InvalidInputError."""
    fields = {
        "clipId": parameters["clip_id"],
        "segments": parameters.get("segments"),
        "sourceKey": parameters.get("source_key"),
        "audioTrack": parameters.get("audio_track"),
    }
    return ClipRequest.read(fields, "the requested clip")


def shorts_keys(parameters: dict[str, Any]) -> ShortsKeys:
    """The keys of the record of a `generate-shorts` run."""
    return ShortsKeys(parameters["user_id"], parameters["video_id"], settings().shorts_prefix)


_KEYS_OF: dict[str, Callable[[dict[str, Any]], RecordKeys]] = {
    GENERATE_CLIP: clip_keys,
    GENERATE_SHORTS: shorts_keys,
}


def record_of(flow: str, parameters: dict[str, Any]) -> RecordKeys | None:
    """The keys of the record of a `flow` run; None without a record or if an id is missing."""
    try:
        return _KEYS_OF[flow](parameters)
    except KeyError:
        return None


def records_of(flow: str, parameters: dict[str, Any]) -> list[RecordKeys]:
    """The keys of every record that a `flow` run must make; none if its parameters are invalid."""
    if flow != BEGIN_CLIP_GENERATION:
        keys = record_of(flow, parameters)
        return [keys] if keys else []
    try:
        request = parse_request(parameters)
    except InvalidInputError:
        return []
    episode = (request.tenant_id, request.episode_id)
    if request.clips is None:
        clip_ids = record_store().due_clips(*episode)
    else:
        clip_ids = [clip.clip_id for clip in request.clips]
    return [ClipKeys(*episode, clip_id, settings().key_prefix) for clip_id in clip_ids]


def parse_request(parameters: dict[str, Any]) -> BeginClipGeneration:
    """The request of a `begin-clip-generation` run. Raises InvalidInputError.

    A run that was triggered by an event has it as text in `request`, because Prefect executes
    templates in structured parameters and the sender of the event is not trusted.
    """
    tenant_id, episode_id = parameters.get("tenant_id"), parameters.get("episode_id")
    text = parameters.get("request")
    if text is None:
        detail: object = {
            "tenantId": tenant_id, "episodeId": episode_id, "clips": parameters.get("clips")
        }  # fmt: skip
    else:
        detail = parse_json(text, "the request")
    request = BeginClipGeneration.read(detail, "the request")
    if (request.tenant_id, request.episode_id) != (tenant_id, episode_id):
        raise InvalidInputError(
            "The request names another episode than tenant_id and episode_id.",
            "Use the same ids in both, or omit request.",
        )
    return request


# Prefect's message for a flow that raised: the type of its error, and the error's text.
_RAISED = re.compile(r"exception: (\w+): (.*)", re.DOTALL)
_TIMED_OUT = "TimedOut"


def state_of(run_id: str) -> State[Any] | None:
    """The flow run's state; None if the run does not exist. Raises httpx's HTTPError."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return None


def error_of(run: FlowRun, state: State[Any] | None) -> ClipflowError | None:
    """The error with which a run ended in `state`; None if the run completed."""
    message = (state and state.message) or "no reason was given"
    if state is None or state.is_completed():
        return None
    if state.is_cancelled():
        return StoppedError(f"{run.name} was cancelled: {message}")
    if state.is_crashed():
        return MachineLostError(f"{run.name} was lost: {message}", "Start it again to continue.")
    if state.name == _TIMED_OUT:
        return DeadlineExceededError(f"{run.name}: {message}", "Start it again to continue.")
    raised = _RAISED.search(message)
    if not raised:
        return TerminalError(f"{run.name} failed: {message}")
    kind: Callable[[str], ClipflowError] | None = getattr(errors, raised[1], None)
    if not (isinstance(kind, type) and issubclass(kind, ClipflowError)):
        return TerminalError(
            f"{raised[1]}: {raised[2]}", "This is a defect in clipflow: see its log."
        )
    return kind(raised[2])
