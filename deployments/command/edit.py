"""`clipflow edit`: shows and changes a video's edits, and makes the changed shorts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client

from clipflow.domain.edits import Edits, corrected, is_stale
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Transcript
from clipflow.jobs.edits import StoredEdits, change_edits, with_edits
from clipflow.jobs.posts import with_texts
from clipflow.jobs.shorts import read_moments
from clipflow.jobs.tighten import still_restored
from clipflow.jobs.transcription import read_transcript
from clipflow.storage.objects import ObjectStore, shorts_store
from deployments.command.changes import Changes
from deployments.command.files import OutputManifest
from deployments.command.output import Output
from deployments.command.prefect_api import find_job
from deployments.command.shorts import run_shorts


def edit_shorts(job: str, changes: Changes, out: Path | None, output: Output) -> None:
    """Changes the edits of a video, prints its shorts, and with a folder `out` makes them again.

    Raises InvalidInputError if there is no such video, or a change is not valid.
    """
    keys, objects = find_video(job), shorts_store()
    moments, transcript = moments_and_transcript(keys, objects)
    words = transcript.words
    stored = change_edits(keys, objects, lambda now: changes.apply(now, moments, words))
    output.document |= {"job": "edit", "name": keys.video_id, "etag": stored.etag}
    _print(stored, moments, transcript, keys, output)
    if out:
        page = OutputManifest(out, keys).page()
        run_shorts(keys, page.stem if page else keys.video_id, out, False, output)
    else:
        output.line(f"`clipflow edit {keys.video_id} --render` makes the changed shorts.")


def find_video(name_or_id: str) -> ShortsKeys:
    """The keys of a job's video. Raises InvalidInputError if there is no such job of shorts."""
    with get_client(sync_client=True) as client:
        job = find_job(client, name_or_id)
    if not isinstance(job.keys, ShortsKeys):
        raise InvalidInputError(f"{name_or_id} is a clip.", "Only the shorts of videos are edited.")
    return job.keys


def moments_and_transcript(
    keys: ShortsKeys, objects: ObjectStore
) -> tuple[list[Moment], Transcript]:
    """The video's moments, as chosen, and its transcript, as recognised. Raises
    InvalidInputError if moments were not chosen yet."""
    if objects.head(keys.moments) is None:
        raise InvalidInputError(
            f"{keys.label} has no shorts to edit yet.", "See its progress in `clipflow status`."
        )
    return read_moments(keys, objects), read_transcript(keys, objects)


def stale_edits(edits: Edits, transcript: Transcript) -> list[str]:
    """The fields of the edits that are for another transcript, and are not applied."""
    words = [f"words.{number}" for number in corrected(transcript, edits).stale]
    spans = [
        f"shorts.{id}.span"
        for id, edit in edits.shorts.items()
        if edit.span and is_stale(edit.span, transcript.words)
    ]
    restored = [
        f"shorts.{id}.restored.{removal}"
        for id, edit in edits.shorts.items()
        for removal in edit.restored.keys() - still_restored(edit.restored, transcript.words)
    ]
    return words + spans + sorted(restored)


def _print(
    stored: StoredEdits,
    chosen: Sequence[Moment],
    transcript: Transcript,
    keys: ShortsKeys,
    output: Output,
) -> None:
    edited = with_edits(chosen, stored.edits, transcript.words, keys.edits)
    moments = with_texts(edited, stored.edits, transcript)
    stale = stale_edits(stored.edits, transcript)
    output.document |= {
        "edits": stored.edits.document(),
        "moments": [_to_document(moment) for moment in moments],
        "stale": stale,
    }
    rows = [
        (str(m["index"]), f"{m['start']} – {m['end']}", m["decision"] or "", m["title"])
        for m in output.document["moments"]
    ]
    output.table(("short", "moment", "decision", "title"), rows)
    for field in stale:
        output.line(f"{field} is for another transcript, and is not applied.", "yellow")


def _to_document(moment: Moment) -> dict[str, Any]:
    names = ("id", "index", "start", "end", "title", "hook", "description", "hashtags", "decision")
    values = moment.model_dump(mode="json")
    return {name: values[name] for name in names}
