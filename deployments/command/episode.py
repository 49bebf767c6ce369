"""An episode whose clips are asked for: a person's file, or one that is there already."""

from collections.abc import Sequence
from pathlib import Path

import boto3

from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.errors import InvalidInputError, StorageUnavailableError
from clipflow.domain.events import put_events_entry
from clipflow.domain.keys import main_track_candidates
from clipflow.domain.timecode import format_timecode
from clipflow.media.probe import probe
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.aws import storage_errors
from clipflow.storage.objects import object_store
from clipflow.storage.records import record_store
from deployments.command.cuts import Cut, clip_id_of
from deployments.command.upload import LOCAL, identifier, put_once

# As a segment's end may be past the end of its source (clipflow.jobs.clips clamps it).
_TOLERANCE = 1


def request_of(path: Path, cuts: Sequence[Cut], name: str | None) -> BeginClipGeneration:
    """One clip of a person's file, made of `cuts` in the order given.

    Raises MediaRefusedError where the file is no video, InvalidInputError for a cut past its end or
    a name that is none.
    """
    known = probe(LocalSource(path))
    for start, end in cuts:
        if known.duration is not None and end > known.duration + _TOLERANCE:
            raise InvalidInputError(
                f"The cut {format_timecode(start)}-{format_timecode(end)} is past the end of "
                f"{path.name}, which is {format_timecode(known.duration)} long.",
                "Choose times within it.",
            )
    segments = [
        {"startTime": format_timecode(start), "endTime": format_timecode(end)}
        for start, end in cuts
    ]
    clip = {"clipId": name or clip_id_of(path, cuts), "segments": segments}
    asked = {"tenantId": LOCAL, "episodeId": identifier(path), "clips": [clip]}
    return BeginClipGeneration.read(asked, "the clip asked for")


def put_track(path: Path, episode_id: str) -> None:
    """The file as the main track of an episode of this person's, unless it is there."""
    key = main_track_candidates(LOCAL, episode_id, settings().key_prefix)[0]
    put_once(object_store(), path, key)


def due_request(tenant_id: str, episode_id: str) -> BeginClipGeneration:
    """The episode's clips that are due, by name. Raises InvalidInputError for ids that are none."""
    asked = {"tenantId": tenant_id, "episodeId": episode_id}
    request = BeginClipGeneration.read(asked, "the episode asked for")
    due = record_store().due_clips(tenant_id, episode_id)
    return request.model_copy(update={"clips": [ClipRequest(clip_id=clip) for clip in due]})


def put_event(request: BeginClipGeneration) -> str:
    """The id of the event that now asks for it; StorageUnavailableError where EventBridge refuses
    it."""
    events = boto3.client(
        "events",
        region_name=settings().aws_region,
        endpoint_url=settings().aws_endpoint_url,
    )
    with storage_errors("putting the event"):
        answer = events.put_events(Entries=[put_events_entry(request)])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        [refused] = answer["Entries"]
        raise StorageUnavailableError(
            f"EventBridge refuses the event: {refused.get('ErrorMessage')}."
        )
    return answer["Entries"][0]["EventId"]
