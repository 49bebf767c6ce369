"""A run's tags, artifacts and progress bars in the Prefect UI, and its results page.

A failure to publish any of these is logged and never fails the run. An artifact waits for Prefect
while it is away, so a flow creates it when its record is complete.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from fractions import Fraction
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

from clipflow.domain.clips import ClipRequest, ClipResult, Segment, in_play_order
from clipflow.domain.errors import ClipflowError, Failure, bounded_message
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.media.window import Span
from clipflow.results import publish
from clipflow.results.pages import clock, size
from clipflow.results.publish import contact_sheet
from clipflow.settings import this_machine
from clipflow.storage.objects import ObjectHead, ObjectStore, link, object_store, shorts_store
from clipflow.telemetry.progress import reporting_to
from tasks.flow_runs import tags_of, this_run
from tasks.retries import RECORDS

# HEAD requests in parallel.
_HEAD_REQUESTS = 8
# Seconds before a progress bar is shown, and at least and at most between two updates. Longer work
# is updated after another quarter of its time: each update is a request to Prefect's server.
_FIRST_SECONDS = 2.0
_UPDATE_SECONDS, _LONGEST_PAUSE = 1.0, 15.0
_UPDATE_SHARE = 0.25
# Seconds that a step waits at its end for the last update of its bar. A slower one comes later.
_LAST_UPDATE_SECONDS = 2.0
_NOT_IN_A_KEY = re.compile(r"[^a-z0-9]+")
Posters = Mapping[str, str]


def identify_run(keys: RecordKeys, name: str) -> None:
    """Sets the run's name and adds its record's tags, which it lacks if it was started by hand.

    Prefect's `flow_run_name` would set the name of every run once more.
    """
    run = this_run()
    missing = [tag for tag in tags_of(keys) if tag not in run.tags]
    if missing or run.name != name:
        with _warn_on_error("its record"), get_client(sync_client=True) as client:
            client.update_flow_run(run.id, name=name, tags=[*run.tags, *missing])
        run.name = name


def failure_of(error: Exception) -> Failure:
    """The failure to record for `error`. Unexpected errors are logged with their traceback."""
    if not isinstance(error, ClipflowError):
        get_run_logger().exception("Unexpected error, a defect in clipflow:")
    return Failure.of(error)


def publish_clip_page(keys: ClipKeys, clip: ClipRequest, made: ClipResult) -> Posters:
    """Stores the clip's results page; returns its posters, as data URIs by object key."""
    return _posters(keys.page, put_clip_page(keys, clip, made, return_state=True))


def publish_shorts_page(keys: ShortsKeys, shorts: Sequence[Short]) -> Posters:
    """Stores the shorts' results page, with failed ones; returns its posters."""
    return _posters(keys.page, put_shorts_page(keys, shorts, return_state=True))


@task(name="put-clip-page", task_run_name="results page", **RECORDS)
def put_clip_page(keys: ClipKeys, clip: ClipRequest, made: ClipResult) -> dict[str, str]:
    """Stores the clip's results page; returns its posters as data URIs by object key."""
    return publish.put_clip_page(keys, clip.segments or [], made, object_store(), this_machine())


@task(name="put-shorts-page", task_run_name="results page", **RECORDS)
def put_shorts_page(keys: ShortsKeys, shorts: Sequence[Short]) -> dict[str, str]:
    """Stores the shorts' results page; returns its posters as data URIs by object key."""
    return publish.put_shorts_page(keys, shorts, shorts_store(), this_machine())


def _posters(key: str, state: State[dict[str, str]]) -> dict[str, str]:
    """The posters from the task that stored the page; none, with a warning, if it failed."""
    posters = state.result(raise_on_failure=False)
    if isinstance(posters, dict):
        return posters
    get_run_logger().warning("%s could not be stored: %s", key, Failure.of(posters).message)
    return {}


def publish_clip_artifacts(
    keys: ClipKeys, clip: ClipRequest, made: ClipResult, posters: Posters
) -> None:
    """Create a table of the clip's segments, and its poster if there is one."""
    with _warn_on_error("the clip"):
        objects, segments = object_store(), clip.segments or []
        address = partial(link, objects)
        heads = _heads([keys.segment(index) for index in range(len(segments))], objects)
        create_table_artifact(
            clip_rows(keys, segments, heads, address),
            key=_key(keys.label),
            description=clip_summary(keys, made, address),
        )
        if poster := posters.get(made.s3_key):
            create_image_artifact(
                poster, key=_key(f"poster {keys.label}"), description=f"How {keys.label} begins"
            )


def publish_shorts_artifacts(keys: ShortsKeys, shorts: Sequence[Short], posters: Posters) -> None:
    """Create a table of the shorts, and a contact sheet of their posters if there are any."""
    with _warn_on_error("the shorts"):
        address = partial(link, shorts_store())
        create_table_artifact(
            short_rows(shorts, address),
            key=_key(f"shorts {keys.video_id}"),
            description=shorts_summary(keys, shorts, address),
        )
        made = [posters[short.s3_key] for short in shorts if short.s3_key in posters]
        if made:
            create_image_artifact(
                contact_sheet(made),
                key=_key(f"posters {keys.video_id}"),
                description=f"How the shorts of {keys.video_id} begin, best first",
            )


def publish_started_clips(tenant_id: str, episode_id: str, runs: Mapping[str, UUID]) -> None:
    """Create a table of the clips that were started, each with a link to its run."""
    with _warn_on_error("the started clips"):
        create_table_artifact(
            # A path of the UI, which holds wherever the UI is opened.
            [
                {"Clip": escape_markdown(clip), "Run": f"[open](/runs/flow-run/{run})"}
                for clip, run in runs.items()
            ],
            key=_key(f"clips {episode_id}"),
            description=f"**{len(runs)} clips started** of {escape_markdown(episode_id)}, "
            f"for {escape_markdown(tenant_id)}",
        )


def _heads(keys: Sequence[str], objects: ObjectStore) -> dict[str, ObjectHead]:
    """The heads of those objects that exist, by key."""
    with ThreadPoolExecutor(_HEAD_REQUESTS) as pool:
        return {head.key: head for head in pool.map(objects.head, keys) if head}


def _key(name: str) -> str:
    """`name` as an artifact key: Prefect allows lowercase letters, digits and dashes."""
    return _NOT_IN_A_KEY.sub("-", name.lower()).strip("-")


@contextmanager
def _warn_on_error(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the work is already done
        get_run_logger().warning("The run's page does not show %s: %s", what, _log_text(error))


class ProgressBar:
    """The progress artifact of a step: a percentage that only increases, and a description.

    The step sets both from its threads. Another thread sends them to the Prefect server, so the
    step does not wait for a slow server.
    """

    def __init__(self, key: str, description: str) -> None:
        self._key, self._description = key, description
        self._percent = 0.0
        self._sent: tuple[float, str] | None = None
        self._artifact: UUID | None = None
        self._ended = Event()

    def update(self, fraction: float, description: str = "") -> None:
        """Sets the fraction that is done, from 0 to 1. Thread-safe; never blocks."""
        self._percent = max(self._percent, round(100 * fraction, 1))
        self._description = description or self._description

    def end(self, *, done: bool) -> None:
        """Ends the updates, at 100 % if the work is done."""
        self._percent = 100.0 if done else self._percent
        self._ended.set()

    def run(self) -> None:
        """Updates the artifact until `end`. Work of less than two seconds gets no artifact."""
        began, wait = time.monotonic(), _FIRST_SECONDS
        try:
            while not self._ended.wait(wait):
                self._put()
                longer = _UPDATE_SHARE * (time.monotonic() - began)
                wait = min(_LONGEST_PAUSE, max(_UPDATE_SECONDS, longer))
            if self._artifact:
                self._put()
        except Exception as error:  # noqa: BLE001 - the work must not fail because of its progress bar
            get_run_logger().warning(
                "The progress of %s is not shown: %s", self._key, _log_text(error)
            )

    def _put(self) -> None:
        now = self._percent, self._description
        if now == self._sent:
            return
        if self._artifact is None:
            # Annotated for sync and async use alike; outside an event loop it returns the id.
            self._artifact = cast(UUID, create_progress_artifact(now[0], self._key, now[1]))
        else:
            update_progress_artifact(self._artifact, now[0], now[1])
        self._sent = now


@contextmanager
def progress_bar(key: str, description: str) -> Iterator[ProgressBar]:
    """A context in which clipflow's progress is shown as the artifact `key` of this task run."""
    bar = ProgressBar(key, description)
    # Prefect finds the artifact's task run in the context, of which the thread gets a copy.
    thread = Thread(target=copy_context().run, args=(bar.run,), name="progress", daemon=True)
    thread.start()
    done = False
    try:
        with reporting_to(bar.update):
            yield bar
        done = True
    finally:
        bar.end(done=done)
        thread.join(_LAST_UPDATE_SECONDS)


@contextmanager
def count_bar(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A progress bar that counts, such as `3 of 12 segments`; yields a function that adds one."""
    with progress_bar(what, f"0 of {total} {what}") as bar:
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1
            bar.update(count / total, f"{count} of {total} {what}")

        yield advance


def _log_text(error: Exception) -> str:
    return bounded_message(f"{type(error).__name__}: {error}")


# Returns the URL of an object, given its key.
Link = Callable[[str], str]
Row = dict[str, str | int | float]

# Characters that are markup in Markdown or HTML. Prefect's UI renders every cell as Markdown,
# including links with `javascript:`.
_MARKUP = re.compile(r"[\\`*_\[\]<>&#~|!]|^[-+=]")


def clip_rows(
    keys: ClipKeys, segments: Sequence[Segment], heads: Mapping[str, ObjectHead], link: Link
) -> list[Row]:
    """A row for each of a clip's segments, in play order.

    A segment that is not in `heads` has only its times, since the segments of a finished clip are
    deleted after a while.
    """
    rows: list[Row] = []
    for index, segment in enumerate(in_play_order(list(segments))):
        head = heads.get(keys.segment(index))
        rows.append(
            {
                "Segment": index,
                "Link": f"[open]({link(head.key)})" if head else "",
                "Speaker": escape_markdown(segment.speaker or ""),
                "Times": str(Span(segment.start_time, segment.end_time)),
                "Seconds": round(float(segment.end_time - segment.start_time), 2),
                "Cut": escape_markdown(head.metadata.get("cut-way", "")) if head else "",
                "Size": size(head.size) if head else "",
                "State": "made" if head else "no longer kept",
            }
        )
    return rows


def short_rows(shorts: Sequence[Short], link: Link) -> list[Row]:
    """A row for each short, best first; a failed one has its error."""
    return [
        {
            "Short": short.index,
            "Link": f"[open]({link(short.s3_key)})" if short.is_made else "",
            "Title": escape_markdown(short.title),
            "Score": short.score,
            "Times": str(Span(short.start, short.end)),
            "Size": size(short.file_size) if short.file_size is not None else "",
            "State": _state(short),
        }
        for short in shorts
    ]


def _state(short: Short) -> str:
    if short.code:
        return escape_markdown(f"failed: {short.error}")
    return "made" if short.is_made else "refused"


def clip_summary(keys: ClipKeys, made: ClipResult, link: Link) -> str:
    """One line on the clip, with links to it and to its page."""
    facts = [made.duration, made.resolution, size(made.file_size)]
    title = f"**Clip {escape_markdown(keys.clip_id)}** of {escape_markdown(keys.episode_id)}"
    return " · ".join([title, *facts, *_links(keys.page, made.s3_key, link)])


def shorts_summary(keys: ShortsKeys, shorts: Sequence[Short], link: Link) -> str:
    """One line on the shorts, with a link to their page."""
    made = [short for short in shorts if short.is_made]
    lasting = sum((short.end - short.start for short in made), Fraction(0))
    title = f"**{len(made)} of {len(shorts)} shorts** of {escape_markdown(keys.video_id)}"
    return " · ".join([title, f"{clock(lasting)} in all", *_links(keys.page, "", link)])


def escape_markdown(value: str) -> str:
    """`value` in one line, with Markdown's markup escaped."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(value.split()))


def _links(page: str, video: str, link: Link) -> list[str]:
    watch = [f"[watch it]({link(video)})"] if video else []
    return [*watch, f"[results page]({link(page)})"]
