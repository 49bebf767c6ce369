"""What a person sees on the page of a run: whose it is, what came out, and how that looks.

No run fails for want of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.artifacts import create_image_artifact, create_table_artifact

from clipflow.domain.clips import ClipRequest, ClipResult
from clipflow.domain.errors import ClipflowError, Failure
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.results import tables
from clipflow.results.posters import contact_sheet
from clipflow.storage.objects import ObjectHead, ObjectStore, link, object_store, shorts_store
from tasks.jobs import tags_of
from tasks.progress import told
from tasks.this_run import this_run

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
            description=tables.clip_words(keys, made, address),
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
            description=tables.shorts_words(keys, shorts, address),
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
