"""The page beside the results: a job that is made is not failed for want of it."""

from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State

from clipflow.domain.clips import ClipRequest, ClipResult
from clipflow.domain.errors import Failure
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.results import publish
from clipflow.storage.objects import object_store, shorts_store
from tasks.retries import RECORDS
from tasks.run_page import tell_of_clip, tell_of_shorts


def show_clip(keys: ClipKeys, clip: ClipRequest, made: ClipResult) -> None:
    """Put the clip's page, or warn; and tell of the clip on the run's."""
    posters = _posters(keys.page, put_clip_page(keys, clip, made, return_state=True))
    tell_of_clip(keys, clip, made, posters)


def show_shorts(keys: ShortsKeys, shorts: Sequence[Short]) -> None:
    """Put the page of the shorts, also of those that failed, or warn; and tell of them on the
    run's."""
    posters = _posters(keys.page, put_shorts_page(keys, shorts, return_state=True))
    tell_of_shorts(keys, shorts, posters)


@task(name="put-clip-page", task_run_name="results page", **RECORDS)
def put_clip_page(keys: ClipKeys, clip: ClipRequest, made: ClipResult) -> dict[str, str]:
    """The clip's page, under its key; the poster that was made for it."""
    return publish.put_clip_page(keys, clip.segments or [], made, object_store())


@task(name="put-shorts-page", task_run_name="results page", **RECORDS)
def put_shorts_page(keys: ShortsKeys, shorts: Sequence[Short]) -> dict[str, str]:
    """The page of the shorts, under its key; the posters that were made for it."""
    return publish.put_shorts_page(keys, shorts, shorts_store())


def _posters(key: str, state: State[dict[str, str]]) -> dict[str, str]:
    """Those made for the page; a warning, and none, where it could not be put."""
    posters = state.result(raise_on_failure=False)
    if isinstance(posters, dict):
        return posters
    get_run_logger().warning("%s was not put: %s", key, Failure.of(posters).message)
    return {}
