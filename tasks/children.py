"""Child flow runs on other machines, for segments, shorts, prepared videos and windows of audio.

Each is started by a task of the parent run, which waits for it. A child works for whichever run
owns the record, not for the run that started it: see
docs/adr/0011-children-work-for-the-records-owner.md.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from threading import Condition, Lock
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import Task, get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.states import Cancelling, Crashed

from clipflow.domain.clips import ExtractOutput
from clipflow.domain.errors import (
    ClipflowError,
    MachineLostError,
    MediaInterruptedError,
    StoppedError,
)
from clipflow.domain.keys import RecordKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short
from clipflow.jobs.clips import Cut, CutGroup, extract
from clipflow.jobs.posts import stored_thumbnail
from clipflow.jobs.render import Render, RenderGroup, stored_short
from clipflow.jobs.segment import is_made_from
from clipflow.jobs.shorts import read_moments
from clipflow.jobs.transcription import SpeechWindow, is_transcribed
from clipflow.settings import models, this_machine
from clipflow.storage.objects import ObjectStore, object_store, shorts_store
from clipflow.storage.records import record_store
from tasks.child_events import EndListener
from tasks.child_requests import (
    Child,
    extract_child,
    prepare_child,
    record_tag,
    render_child,
    render_group_child,
    transcribe_child,
)
from tasks.flow_runs import error_of, tags_of
from tasks.retries import CHILD, MEDIA
from tasks.telemetry import calling_child

# How often the states of children are read while Prefect does not push their ends.
POLL_SECONDS = 1.0
# The same while it does. An event that is lost costs at most this time.
LISTENING_POLL_SECONDS = 15.0
# Between two reads after the end of a child was pushed: others may end too, and the state becomes
# visible only when its transaction ends.
_END_SECONDS = 0.25
_END_VISIBLE_SECONDS = 5.0
# An autoscaling group may take many minutes to start an instance. A run that waits for longer is
# considered lost.
LAUNCH_TIMEOUT = timedelta(minutes=30)
ACTIVE_STATES = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


async def should_retry_remote(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the machine was lost. Errors of the work itself have been retried by the child
    run."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, MachineLostError) or not isinstance(error, ClipflowError)


_REMOTE: dict[str, Any] = {
    "retry_condition_fn": should_retry_remote,
    # The object in the bucket is the only evidence that the work is done.
    "cache_policy": NO_CACHE,
}


@task(name="extract-segments", task_run_name="extract {group.label}", **{**MEDIA, **_REMOTE})
def extract_remote(group: CutGroup, force: bool) -> list[ExtractOutput]:
    """Cut segments on another machine, exact to the frame, and store each under its key."""
    objects = object_store()
    if force or not all(_is_cut(cut, objects) for cut in group.cuts):
        run_child(extract_child(group, force))
    for cut in group.cuts:
        if not _is_cut(cut, objects):
            raise MediaInterruptedError(
                f"{cut.label} of {cut.request.clip_id} was made, but its object does not exist."
            )
    # The segments exist by now, so this only reads their metadata.
    return [extract(cut, objects, this_machine()) for cut in group.cuts]


def _is_cut(cut: Cut, objects: ObjectStore) -> bool:
    return is_made_from(objects.head(cut.plan.key), cut.plan.fingerprint)


@task(name="render-short", task_run_name="render {request.label}", **{**CHILD, **_REMOTE})
def render_remote(request: Render, force: bool) -> Short:
    """Render one short on another machine and store it under its key."""
    run_child(render_child(request, force))
    return _rendered(request)


@task(name="render-shorts", task_run_name="render {group.label}", **{**CHILD, **_REMOTE})
def render_group_remote(group: RenderGroup, force: bool) -> list[Short]:
    """Render several shorts on another machine. Raises an error if one of them fails."""
    run_child(render_group_child(group, force))
    return [_rendered(request) for request in group.renders]


def _rendered(request: Render) -> Short:
    key, objects = request.keys.short(request.number), shorts_store()
    head = objects.head(key)
    if head is None:
        raise MediaInterruptedError(
            f"{request.label} of {request.keys.label} was made, but its object does not exist."
        )
    frame = request.keys.short_thumbnail(request.number)
    thumbnail = stored_thumbnail(frame, head, objects, models())
    return stored_short(request, head, objects).model_copy(update={"thumbnail": thumbnail})


@task(name="prepare-video", task_run_name="prepare {keys.video_id}", **{**MEDIA, **_REMOTE})
def prepare_remote(keys: ShortsKeys, force: bool) -> list[Moment]:
    """Store a video's transcript, moments and segments on another machine; returns the moments,
    best first."""
    run_child(prepare_child(keys, force))
    return read_moments(keys, shorts_store())


@task(name="transcribe-window", task_run_name="transcribe {window.label}", **{**MEDIA, **_REMOTE})
def transcribe_remote(window: SpeechWindow, force: bool) -> None:
    """Recognise the speech in a window on another machine, and store its words."""
    objects = shorts_store()
    if force or not is_transcribed(window, objects):
        run_child(transcribe_child(window, force))
    if not is_transcribed(window, objects):
        raise MediaInterruptedError(
            f"Window {window.label} of {window.keys.label} was transcribed, but its words are not"
            " stored."
        )


class ChildRunGroup:
    """The child runs that one step of a parent waits for, shared by the threads of its tasks.

    It listens to Prefect's events of the ends of runs with the children's tag.
    """

    def __init__(self, tag: str) -> None:
        self._is_closed = False
        # Starts are serialised because no child may start after `close`, and because Prefect
        # numbers the children of a parent without a lock.
        self._starting = Lock()
        self._reading = Lock()
        self._changed = Condition()
        self._runs: dict[UUID, FlowRun] = {}
        # Times are of `time.monotonic`: when each end was pushed, when the states were read, and
        # since when events are pushed.
        self._ends: dict[UUID, float] = {}
        self._reads, self._read_at = 0, time.monotonic()
        self._connected_at: float | None = None
        self._listener = EndListener(tag, self._connection, self._end)
        self._listener.start()

    @property
    def is_listening(self) -> bool:
        """Whether Prefect pushes the ends of children at present."""
        return self._connected_at is not None

    def start(self, client: SyncPrefectClient, child: Child) -> FlowRun:
        """The run of this part: one that an earlier parent has started, or a new one."""
        with self._starting:
            self._raise_if_closed()
            last = _last_run(client, child)
            if last and last.state and _can_adopt(last.state, child):
                return last
            attempt = _attempt(last) + 1
            with calling_child(child.deployment.partition("/")[0]):
                started = run_deployment(
                    child.deployment,
                    parameters=child.parameters,
                    flow_run_name=child.name,
                    # Without the tenant's tag, by which the tenant's active clips are counted.
                    tags=[record_tag(child.record), child.tag, *tags_of(child.record)[1:]],
                    # With this key, two concurrent parents start the same run.
                    idempotency_key=f"{child.tag}:{attempt}",
                    timeout=0,
                )
            # Annotated for sync and async use alike; outside an event loop it returns the run.
            return cast(FlowRun, started)

    def poll(self, client: SyncPrefectClient, run: FlowRun) -> FlowRun:
        """The run with its state when it is read next. Raises StoppedError if the group is closed.

        One request serves all threads, because one per child was two thirds of the Prefect server's
        load (docs/scale.md). docs/adr/0019 has the reason not to use PrefectFlowRunFuture.
        """
        with self._changed:
            known = self._runs.setdefault(run.id, run)
            if run.state and known.state:
                if run.state.timestamp > known.state.timestamp:
                    self._runs[run.id] = run  # It runs again, after an end that was read before.
                elif known.state.is_final():
                    return known  # It ended between two calls of this thread.
            reads = self._reads
            while not self._is_closed and self._reads == reads:
                seconds = self._due_at() - time.monotonic()
                if seconds <= 0:
                    break
                self._changed.wait(seconds)
        self._raise_if_closed()
        with self._reading:
            if self._reads == reads:
                self._read_runs(client)
            return self._runs[run.id]

    def _due_at(self) -> float:
        """When the states have to be read next."""
        now = time.monotonic()
        visible = (at for id, at in self._ends.items() if id in self._runs and self._is_active(id))
        if any(now - at < _END_VISIBLE_SECONDS for at in visible):
            return self._read_at + _END_SECONDS
        if self._connected_at is None:
            return self._read_at + POLL_SECONDS
        # An event from just before the connection may not be repeated, if it is not stored yet.
        settled = self._connected_at + POLL_SECONDS
        return settled if self._read_at < settled else self._read_at + LISTENING_POLL_SECONDS

    def _is_active(self, id: UUID) -> bool:
        state = self._runs[id].state
        return not (state and state.is_final())

    def _read_runs(self, client: SyncPrefectClient) -> None:
        with self._changed:
            active = [id for id in self._runs if self._is_active(id)]
        only = FlowRunFilter(id=FlowRunFilterId(any_=active))
        found = {run.id: run for run in client.read_flow_runs(flow_run_filter=only)}
        with self._changed:
            # A deleted run counts as lost, even if its process is still running.
            deleted = {id: self._runs[id] for id in active if id not in found}
            self._runs |= found | {id: _deleted(run) for id, run in deleted.items()}
            self._read_at = time.monotonic()
            self._reads += 1
            self._changed.notify_all()

    def _connection(self, is_connected: bool) -> None:
        with self._changed:
            self._connected_at = time.monotonic() if is_connected else None
            self._changed.notify_all()

    def _end(self, id: UUID) -> None:
        with self._changed:
            self._ends[id] = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all waiting, and prevents further starts."""
        with self._starting, self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._listener.stop()

    def _raise_if_closed(self) -> None:
        if self._is_closed:
            raise StoppedError("The run that started this run ended first.")


_group: ContextVar[ChildRunGroup] = ContextVar("child_run_group")


@contextmanager
def child_run_group(record: RecordKeys) -> Iterator[None]:
    """A context in which `run_child` may be called, also from task runs in other threads.

    An error that leaves the block cancels every child, unless another run has claimed the record
    and adopted them. A signal does not, because the parent may be restarted elsewhere and adopt
    them. Otherwise its state hooks and `recovery.cancel_if_orphaned` cancel them.
    """
    group = ChildRunGroup(record_tag(record))
    token = _group.set(group)
    try:
        yield
    except Exception:
        group.close()
        try:
            cancel_children(record, str(runtime.flow_run.get_id()))
        except (httpx.HTTPError, ClipflowError) as error:
            get_run_logger().warning("The children could not be cancelled yet: %s", error)
        raise
    finally:
        group.close()
        _group.reset(token)


def run_child(child: Child) -> None:
    """Starts the child's run, or adopts one, and waits for it.

    Raises the child's error with its type and message; MachineLostError if its machine was lost or
    never started; StoppedError if it was cancelled.
    """
    group = _group.get()
    with get_client(sync_client=True) as client:
        run = group.start(client, child)
        while not (run.state and run.state.is_final()):
            run = group.poll(client, run)
            _raise_if_never_launched(client, run)
    error = error_of(run, run.state)
    if error:
        raise error


def cancel_children(record: RecordKeys, parent: str) -> None:
    """Cancels the record's active child runs, if the run `parent` owns the record.

    If another run owns it, that run has adopted the children. Raises StorageUnavailableError or
    httpx's HTTPError.
    """
    if record_store().owner(record) != parent:
        return
    active = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[record_tag(record)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE_STATES)),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=active):
            state: State[Any] = Cancelling(message="The run that started this run ended first.")
            client.set_flow_run_state(run.id, state)


def _last_run(client: SyncPrefectClient, child: Child) -> FlowRun | None:
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[child.tag])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return runs[0] if runs else None


def _deleted(run: FlowRun) -> FlowRun:
    return run.model_copy(update={"state": Crashed(message="It was deleted in Prefect.")})


def _can_adopt(state: State[Any], child: Child) -> bool:
    return state.type in ACTIVE_STATES or (child.once and state.is_completed())


def _raise_if_never_launched(client: SyncPrefectClient, run: FlowRun) -> None:
    """Raises MachineLostError for a run that has been pending for longer than LAUNCH_TIMEOUT."""
    state = run.state
    if state and state.is_pending() and datetime.now(UTC) - state.timestamp > LAUNCH_TIMEOUT:
        message = f"No machine for {run.name} in {LAUNCH_TIMEOUT}."
        client.set_flow_run_state(run.id, Cancelling(message=message))
        raise MachineLostError(
            message, "Start it again to continue, and check the cluster's capacity."
        )


def _attempt(run: FlowRun | None) -> int:
    """The number at the end of the run's idempotency key; 0 before the first."""
    number = (run.idempotency_key or "").rpartition(":")[2] if run else ""
    return int(number) if number.isdigit() else 0
