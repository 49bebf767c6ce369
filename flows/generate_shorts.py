"""The flow that makes the shorts of a long video: ReadConfig, PrepareVideo, RenderShorts."""

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import Identifier
from clipflow.domain.shorts import FailedState, ShortsResult, children_failure, result_message
from clipflow.jobs.shorts import ineffective
from clipflow.settings import limits, models, settings
from flows.prepare_video import prepare_video
from tasks.fan_out import prepare, render_all, run_concurrency
from tasks.flow_runs import GENERATE_SHORTS, NO_RESULTS
from tasks.records import set_complete, set_failed, set_in_progress
from tasks.recovery import STATE_HOOKS, stop_if_ended
from tasks.run_page import (
    failure_of,
    identify_run,
    publish_shorts_artifacts,
    publish_shorts_page,
)
from tasks.shorts import (
    apply_edits,
    make_thumbnail,
    put_posts,
    read_config,
    read_edits,
    write_texts,
)


@flow(
    name=GENERATE_SHORTS,
    task_runner=ThreadPoolTaskRunner(max_workers=run_concurrency()),  # type: ignore[arg-type]
    timeout_seconds=limits().run_deadline_seconds,
    **NO_RESULTS,
    **STATE_HOOKS,
)
def generate_shorts(user_id: Identifier, video_id: Identifier, force: bool = False) -> State[Any]:
    """Make captioned vertical shorts of a long video's best moments, and update its record.

    Outputs that exist with the same inputs are not made again, unless `force` is set.

    Args:
        user_id: The user: the folder above the video's.
        video_id: The video: the folder of its `original.mp4` and `shorts_config.json`.
        force: Make everything again even if results from the same inputs exist.
    """
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    identify_run(keys, video_id)
    run_id = str(runtime.flow_run.get_id())
    claim = set_in_progress(keys, run_id, {})
    if not claim.granted:
        return Completed(name="AlreadyInProgress", message=f"Run {claim.owner} is making it.")

    result, state, posters = ShortsResult(), FailedState.READ_CONFIG, None
    try:
        config, edits = read_config(keys), read_edits(keys)
        result = ShortsResult(segment_count=config.segment_count)
        state = FailedState.PARENT_TASK
        with stop_if_ended():
            chosen = prepare(prepare_video, keys, force=force)
            moments = write_texts(keys, apply_edits(keys, chosen, edits), edits)
            state = FailedState.CHILD_TASKS
            shorts = render_all(keys, config, moments, edits, force=force)
        result = result.model_copy(update={"shorts": shorts})
        if any(short.is_made for short in shorts):
            make_thumbnail(keys, moments)
        put_posts(keys, shorts)
        posters = publish_shorts_page(keys, shorts)
        failure = children_failure(shorts)
        if failure is None:
            set_complete(keys, run_id, result)
    except Exception as error:  # noqa: BLE001 - any error goes to the record
        failure = failure_of(error)
    final: State[Any]
    if failure:
        set_failed(keys, run_id, failure, result.model_copy(update={"failed_state": state}))
        final = Failed(name=state, message=failure.message)
    else:
        note = ineffective(config, models())
        final = Completed(message=result_message(shorts, config.segment_count, note))
    if posters is not None:
        publish_shorts_artifacts(keys, result.shorts or [], posters)
    return final
