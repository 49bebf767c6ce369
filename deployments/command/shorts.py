"""`clipflow shorts`: uploads a local video, makes its shorts and downloads them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from clipflow.domain.edits import Edits, views_within
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.timecode import parse_timecode
from clipflow.jobs.edits import change_edits, config_of, overlay, read_edits
from clipflow.jobs.transcription import read_transcript
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.settings import models, settings
from clipflow.storage.objects import ObjectStore, shorts_store
from clipflow.subtitles.reading import read_subtitles
from deployments.command.files import (
    LOCAL,
    LocalBrand,
    LocalStyle,
    OutputManifest,
    Results,
    content_id,
    download_results,
    framing_file,
    read_record,
    relative_path,
    short_files,
    thumbnail_file,
    upload_once,
    whole_file,
)
from deployments.command.follow import ShortsRequest, follow, start_shorts
from deployments.command.output import ExitCode, Output
from deployments.command.prefect_api import JobRun

# The metadata of subtitles that were uploaded by --subtitles and apply to one run only.
_BY_COMMAND = {"given-to": "clipflow-shorts"}


@dataclass(frozen=True)
class Attachments:
    """What a user gives with a video: paths of files, or their content if it was checked."""

    background: Path | None = None
    subtitles: Path | None = None
    speaker_tracks: Mapping[str, int | Path] = field(default_factory=dict)
    edits: Edits | None = None
    style: LocalStyle | None = None
    brand: LocalBrand | None = None


@dataclass(frozen=True)
class LocalVideo:
    """A local video file and its keys, which are derived from its name and content."""

    path: Path
    keys: ShortsKeys
    objects: ObjectStore

    @classmethod
    def of(cls, path: Path) -> Self:
        """Creates it from a file that `check_video` has accepted."""
        keys = ShortsKeys(LOCAL, content_id(path), settings().shorts_prefix)
        return cls(path, keys, shorts_store())

    def upload(self, config: ShortsConfig, attached: Attachments) -> None:
        """Uploads the video, unless it exists, its config and its accompanying files.

        The file of edits is laid over those that are stored. Raises InvalidInputError, before
        anything is uploaded, for a file that cannot be read.
        """
        edits, subtitles = attached.edits, attached.subtitles
        if subtitles:
            read_subtitles(subtitles.read_bytes(), subtitles.name, None)
        upload_once(self.objects, self.path, self.keys.original)
        self._upload_subtitles(subtitles)
        if edits is not None:
            changes = edits.document()
            change_edits(
                self.keys, self.objects, lambda now: overlay(now, changes, self.keys.edits)
            )
        document = config.model_dump(mode="json", exclude_none=True)
        if "target_seconds" not in config.model_fields_set:
            # Otherwise it would count as requested, besides `durations`.
            document.pop("target_short_video_duration_in_seconds")
        document |= {"user_id": self.keys.user_id, "video_id": self.keys.video_id}
        if background := attached.background:
            document["background_video"] = f"{self.keys.folder}/background{background.suffix}"
            self.objects.upload(background, document["background_video"], {})
        if attached.speaker_tracks:
            document["speaker_tracks"] = {
                name: track if isinstance(track, int) else self._upload_track(track)
                for name, track in attached.speaker_tracks.items()
            }
        if style := attached.style:
            document["caption_style"] = style.upload(self.keys.folder, self.objects)
        if brand := attached.brand:
            document["brand"] = brand.upload(self.keys.folder, self.objects)
        self.objects.put_text(json.dumps(document), self.keys.config, {}, "application/json")

    def _upload_track(self, track: Path) -> str:
        # Tracks of one recording often have the same size, so the key depends on the content.
        key = f"{self.keys.folder}/speakers/{content_id(track)}{track.suffix}"
        upload_once(self.objects, track, key)
        return key

    def _upload_subtitles(self, subtitles: Path | None) -> None:
        """Uploads the given subtitles and deletes any others. Without any, deletes those that an
        earlier command has uploaded."""
        wanted = None
        if subtitles:
            # The format is detected when the file is read, so any other suffix may become SubRip's.
            suffix = subtitles.suffix.lower()
            keys = self.keys.supplied_subtitles
            wanted = next((key for key in keys if key.endswith(suffix)), self.keys.subtitles)
            self.objects.upload(subtitles, wanted, _BY_COMMAND, "text/plain")
        for key in self.keys.supplied_subtitles:
            head = self.objects.head(key) if key != wanted else None
            if head and (wanted or head.metadata.items() >= _BY_COMMAND.items()):
                self.objects.delete(key)


def make_shorts(
    path: Path,
    config: ShortsConfig,
    attached: Attachments,
    out: Path,
    force: bool,
    output: Output,
) -> Results:
    """Uploads the video, runs the job, follows it, and downloads its results, even if a part of
    the job failed."""
    video = LocalVideo.of(path)
    output.document |= {"job": "shorts", "name": video.keys.video_id}
    OutputManifest(out, video.keys).check(short_files(path, config.segment_count))
    with output.spinner(f"Uploading {path.name} as {video.keys.label}"):
        video.upload(config, attached)
    return run_shorts(video.keys, path.stem, out, force, output)


def run_shorts(keys: ShortsKeys, name: str, out: Path, force: bool, output: Output) -> Results:
    """Runs the job, follows it, and downloads its results under `name`, even if a part of the job
    failed.

    If the job is already running, that run is followed, and then another one: the first may have
    read the edits before they were changed.
    """
    started: list[UUID] = []

    def start() -> ShortsRequest:
        request = start_shorts(keys, force)
        started.append(request.run_id)
        return request

    run = follow(start, output)[keys.video_id]
    if run.id not in started:
        output.line("Another run has made the shorts. What has changed meanwhile is made now.")
        run = follow(start, output)[keys.video_id]
    job = JobRun(run, keys)
    results = download_results(keys, out, name)
    print_results(results, output)
    state = run.state
    message = state.message or "" if state else ""
    output.document |= {"runId": str(run.id), "state": job.state, "message": message}
    if job.has_failed:
        output.fail(ExitCode.FAILED, f"{job.state}: {job.failure(read_record(keys))}")
    else:
        output.line(message)
    return results


def write_debug_videos(path: Path, config: ShortsConfig, results: Results, output: Output) -> None:
    """Writes `talk-1.framing.mp4` beside each short: its source with faces and crops drawn.

    The layout and the views are those of the stored edits, as in the short itself.
    """
    # Imported here, because it imports OpenCV, which no other command needs.
    from clipflow.reframe.analysis import Film
    from clipflow.reframe.debug_video import write_debug_video

    video = LocalVideo.of(path)
    probe = probe_source(LocalSource(path))
    transcript = read_transcript(video.keys, video.objects)
    edits = read_edits(video.keys, video.objects)
    written = []
    for file, record in results.made:
        start, end = (parse_timecode(record[name]) for name in ("start", "end"))
        size = probe.width, probe.height
        span = probe.start + start, probe.start + end
        film = Film(path, size, probe.rotation, *span, probe.mirrored)
        words = transcript.within(float(start), float(end)).words
        edit = edits.shorts.get(record.get("id") or "")
        own = config_of(config, edit)
        views = views_within(edit.framing if edit else (), float(start), float(end))
        target = framing_file(file)
        with output.spinner(f"Writing {target.name}"), whole_file(target) as part:
            write_debug_video(
                film,
                part,
                own.rendered_layout,
                own.aspect,
                words,
                models().face_model,
                models().mouth_model,
                views,
            )
        written.append(str(target))
        output.line(f"Framing: {relative_path(target)}")
    output.document["debugFraming"] = written


def print_results(results: Results, output: Output) -> None:
    """Prints the shorts and the page, and adds them to the document."""
    made = [_to_document(file, record) for file, record in results.made]
    output.document |= {"page": str(results.page) if results.page else None, "shorts": made}
    if made:
        columns = ("file", "moment", "score", "title")
        rows = [
            (
                relative_path(s["file"]),
                f"{s['start']} – {s['end']}",
                f"{s['score']:.0f}",
                s["title"],
            )
            for s in made
        ]
        output.table(columns, rows)
    for number, id in ignored_removals([record for _, record in results.made]):
        output.line(
            f"Short {number}: nothing with the id {id} is taken out, so putting it back has no "
            "effect.",
            "yellow",
        )
    if results.page:
        output.line(f"Results page: {relative_path(results.page)}")


def ignored_removals(shorts: Iterable[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """What a person has put back without an effect in these shorts of a record: each with the
    number of the short and the id of the removal."""
    return [
        (int(short["index"]), id)
        for short in shorts
        for id in (short.get("tightening") or {}).get("ignored", ())
    ]


def _to_document(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        *("id", "index", "s3Key", "start", "end", "title", "hook", "description", "hashtags"),
        *("why", "duration", "fileSize", "thumbnail", "tightening", "framing"),
    )
    return {
        "file": str(file),
        "score": float(record["score"]),
        "thumbnailFile": str(thumbnail_file(file)) if record.get("thumbnail") else None,
        **{name: record.get(name) for name in names},
    }
