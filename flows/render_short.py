"""The flows that cut one or several moments of a video and render their shorts, usually on
another machine."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import Identifier
from clipflow.domain.shorts import children_failure
from clipflow.machine import cores
from clipflow.settings import settings
from tasks.child_requests import render_of_child
from tasks.fan_out import local_concurrency, render_here
from tasks.flow_runs import NO_RESULTS
from tasks.recovery import cancel_if_orphaned
from tasks.shorts import render_short as render


@flow(name="render-short", **NO_RESULTS)
def render_short(
    user_id: Identifier,
    video_id: Identifier,
    config: dict[str, Any],
    number: Annotated[int, Field(ge=1)],
    moment: dict[str, Any],
    force: bool = False,
    views: list[dict[str, Any]] | None = None,
    restored: dict[str, str] | None = None,
) -> None:
    """Cut one of a video's moments, render short `number` from it, and store both.

    Args:
        user_id: The user: the folder above the video's.
        video_id: The video: the folder of its `original.mp4`.
        config: The config, as in the video's `shorts_config.json`.
        number: The short's number, from 1, best first.
        moment: The moment: `start`, `end`, `score`, `why` and `title`.
        force: Make the short again even if one from the same inputs exists.
        views: The user's own framing: `start`, `end`, and `person` or `place`.
        restored: What tightening leaves in, by its id, each with its word.
    """
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    request = render_of_child(keys, config, number, moment, views or [], restored or {})
    with cancel_if_orphaned(keys):
        render(request, cores(), force)


@flow(
    name="render-shorts",
    task_runner=ThreadPoolTaskRunner(max_workers=local_concurrency()),  # type: ignore[arg-type]
    **NO_RESULTS,
)
def render_shorts(
    user_id: Identifier, video_id: Identifier, renders: list[dict[str, Any]], force: bool = False
) -> State[Any]:
    """Cut several of a video's moments, render their shorts, and store all of them.

    A short that fails does not stop the others.

    Args:
        user_id: The user: the folder above the video's.
        video_id: The video: the folder of its `original.mp4`.
        renders: For each short its `config`, `number`, `moment`, `views` and `restored`, as for
            `render-short`.
        force: Make the shorts again even if those from the same inputs exist.
    """
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    requests = [render_of_child(keys, **render) for render in renders]
    with cancel_if_orphaned(keys):
        failure = children_failure(render_here(requests, force=force))
    return Failed(message=failure.message) if failure else Completed()
