"""`clipflow clips`: requests clips by an EventBridge event, and downloads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3

from clipflow.domain.clips import BeginClipGeneration, ClipRequest
from clipflow.domain.errors import InvalidInputError, StorageUnavailableError
from clipflow.domain.events import put_events_entry
from clipflow.domain.keys import ClipKeys, main_track_candidates
from clipflow.domain.model import AudioTrack
from clipflow.domain.timecode import TimeSpan, format_timecode
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.aws import storage_errors
from clipflow.storage.objects import object_store
from clipflow.storage.records import record_store
from deployments.command.files import (
    LOCAL,
    OutputManifest,
    Results,
    clip_files,
    clip_id_of,
    content_id,
    download_results,
    read_record,
    relative_path,
    upload_once,
)
from deployments.command.follow import ClipsRequest, follow
from deployments.command.output import ExitCode, Output
from deployments.command.prefect_api import JobRun

# Seconds by which a cut may end past its source; clipflow.jobs.clips clamps it.
_TOLERANCE = 1


def clips_of_file(
    path: Path,
    cuts: Sequence[TimeSpan],
    name: str | None,
    audio_track: AudioTrack | None,
    out: Path | None,
    output: Output,
) -> None:
    """Makes one clip from a local file. If `out` is None, the clip stays in the bucket."""
    request = request_of_file(path, cuts, name, audio_track)
    with output.spinner(f"Uploading {path.name} as episode {request.episode_id}"):
        key = main_track_candidates(LOCAL, request.episode_id, settings().key_prefix)[0]
        upload_once(object_store(), path, key)
    _make(request, out, output)


def clips_of_episode(tenant_id: str, episode_id: str, out: Path | None, output: Output) -> None:
    """Makes every due clip of an episode. An episode without due clips is not an error."""
    _make(request_of_episode(tenant_id, episode_id), out, output)


def request_of_file(
    path: Path,
    cuts: Sequence[TimeSpan],
    name: str | None,
    audio_track: AudioTrack | None = None,
) -> BeginClipGeneration:
    """Builds the request for one clip of a local file: `cuts` in the given order, with the given
    audio track or the default one.

    Raises MediaRefusedError if the file is not a video, InvalidInputError for a cut past its end,
    an audio track that the file does not have, or an invalid name.
    """
    source = probe_source(LocalSource(path), audio_track)
    for start, end in cuts:
        if source.duration is not None and end > source.duration + _TOLERANCE:
            raise InvalidInputError(
                f"The cut {format_timecode(start)}-{format_timecode(end)} is past the end of "
                f"{path.name}, which is {format_timecode(source.duration)} long.",
                "Choose times within it.",
            )
    segments = [
        {"startTime": format_timecode(start), "endTime": format_timecode(end)}
        for start, end in cuts
    ]
    clip_id = name or clip_id_of(path, cuts, audio_track)
    clip = {"clipId": clip_id, "segments": segments, "audioTrack": audio_track}
    detail = {"tenantId": LOCAL, "episodeId": content_id(path), "clips": [clip]}
    return BeginClipGeneration.read(detail, "the requested clip")


def request_of_episode(tenant_id: str, episode_id: str) -> BeginClipGeneration:
    """Builds the request for the episode's due clips. Raises InvalidInputError for invalid ids."""
    detail = {"tenantId": tenant_id, "episodeId": episode_id}
    request = BeginClipGeneration.read(detail, "the requested episode")
    due = record_store().due_clips(tenant_id, episode_id)
    return request.model_copy(update={"clips": [ClipRequest(clip_id=clip) for clip in due]})


def put_event(request: BeginClipGeneration) -> str:
    """Sends the event of a request to EventBridge and returns the event's id. Raises
    StorageUnavailableError if EventBridge rejects it."""
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


def _make(request: BeginClipGeneration, out: Path | None, output: Output) -> None:
    tenant, episode, prefix = request.tenant_id, request.episode_id, settings().key_prefix
    clips = [ClipKeys(tenant, episode, clip.clip_id, prefix) for clip in request.clips or []]
    output.document |= {"job": "clips", "tenantId": tenant, "episodeId": episode, "clips": []}
    if not clips:
        output.line(f"Episode {episode} has no clip to make.")
        return
    if out:
        for keys in clips:
            OutputManifest(out, keys).check(clip_files(keys.clip_id))

    def start() -> ClipsRequest:
        output.document["eventId"] = event_id = put_event(request)
        return ClipsRequest(event_id, clips)

    runs = follow(start, output)
    documents = [_download(JobRun(runs[keys.clip_id], keys), out) for keys in clips]
    output.document["clips"] = documents
    _print_results(documents, output)


def _download(job: JobRun, out: Path | None) -> dict[str, Any]:
    """Downloads a finished clip to `out`; returns the clip's part of the JSON document."""
    record = read_record(job.keys)
    failure = job.failure(record)
    results = Results([], None)
    if out and not failure:
        results = download_results(job.keys, out, job.name)
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


def _print_results(clips: Sequence[dict[str, Any]], output: Output) -> None:
    made = [clip for clip in clips if not clip["failure"]]
    if made:
        rows = [
            (
                relative_path(c["file"]) if c["file"] else c["s3Key"],
                c["duration"],
                c["resolution"],
                f"{c['fileSize'] / 1e6:.1f} MB",
            )
            for c in made
        ]
        output.table(("file", "length", "picture", "size"), rows)
    for clip in made:
        if clip["page"]:
            output.line(f"Results page: {relative_path(clip['page'])}")
    for clip in clips:
        if clip["failure"]:
            output.fail(ExitCode.FAILED, f"{clip['clipId']}: {clip['failure']}")
