"""Starts a flow run for each clip of an event, of pending events, and of queued requests."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import sample
from typing import Any, Self
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Completed

from clipflow.domain.clips import BeginClipGeneration, ClipRecord, ClipRequest
from clipflow.domain.errors import ClipflowError
from clipflow.domain.keys import ClipKeys
from clipflow.storage.records import record_store
from tasks.children import ACTIVE_STATES
from tasks.flow_runs import GENERATE_CLIP, clip_request, parse_request, tags_of, this_run
from tasks.retries import RECORDS
from tasks.telemetry import calling, trace_labels

# A tenant's clips beyond this number go to the second queue, behind other tenants' clips; see
# docs/adr/0014-a-flood-waits-in-a-second-queue.md.
TENANT_SHARE = 4
BULK_QUEUE = "bulk"
# The prefix of the tag of a queued run, before the id of the run that it waits for.
_QUEUED_BEHIND = "queued-behind"
# The maximum number of pending runs that one process drains. It reads a page of them and takes a
# few at random, because other processes drain the same page.
_MAX_DRAINED = 200
_PAGE, _BATCH = 50, 5


@dataclass(frozen=True)
class TriggerContext:
    """The trigger of the start of clips: an event, or a run that a user has started.

    Attributes:
        id: the event's id, or else the run's. The same id never starts a clip twice.
        force: whether existing outputs are made again.
        labels: the labels of the new runs, which continue the trigger's trace.
    """

    id: str
    force: bool
    labels: Mapping[str, Any]

    @classmethod
    def of(cls, run: FlowRun) -> Self:
        """The context of a run of `begin-clip-generation`."""
        parameters = run.parameters
        trigger_id = str(parameters.get("event_id") or run.id)
        return cls(trigger_id, bool(parameters.get("force")), trace_labels(run))


class ClipStarter:
    """Starts runs of `generate-clip`.

    It keeps the deployment's id, and which tenants have reached their share, so it should be used
    for a few seconds only.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._deployment = client.read_deployment_by_name(f"{GENERATE_CLIP}/clipflow").id
        self._above_share: set[str] = set()

    def start(
        self, tenant_id: str, episode_id: str, clip: ClipRequest, trigger: TriggerContext
    ) -> UUID:
        """Starts the run for `clip`, once for each trigger; returns its id."""
        parameters: dict[str, Any] = {
            "tenant_id": tenant_id,
            "episode_id": episode_id,
            **clip.model_dump(mode="json", by_alias=False, exclude_none=True, exclude={"segments"}),
            "force": trigger.force,
        }
        if clip.segments:
            parameters["segments"] = [
                s.model_dump(mode="json", exclude_none=True) for s in clip.segments
            ]
        queue = BULK_QUEUE if self._is_above_share(tenant_id) else None
        with calling(GENERATE_CLIP, trigger.labels) as labels:
            return self._client.create_flow_run_from_deployment(
                self._deployment,
                parameters=parameters,
                name=clip.clip_id,
                tags=tags_of(ClipKeys(tenant_id, episode_id, clip.clip_id)),
                idempotency_key=clip_run_key(trigger.id, clip.clip_id),
                work_queue_name=queue,
                labels=labels,
            ).id

    def _is_above_share(self, tenant_id: str) -> bool:
        if tenant_id not in self._above_share:
            active = FlowRunFilter(
                tags=FlowRunFilterTags(all_=[f"tenant:{tenant_id}"]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE_STATES)),
            )
            found = self._client.read_flow_runs(flow_run_filter=active, limit=TENANT_SHARE)
            if len(found) == TENANT_SHARE:
                self._above_share.add(tenant_id)
        return tenant_id in self._above_share


def start_clips(request: BeginClipGeneration, trigger: TriggerContext) -> dict[str, UUID]:
    """Starts a run for each clip of the request, or for all due clips; returns the runs by clip."""
    episode = (request.tenant_id, request.episode_id)
    clips = list_due_clips(*episode) if request.clips is None else request.clips
    # Sequentially, because parallel requests would contend for the Prefect server's database.
    return {clip.clip_id: start_clip(*episode, clip, trigger) for clip in clips}


def dispatch_state(
    request: BeginClipGeneration, started: Collection[object], note: str = ""
) -> State[Any]:
    """The final state of a run of `begin-clip-generation` that has started these clips."""
    if not started:
        message = f"{request.episode_id} has no clip to make."
        return Completed(name="NothingToGenerate", message=message)
    return Completed(message=f"{len(started)} clips started{note}.")


@task(name="list-due-clips", task_run_name="list due clips", **RECORDS)
def list_due_clips(tenant_id: str, episode_id: str) -> list[ClipRequest]:
    """The episode's clips that are detected, pending or failed."""
    return _due_clips(tenant_id, episode_id)


def _due_clips(tenant_id: str, episode_id: str) -> list[ClipRequest]:
    due = record_store().due_clips(tenant_id, episode_id)
    return [ClipRequest(clip_id=clip_id) for clip_id in due]


@task(name="start-clip", task_run_name="start {clip.clip_id}", **RECORDS)
def start_clip(tenant_id: str, episode_id: str, clip: ClipRequest, trigger: TriggerContext) -> UUID:
    """Starts the flow run for `clip`, once for each trigger."""
    with get_client(sync_client=True) as client:
        return ClipStarter(client).start(tenant_id, episode_id, clip, trigger)


def clip_run_key(trigger_id: str, clip_id: str) -> str:
    """The idempotency key of a clip's run, with which a trigger starts the clip at most once."""
    return f"{trigger_id}:{clip_id}"


def drain_pending_runs() -> None:
    """Starts the clips of other pending `begin-clip-generation` runs, and completes those runs.

    Starting a process costs as much as starting several clips. The clips are started with the
    idempotency keys that the pending run itself would use, so it does no harm if a worker starts
    that run meanwhile, or if this process ends halfway.
    """
    try:
        tried: set[UUID] = set()
        while len(tried) < _MAX_DRAINED:
            pending = [run for run in _pending_runs() if run.id not in tried]
            if not pending:
                return
            batch = [run.id for run in sample(pending, min(_BATCH, len(pending)))]
            tried.update(batch)
            # An error is ignored here, since the pending runs will fail with it in their own
            # processes, and this run has started its own clips.
            start_pending(batch, return_state=True)
    except httpx.HTTPError as error:
        get_run_logger().warning("Other pending runs were not drained: %s", error)


@task(name="start-pending", task_run_name="start clips of pending runs")
def start_pending(run_ids: list[UUID]) -> None:
    """Starts the clips of these runs if they are still pending, and completes the runs.

    One task for several runs and none for each of their clips, because the events of a task run
    cost the server as much as a clip's run.
    """
    with get_client(sync_client=True) as client:
        clips = ClipStarter(client)
        for run in client.read_flow_runs(flow_run_filter=_scheduled(run_ids)):
            try:
                request = parse_request(run.parameters)
                started = _start_requested(clips, request, TriggerContext.of(run))
            except (ClipflowError, httpx.HTTPStatusError) as error:
                # The pending run will fail with the same error in its own process.
                get_run_logger().warning("%s is left to its own process: %s", run.name, error)
            else:
                note = f" in the process of {this_run().name}"
                client.set_flow_run_state(run.id, dispatch_state(request, started, note))


def _start_requested(
    clips: ClipStarter, request: BeginClipGeneration, trigger: TriggerContext
) -> list[UUID]:
    episode = (request.tenant_id, request.episode_id)
    requested = _due_clips(*episode) if request.clips is None else request.clips
    return [clips.start(*episode, clip, trigger) for clip in requested]


def _scheduled(run_ids: list[UUID]) -> FlowRunFilter:
    return FlowRunFilter(
        id=FlowRunFilterId(any_=run_ids),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )


def queue_behind(owner: str) -> None:
    """Queues this run's request behind the run `owner`, which has claimed the record.

    The owner may have read segments that have changed since. It searches for the tag after it has
    released its claim, so it finds every run that was denied the claim after setting the tag.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(this_run().id)
        client.update_flow_run(run.id, tags=[*run.tags, f"{_QUEUED_BEHIND}:{owner}"])


def start_queued(owner: str, made: tuple[ClipKeys, ClipRequest] | None = None) -> None:
    """Starts the newest of the runs that were queued behind the run `owner` again.

    It is not started if it would only repeat the request that the owner has `made`; None means that
    the owner made nothing. A failure is only logged, since it does not affect the owner's result.
    """
    queued = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"{_QUEUED_BEHIND}:{owner}"]))
    try:
        with get_client(sync_client=True) as client:
            newest_first = FlowRunSort.EXPECTED_START_TIME_DESC
            for run in client.read_flow_runs(flow_run_filter=queued, sort=newest_first, limit=1):
                if made and _repeats(run, *made):
                    return
                if run.deployment_id is None:
                    return  # it was started without a deployment
                client.create_flow_run_from_deployment(
                    run.deployment_id,
                    parameters=run.parameters,
                    name=run.name,
                    tags=[tag for tag in run.tags if not tag.startswith(_QUEUED_BEHIND)],
                    idempotency_key=f"after:{owner}",
                    work_queue_name=run.work_queue_name,
                    labels=run.labels,
                )
    except httpx.HTTPError as error:
        get_run_logger().warning("Newer requests for this clip could not be started: %s", error)


def _repeats(run: FlowRun, keys: ClipKeys, made: ClipRequest) -> bool:
    """Whether the run, with the current record, would make the same clip as `made`."""
    if run.parameters.get("force"):
        return False
    try:
        record = record_store().clip(keys) or ClipRecord()
        return record.complete_request(clip_request(run.parameters)) == made
    except ClipflowError:
        return False  # the run itself will report the error


def _pending_runs() -> list[FlowRun]:
    deployment = this_run().deployment_id
    if deployment is None:
        return []
    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=due, limit=_PAGE)
