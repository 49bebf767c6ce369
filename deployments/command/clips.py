"""`clipflow clips`: requests clips by an event, as any detector would, and downloads them."""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3

from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.errors import InvalidInputError, StorageUnavailableError
from clipflow.domain.events import put_events_entry
from clipflow.domain.keys import ClipKeys, main_track_candidates
from clipflow.domain.timecode import format_timecode, parse_timecode
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.aws import storage_errors
from clipflow.storage.objects import object_store
from clipflow.storage.records import record_store
from deployments.command.files import (
    LOCAL,
    Results,
    belongings,
    fetch,
    identifier,
    near,
    plain_name,
    put_once,
    read_record,
)
from deployments.command.follow import AskedByEvent, follow
from deployments.command.output import Answer, Exit
from deployments.command.prefect_api import Job

Cut = tuple[Fraction, Fraction]

_NAMED_CUTS = 60


def parse_cut(text: str) -> Cut:
    """`START-END`, each a time, in seconds. Raises ValueError saying what is wrong with it."""
    start, dash, end = text.replace("–", "-").partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not START-END: write 00:01:00-00:01:30")
    span = parse_timecode(start), parse_timecode(end)
    if span[0] >= span[1]:
        raise ValueError(f"{text!r} ends before it starts")
    return span


def clip_id_of(path: Path, cuts: Sequence[Cut]) -> str:
    """A name that tells the file and the times: other times are another clip."""
    times = "_".join("-".join(map(_seconds, cut)) for cut in cuts)
    if len(times) > _NAMED_CUTS:
        times = f"{len(cuts)}-cuts-{sha256(times.encode()).hexdigest()[:8]}"
    return f"{plain_name(path.stem)}-{times}".lstrip("-")


def _seconds(time: Fraction) -> str:
    return f"{float(time):.3f}".rstrip("0").rstrip(".")


# As a segment's end may be past the end of its source (clipflow.jobs.clips clamps it).
_TOLERANCE = 1


def request_of(path: Path, cuts: Sequence[Cut], name: str | None) -> BeginClipGeneration:
    """One clip of a person's file, made of `cuts` in the order given.

    Raises MediaRefusedError where the file is no video, InvalidInputError for a cut past its end or
    a name that is none.
    """
    known = probe_source(LocalSource(path))
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


def clips_of_file(
    path: Path, cuts: Sequence[Cut], name: str | None, out: Path | None, answer: Answer
) -> None:
    """One clip of a person's file. `out` is where it goes; None leaves it in the bucket."""
    request = request_of(path, cuts, name)
    with answer.busy(f"Uploading {path.name} as episode {request.episode_id}"):
        put_track(path, request.episode_id)
    _make(request, out, answer)


def clips_of_episode(tenant_id: str, episode_id: str, out: Path | None, answer: Answer) -> None:
    """Every clip of an episode that is due; that there is none is no failure."""
    _make(due_request(tenant_id, episode_id), out, answer)


def _make(request: BeginClipGeneration, out: Path | None, answer: Answer) -> None:
    tenant, episode, prefix = request.tenant_id, request.episode_id, settings().key_prefix
    clips = [ClipKeys(tenant, episode, clip.clip_id, prefix) for clip in request.clips or []]
    answer.document |= {"job": "clips", "tenantId": tenant, "episodeId": episode, "clips": []}
    if not clips:
        answer.say(f"Episode {episode} has no clip to make.")
        return
    if out:
        for keys in clips:
            belongings(keys, out).check([f"{keys.clip_id}.mp4", f"{keys.clip_id}.html"])

    def start() -> AskedByEvent:
        answer.document["eventId"] = event_id = put_event(request)
        return AskedByEvent(event_id, clips)

    runs = follow(start, answer)
    told = [_told(Job(runs[keys.clip_id], keys), out) for keys in clips]
    answer.document["clips"] = told
    _show(told, answer)


def _told(job: Job, out: Path | None) -> dict[str, Any]:
    """What became of a clip, for a program; brought to `out`, where it is made."""
    record = read_record(job.keys)
    failure = job.failure(record)
    results = Results([], None) if failure or not out else fetch(job.keys, out, job.name)
    names = ("s3Key", "duration", "resolution", "fileSize")
    return {
        "clipId": job.name,
        "runId": str(job.run.id),
        "state": job.state,
        "file": next((str(file) for file, _ in results.made), None),
        "page": str(results.page) if results.page else None,
        **{name: None if failure else record.get(name) for name in names},
        "failure": failure or None,
    }


def _show(told: Sequence[dict[str, Any]], answer: Answer) -> None:
    made = [clip for clip in told if not clip["failure"]]
    if made:
        rows = [
            (
                near(c["file"]) if c["file"] else c["s3Key"],
                c["duration"],
                c["resolution"],
                f"{c['fileSize'] / 1e6:.1f} MB",
            )
            for c in made
        ]
        answer.table(("file", "length", "picture", "size"), rows)
    for clip in made:
        if clip["page"]:
            answer.say(f"See it: {near(clip['page'])}")
    for clip in told:
        if clip["failure"]:
            answer.fail(Exit.FAILED, f"{clip['clipId']}: {clip['failure']}")
