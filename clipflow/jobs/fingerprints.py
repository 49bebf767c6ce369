"""What each product is made from, as a short digest: the only place where that is listed.

A finished object keeps the digest in its metadata. Where a run would make the object from the same,
it is left as it is; see docs/adr/0020-fingerprints-rather-than-prefects-cache.md. Configs and
settings go in whole, without the fields that are known to change nothing: a field that is
added causes outputs to be made again until it is listed here.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from clipflow import PIPELINE_VERSION
from clipflow.domain.audio_tracks import AudioTrack
from clipflow.domain.clips import Segment
from clipflow.domain.edits import View
from clipflow.domain.layouts import Layout
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.timecode import format_timecode
from clipflow.domain.transcript import Word
from clipflow.media.output_format import OutputFormat
from clipflow.media.window import Span
from clipflow.settings import Models
from clipflow.speech.transcriber import TRANSCRIBERS
from clipflow.storage.objects import ObjectHead

# Addresses of compatible model servers: another server may answer differently.
MODEL_SERVERS = ("ANTHROPIC_BASE_URL", "OLLAMA_BASE_URL", "OPENAI_BASE_URL")
# Whose video it is, how many moments of which length: settled before a short is rendered.
_NOT_RENDERED = {
    "segment_count",
    "target_seconds",
    "user_id",
    "video_id",
    "language",
    # Its speakers are in the words.
    "speaker_tracks",
}
# What does nothing to the choice of moments.
_NOT_CHOSEN_BY = {
    "user_id",
    "video_id",
    "background_video",
    "layout",
    "aspect",
    "caption_style",
    "speaker_tracks",
    "audio_track",
}
# What does nothing to a transcript: found elsewhere, or a secret.
_NOT_HEARD_BY = {"face_model", "mouth_model", "highlight_model", "hugging_face_token"}
_SAMPLE_BYTES = 1 << 20


def fingerprint(made_from: object) -> str:
    """A short digest of what something is made from, and of the pipeline that makes it."""
    text = json.dumps([PIPELINE_VERSION, made_from], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def of_segment(
    head: ObjectHead, span: Span, target: OutputFormat, audio_track: int | None = None
) -> str:
    """Of one segment's encoded file; `audio_track` is the number of the source's track in it."""
    times = [format_timecode(span.start), format_timecode(span.end)]
    return fingerprint([times, head.etag, asdict(target), audio_track])


def of_clip(segments: Sequence[tuple[Segment, ObjectHead]]) -> str:
    """Of a clip: the same spans of the same sources, in the same order."""
    return fingerprint(
        [
            [s.model_dump(include={"start_time", "end_time", "audio_track"}), head.etag]
            for s, head in segments
        ]
    )


def of_transcript(
    video: ObjectHead,
    supplied: ObjectHead | None,
    language: str | None,
    audio_track: AudioTrack | None,
    models: Models,
    speakers: Mapping[str, int | str] | None = None,
) -> str:
    """Of a transcript: from subtitles that a user supplied, else from the sound.

    `speakers` has each speaker's track: a number, or the ETag of a file.
    """
    if supplied:
        return fingerprint(["subtitles", supplied.key, supplied.etag, video.etag, language])
    own = TRANSCRIBERS[models.transcriber].model_settings
    others = {name for each in TRANSCRIBERS.values() for name in each.model_settings} - set(own)
    return fingerprint(
        [
            video.etag,
            language,
            audio_track,
            models.model_dump(mode="json", exclude=_NOT_HEARD_BY | others),
            [file_digest(getattr(models, name) or "") for name in own],
            models.diarizes,
            *([speakers] if speakers else []),
        ]
    )


def of_speech_window(transcript: str, first: int, last: int, language: str) -> str:
    """Of the words of a window, samples `first` to `last`, of the transcript's sound.

    `transcript` is the transcript's fingerprint; `language` is the one decided on for all windows.
    """
    return fingerprint([transcript, first, last, language])


def of_moments(
    video: ObjectHead,
    words: ObjectHead,
    config: ShortsConfig,
    models: Models,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Of the choice of moments. `words` is the transcript's object, with its language."""
    model = models.highlight_model
    return fingerprint(
        [
            # Two videos may have the same words, and the moments of one end past the other.
            video.etag,
            words.etag,
            words.metadata.get("language"),
            config.model_dump(mode="json", exclude=_NOT_CHOSEN_BY),
            model,
            [environment.get(name) for name in MODEL_SERVERS] if model else [],
        ]
    )


def of_subtitles(text: str) -> str:
    """Of a moment's subtitles."""
    return fingerprint(text)


def of_thumbnail(segment: ObjectHead) -> str:
    """Of a video's thumbnail, a frame of this segment."""
    return fingerprint(segment.etag)


def of_frame_plan(
    video: ObjectHead,
    moment: Moment,
    words: Sequence[Word],
    config: ShortsConfig,
    models: Models,
    views: Sequence[View] = (),
) -> str:
    """Of what a short shows when. `words` are those recognised in the moment, of which only the
    times and the speakers count; `views` are a person's own."""
    return fingerprint(
        [
            video.etag,
            moment.model_dump(include={"start", "end"}),
            [word.model_dump(include={"start", "end", "speaker"}) for word in words],
            config.rendered_layout,
            config.aspect,
            file_digest(str(models.face_model or "")),
            file_digest(str(models.mouth_model or "")),
            [view.model_dump() for view in views],
        ]
    )


def of_short(
    video: ObjectHead,
    background: ObjectHead | None,
    moment: Moment,
    words: Sequence[Word],
    config: ShortsConfig,
    models: Models,
    views: Sequence[View] = (),
) -> str:
    """Of a rendered short. `words` are those shown in the moment, with a person's corrections, and
    `views` that person's own."""
    # `auto` becomes any of the layouts.
    follows_faces = config.layout is Layout.AUTO or config.layout.people > 0
    return fingerprint(
        [
            video.etag,
            background and background.etag,
            moment.model_dump(include={"start", "end"}),
            [word.model_dump() for word in words],
            config.model_dump(mode="json", exclude=_NOT_RENDERED),
            follows_faces and file_digest(str(models.face_model or "")),
            follows_faces and file_digest(str(models.mouth_model or "")),
            *([view.model_dump() for view in views]),
        ]
    )


def of_playlist(texts: Sequence[str], etags: Mapping[str, str]) -> str:
    """Of an HLS source: the text of its playlists, and the ETag of each object they name."""
    return fingerprint([list(texts), dict(etags)])


def file_digest(name: str) -> str:
    """Of the content of a file or a folder on this machine; empty if there is none.

    Of a large file its length, beginning and end: models have gigabytes, and their weights differ
    everywhere.
    """
    path = Path(name)
    if not name or not path.exists():
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    states = tuple((str(file), *_state(file)) for file in files)
    return _digest(str(path), states)


@cache
def _digest(root: str, states: tuple[tuple[Any, ...], ...]) -> str:
    found = hashlib.sha256()
    for name, size, *_ in states:
        found.update(f"{os.path.relpath(name, root)} {size} ".encode())
        with Path(name).open("rb") as file:
            found.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, size - _SAMPLE_BYTES))
            found.update(file.read(_SAMPLE_BYTES))
    return found.hexdigest()[:32]


def _state(file: Path) -> tuple[int, int]:
    """What changes with the file's content: its size and when it was written."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns
