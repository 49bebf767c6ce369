"""Child flow runs on other machines: segments, shorts and prepared videos.

Each is started by a task of the parent, which waits for it as if the work were done in its own
process. A child works for whichever run owns the record.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock
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
from pydantic import TypeAdapter

from clipflow.domain.clips import ExtractInput, ExtractOutput
from clipflow.domain.errors import (
    ClipflowError,
    MachineLostError,
    MediaInterruptedError,
    StoppedError,
)
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short
from clipflow.jobs.clips import Cut, extract
from clipflow.jobs.render import Render
from clipflow.jobs.segment import SegmentPlan, fingerprint, is_made_from
from clipflow.jobs.shorts import read_moments
from clipflow.settings import this_machine
from clipflow.storage.objects import object_store, shorts_store
from tasks.flow_runs import error_of, tags_of
from tasks.retries import CHILD, MEDIA

LOOK_SECONDS = 1.0
# An autoscaling group may take long to bring up an instance; what takes longer was forgotten.
LONGEST_LAUNCH = timedelta(minutes=30)
ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


@dataclass(frozen=True)
class Child:
    """One part of the work on `record`, as its flow run is told.

    Attributes:
        deployment: `flow/deployment`.
        name: what people call the run.
        part: which part, and what of; equal for equal work.
        once: whether a run that did this part has done it for good.
        parameters: the flow's, as JSON: references, never bytes.
    """

    deployment: str
    name: str
    record: RecordKeys
    part: str
    once: bool
    parameters: dict[str, Any]

    @property
    def tag(self) -> str:
        """What every run of this part carries."""
        return f"{record_tag(self.record)}/{self.part}"


def record_tag(record: RecordKeys) -> str:
    """What every child of whichever run owns the record carries."""
    return "/".join(record.record.values())


class Crew:
    """The child runs that one step of a parent waits for."""

    def __init__(self) -> None:
        self._over = Event()
        # One at a time, so that no child starts after `leave`; and Prefect counts the children of
        # a parent without a lock of its own.
        self._starting = Lock()
        self._looking = Lock()
        self._looked_at = 0.0
        self._seen: dict[UUID, FlowRun] = {}

    def start(self, client: SyncPrefectClient, child: Child) -> FlowRun:
        """The run that does this part: one that is at it for an earlier parent, or a new one."""
        with self._starting:
            self._check()
            last = _last_run(client, child)
            if last and last.state and _is_of_use(last.state, child):
                return last
            attempt = _attempt(last) + 1
            started = run_deployment(
                child.deployment,
                parameters=child.parameters,
                flow_run_name=child.name,
                # Not whose it is: a tenant's share is counted in clips, by that.
                tags=[record_tag(child.record), child.tag, *tags_of(child.record)[1:]],
                # Two parents that do not know of each other start the same run.
                idempotency_key=f"{child.tag}:{attempt}",
                timeout=0,
            )
            # Its type is that of both its uses; outside an event loop it gives the run itself.
            return cast(FlowRun, started)

    def seen_later(self, client: SyncPrefectClient, run: FlowRun) -> FlowRun:
        """The run as it is a moment later. Raises StoppedError once nobody waits for anything.

        One look serves all who wait: ten children asked after each by itself were two thirds of
        what the Prefect server had to do.
        """
        self._over.wait(LOOK_SECONDS)
        self._check()
        with self._looking:
            self._seen.setdefault(run.id, run)
            if time.monotonic() - self._looked_at >= LOOK_SECONDS / 2:
                self._look(client)
            return self._seen[run.id]

    def _look(self, client: SyncPrefectClient) -> None:
        going = [id for id, run in self._seen.items() if not (run.state and run.state.is_final())]
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=going))
        found = {run.id: run for run in client.read_flow_runs(flow_run_filter=wanted)}
        # A run that somebody has deleted is over, whatever it still does.
        gone = {id: self._seen[id] for id in going if id not in found}
        self._seen |= found | {id: _deleted(run) for id, run in gone.items()}
        self._looked_at = time.monotonic()

    def leave(self) -> None:
        """Nobody waits any longer, and no child is started any more."""
        with self._starting:
            self._over.set()

    def _check(self) -> None:
        if self._over.is_set():
            raise StoppedError("The run that asked for this ended first.")


_crew: ContextVar[Crew] = ContextVar("crew")


@contextmanager
def crew_of(record: RecordKeys) -> Iterator[None]:
    """Within it, `finish` may be called, also by the tasks of other threads.

    An error that leaves it stops every child. A signal does not: the run may go on elsewhere, and
    adopt them; where it does not, its hooks and the children themselves see to their end.
    """
    crew = Crew()
    token = _crew.set(crew)
    try:
        yield
    except Exception:
        crew.leave()
        try:
            stop_children(record)
        except httpx.HTTPError as error:
            get_run_logger().warning("The children end by themselves, later: %s", error)
        raise
    finally:
        crew.leave()
        _crew.reset(token)


def finish(child: Child) -> None:
    """Returns once a run of its own has done the child's part.

    Raises the child's own error, by its type and with its message; MachineLostError where its
    machine was lost or never came; StoppedError where somebody cancelled it.
    """
    crew = _crew.get()
    with get_client(sync_client=True) as client:
        run = crew.start(client, child)
        while not (run.state and run.state.is_final()):
            run = crew.seen_later(client, run)
            _give_up_on_the_lost(client, run)
    error = error_of(run, run.state)
    if error:
        raise error


def stop_children(record: RecordKeys) -> None:
    """Asks Prefect to cancel every child run of the record's that is not over."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[record_tag(record)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=wanted):
            state: State[Any] = Cancelling(message="The run that asked for this ended first.")
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


def _is_of_use(state: State[Any], child: Child) -> bool:
    return state.type in ALIVE or (child.once and state.is_completed())


def _give_up_on_the_lost(client: SyncPrefectClient, run: FlowRun) -> None:
    """Raises MachineLostError for a run that was handed over, and whose machine was never heard
    of."""
    state = run.state
    if state and state.is_pending() and datetime.now(UTC) - state.timestamp > LONGEST_LAUNCH:
        message = f"No machine for {run.name} in {LONGEST_LAUNCH}."
        client.set_flow_run_state(run.id, Cancelling(message=message))
        raise MachineLostError(message, "Start it again to go on; see the cluster's capacity.")


def _attempt(run: FlowRun | None) -> int:
    """The number at the end of its key; 0 before the first."""
    number = (run.idempotency_key or "").rpartition(":")[2] if run else ""
    return int(number) if number.isdigit() else 0


EXTRACT = "extract-segment/clipflow"
RENDER = "render-short/clipflow"
PREPARE = "prepare-video/clipflow"

_plans = TypeAdapter(SegmentPlan)


async def worth_another_machine(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the machine was lost: an error of the work itself was tried again where it was."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, MachineLostError) or not isinstance(error, ClipflowError)


_ELSEWHERE: dict[str, Any] = {
    "retry_condition_fn": worth_another_machine,
    # What is made already is known by its object alone.
    "cache_policy": NO_CACHE,
}


@task(name="extract-segment", task_run_name="extract {cut.label}", **{**MEDIA, **_ELSEWHERE})
def extract_elsewhere(cut: Cut, force: bool) -> ExtractOutput:
    """One segment, exact to the frame, under its key."""
    objects, key, made_from = object_store(), cut.plan.key, cut.plan.fingerprint
    if force or not is_made_from(objects.head(key), made_from):
        finish(extracting(cut, force))
    if not is_made_from(objects.head(key), made_from):
        raise MediaInterruptedError(
            f"{cut.label} of {cut.request.clip_id} was made, yet is not there."
        )
    # Of a finished segment it only tells what it is.
    return extract(cut, objects, this_machine())


@task(name="render-short", task_run_name="render {asked.label}", **{**CHILD, **_ELSEWHERE})
def render_elsewhere(asked: Render, force: bool) -> Short:
    """One short, under its key."""
    finish(_rendering(asked, force))
    key = asked.keys.short(asked.number)
    head = shorts_store().head(key)
    if head is None:
        raise MediaInterruptedError(
            f"{asked.label} of {asked.keys.label} was made, yet is not there."
        )
    return Short.made(asked.number, key, asked.moment, head.size)


@task(name="prepare-video", task_run_name="prepare {keys.video_id}", **{**MEDIA, **_ELSEWHERE})
def prepare_elsewhere(keys: ShortsKeys, force: bool) -> list[Moment]:
    """A video's transcript, moments and segments under their keys; the moments, best first."""
    parameters = {"user_id": keys.user_id, "video_id": keys.video_id, "force": force}
    part = f"prepare{_asked_by(force)}"
    finish(Child(PREPARE, f"prepare {keys.video_id}", keys, part, force, parameters))
    return read_moments(keys, shorts_store())


def cut_asked_for(request: dict[str, Any], plan: dict[str, Any]) -> Cut:
    """What `extracting` has put into the child's parameters."""
    return Cut(ExtractInput.model_validate(request), _plans.validate_python(plan))


def extracting(cut: Cut, force: bool) -> Child:
    """The extractor's own shape, and the plan: probed again, a source that was replaced meanwhile,
    or seen without the clip's others, would give this segment another form than its neighbours.
    """
    asked = cut.request
    keys = ClipKeys(asked.tenant_id, asked.episode_id, asked.clip_id)
    return Child(
        deployment=EXTRACT,
        name=f"{asked.clip_id} {cut.label}",
        record=keys,
        part=f"segment-{asked.index}-{cut.plan.fingerprint}{_asked_by(force)}",
        once=force,
        parameters={
            **asked.model_dump(mode="json", by_alias=False, exclude={"segment"}),
            "segment": asked.segment.model_dump(mode="json", exclude_none=True),
            "plan": _plans.dump_python(cut.plan, mode="json"),
            "force": force,
        },
    )


def _rendering(asked: Render, force: bool) -> Child:
    config, moment = asked.config.model_dump(mode="json"), asked.moment.model_dump(mode="json")
    return Child(
        deployment=RENDER,
        name=f"{asked.keys.video_id} {asked.label}",
        record=asked.keys,
        part=f"short-{asked.number}-{fingerprint([config, moment])}{_asked_by(force)}",
        once=force,
        parameters={
            "user_id": asked.keys.user_id,
            "video_id": asked.keys.video_id,
            "config": config,
            "number": asked.number,
            "moment": moment,
            "force": force,
        },
    )


def _asked_by(force: bool) -> str:
    """What is made again is made once for each run that forces it, however often that starts."""
    return f"-forced-by-{runtime.flow_run.get_id()}" if force else ""
