"""What a person sees on the page of a run: whose it is, what came out, and how that looks.

No run fails for want of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import Event, Thread
from typing import cast
from uuid import UUID

from prefect import get_client, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State

from clipflow.domain.clips import ClipRequest, ClipResult
from clipflow.domain.errors import ClipflowError, Failure, bounded_message
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.results import publish, tables
from clipflow.results.posters import contact_sheet
from clipflow.settings import this_machine
from clipflow.storage.objects import ObjectHead, ObjectStore, link, object_store, shorts_store
from clipflow.telemetry.progress import reporting_to
from tasks.flow_runs import tags_of, this_run
from tasks.retries import RECORDS

# Objects that are looked up at once.
_LOOKS = 8
_NOT_IN_A_KEY = re.compile(r"[^a-z0-9]+")
Posters = Mapping[str, str]


def tag_run(keys: RecordKeys) -> None:
    """The run carries what its record is found by, also where a person started it."""
    run = this_run()
    missing = [tag for tag in tags_of(keys) if tag not in run.tags]
    if missing:
        with _or_warned("what it is for"), get_client(sync_client=True) as client:
            client.update_flow_run(run.id, tags=[*run.tags, *missing])


def failure_of(error: Exception) -> Failure:
    """What the run's page and its record say of `error`; all of it is logged if it is a defect."""
    if not isinstance(error, ClipflowError):
        get_run_logger().exception("A defect in clipflow:")
    return Failure.of(error)


def tell_of_clip(keys: ClipKeys, clip: ClipRequest, made: ClipResult, posters: Posters) -> None:
    """A table of the clip's segments, and the clip's poster where one was made."""
    with _or_warned("what came out"):
        objects, segments = object_store(), clip.segments or []
        address = partial(link, objects)
        heads = _heads([keys.segment(index) for index in range(len(segments))], objects)
        create_table_artifact(
            tables.clip_rows(keys, segments, heads, address),
            key=_key(keys.label),
            description=tables.clip_summary(keys, made, address),
        )
        if poster := posters.get(made.s3_key):
            create_image_artifact(
                poster, key=_key(f"poster {keys.label}"), description=f"How {keys.label} begins"
            )


def tell_of_shorts(keys: ShortsKeys, shorts: Sequence[Short], posters: Posters) -> None:
    """A table of the shorts, and a contact sheet of their posters where they were made."""
    with _or_warned("what came out"):
        address = partial(link, shorts_store())
        create_table_artifact(
            tables.short_rows(shorts, address),
            key=_key(f"shorts {keys.video_id}"),
            description=tables.shorts_summary(keys, shorts, address),
        )
        seen = [posters[short.s3_key] for short in shorts if short.s3_key in posters]
        if seen:
            create_image_artifact(
                contact_sheet(seen),
                key=_key(f"posters {keys.video_id}"),
                description=f"How the shorts of {keys.video_id} begin, best first",
            )


def tell_of_started(tenant_id: str, episode_id: str, runs: Mapping[str, UUID]) -> None:
    """A table of the clips that were started, each with its run."""
    with _or_warned("what was started"):
        create_table_artifact(
            # By its place in the UI, wherever that is opened.
            [
                {"Clip": tables.text(clip), "Run": f"[open](/runs/flow-run/{run})"}
                for clip, run in runs.items()
            ],
            key=_key(f"clips {episode_id}"),
            description=f"**{len(runs)} clips started** of {tables.text(episode_id)}, "
            f"for {tables.text(tenant_id)}",
        )


def _heads(keys: Sequence[str], objects: ObjectStore) -> dict[str, ObjectHead]:
    """Of those objects that are there."""
    with ThreadPoolExecutor(_LOOKS) as pool:
        return {head.key: head for head in pool.map(objects.head, keys) if head}


def _key(name: str) -> str:
    """`name` as Prefect allows it."""
    return _NOT_IN_A_KEY.sub("-", name.lower()).strip("-")


@contextmanager
def _or_warned(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the work is done all the same
        get_run_logger().warning("The run's page does not show %s: %s", what, told(error))


# Seconds between two updates, and until the first.
_EVERY = 1.0
# Seconds that the work waits at its end for the last update; one that takes longer comes after.
_LAST_WORD = 2.0


class Bar:
    """What a step's progress artifact shows: percent, and words beside it. Both only grow."""

    def __init__(self, key: str, words: str) -> None:
        self._key, self._words = key, words
        self._percent = 0.0
        self._shown: tuple[float, str] | None = None
        self._artifact: UUID | None = None
        self._over, self._done = Event(), False

    def tell(self, fraction: float, words: str = "") -> None:
        """So much is done, from 0 to 1. From any thread; it takes no time."""
        self._percent = max(self._percent, round(100 * fraction, 1))
        self._words = words or self._words

    def end(self, *, done: bool) -> None:
        """Nothing more will be told; the bar is full if the work is done, and stands else."""
        self._percent = 100.0 if done else self._percent
        self._over.set()

    def show(self) -> None:
        """Keeps the artifact as it should be, until the end."""
        try:
            while not self._over.wait(_EVERY):
                self._put()
            if self._artifact:
                self._put()
        except Exception as error:  # noqa: BLE001 - whatever it is, no work fails for want of a bar
            get_run_logger().warning("The progress of %s is not shown: %s", self._key, told(error))

    def _put(self) -> None:
        now = self._percent, self._words
        if now == self._shown:
            return
        if self._artifact is None:
            # Its type is that of both its uses; outside an event loop it gives the id itself.
            self._artifact = cast(UUID, create_progress_artifact(now[0], self._key, now[1]))
        else:
            update_progress_artifact(self._artifact, now[0], now[1])
        self._shown = now


@contextmanager
def shown(key: str, words: str) -> Iterator[Bar]:
    """Within it, what the craft reports is shown as the artifact `key`, with `words` beside it."""
    bar = Bar(key, words)
    # In a copy of this context, by which Prefect knows whose artifact it is.
    thread = Thread(target=copy_context().run, args=(bar.show,), name="progress", daemon=True)
    thread.start()
    done = False
    try:
        with reporting_to(bar.tell):
            yield bar
        done = True
    finally:
        bar.end(done=done)
        thread.join(_LAST_WORD)


@contextmanager
def counted(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Within it, each call of what it gives is one more done: `3 of 12 segments`."""
    with shown(what, f"0 of {total} {what}") as bar:
        count = 0

        def one_more() -> None:
            nonlocal count
            count += 1
            bar.tell(count / total, f"{count} of {total} {what}")

        yield one_more


def told(error: Exception) -> str:
    """For a line of a log."""
    return bounded_message(f"{type(error).__name__}: {error}")


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
    return publish.put_clip_page(keys, clip.segments or [], made, object_store(), this_machine())


@task(name="put-shorts-page", task_run_name="results page", **RECORDS)
def put_shorts_page(keys: ShortsKeys, shorts: Sequence[Short]) -> dict[str, str]:
    """The page of the shorts, under its key; the posters that were made for it."""
    return publish.put_shorts_page(keys, shorts, shorts_store(), this_machine())


def _posters(key: str, state: State[dict[str, str]]) -> dict[str, str]:
    """Those made for the page; a warning, and none, where it could not be put."""
    posters = state.result(raise_on_failure=False)
    if isinstance(posters, dict):
        return posters
    get_run_logger().warning("%s was not put: %s", key, Failure.of(posters).message)
    return {}
