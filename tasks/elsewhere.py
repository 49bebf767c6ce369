"""The steps that may be done on another machine, each waited for as if it were done here."""

from typing import Any

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from pydantic import TypeAdapter

from clipflow.domain.clips import ExtractInput, ExtractOutput
from clipflow.domain.errors import ClipflowError, MachineLostError, MediaInterruptedError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short
from clipflow.jobs.clips import Cut, extract
from clipflow.jobs.render import Render
from clipflow.jobs.segment import SegmentPlan, fingerprint, is_made_from
from clipflow.jobs.shorts import read_moments
from clipflow.storage.objects import object_store, shorts_store
from tasks.child_runs import Child, finish
from tasks.retries import CHILD, MEDIA

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
    return extract(cut, objects, threads=1)


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
