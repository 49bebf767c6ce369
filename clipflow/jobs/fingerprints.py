"""The fingerprint of each output: a short digest of all its inputs.

A finished object has the fingerprint in its metadata. If it equals that of a run's inputs, the
object is not made again; see docs/adr/0020-fingerprints-rather-than-prefects-cache.md. Configs and
settings are included as a whole, except for the fields listed here, which have no effect on the
output. A new field therefore causes outputs to be made again until it is listed.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clipflow import PIPELINE_VERSION
from clipflow.domain.brands import Brand
from clipflow.domain.caption_styles import CaptionStyle
from clipflow.domain.clips import Segment
from clipflow.domain.edits import View
from clipflow.domain.layouts import Layout
from clipflow.domain.model import AudioTrack
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.timecode import format_timecode
from clipflow.domain.transcript import Word
from clipflow.media.output_format import OutputFormat
from clipflow.media.window import Span
from clipflow.settings import Models
from clipflow.speech.transcriber import TRANSCRIBERS
from clipflow.storage.objects import ObjectHead

# Addresses of model servers. Another server may choose different moments.
MODEL_SERVERS = ("ANTHROPIC_BASE_URL", "OLLAMA_BASE_URL", "OPENAI_BASE_URL")
# Fields of the config that say which moments are wanted.
_SELECTION = {"instructions", "topics", "video_range", "durations"}
# Fields of the config without effect on the rendering of a given moment.
_WITHOUT_EFFECT_ON_SHORTS = {
    "segment_count",
    "target_seconds",
    "user_id",
    "video_id",
    "language",
    # The speakers are in the words.
    "speaker_tracks",
    # The remaining parts of the moment are included instead.
    "tighten",
    # The content of the style is included instead of its name.
    "caption_style",
    # The text of the hook is included instead.
    "hook",
    # The content of the brand's files is included instead of their keys.
    "brand",
    *_SELECTION,
}
# Fields of the config without effect on the choice of moments.
_WITHOUT_EFFECT_ON_MOMENTS = {
    "user_id",
    "video_id",
    "background_video",
    "layout",
    "aspect",
    "caption_style",
    "hook",
    "brand",
    "speaker_tracks",
    "audio_track",
    "tighten",
}
# Settings without effect on a transcript, and a secret.
_WITHOUT_EFFECT_ON_TRANSCRIPTS = {
    "face_model",
    "mouth_model",
    "highlight_model",
    "hugging_face_token",
}
_SAMPLE_BYTES = 1 << 20


def fingerprint(made_from: object) -> str:
    """A short digest of an output's inputs and of the pipeline's version."""
    text = json.dumps([PIPELINE_VERSION, made_from], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def of_segment(
    head: ObjectHead, span: Span, target: OutputFormat, audio_track: int | None = None
) -> str:
    """The fingerprint of a segment; `audio_track` is the number of the source's track."""
    times = [format_timecode(span.start), format_timecode(span.end)]
    return fingerprint([times, head.etag, asdict(target), audio_track])


def of_clip(segments: Sequence[tuple[Segment, ObjectHead]]) -> str:
    """The fingerprint of a clip: the spans of its sources, in order."""
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
    """The fingerprint of a transcript, from a user's subtitles or else from the audio.

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
            models.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_TRANSCRIPTS | others),
            [file_digest(getattr(models, name) or "") for name in own],
            models.diarizes,
            *([speakers] if speakers else []),
        ]
    )


def of_speech_window(transcript: str, first: int, last: int, language: str) -> str:
    """The fingerprint of the words of one window of audio, samples `first` to before `last`.

    `transcript` is the transcript's fingerprint; `language` is that of all windows.
    """
    return fingerprint([transcript, first, last, language])


def of_moments(
    video: ObjectHead,
    words: ObjectHead,
    config: ShortsConfig,
    models: Models,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """The fingerprint of the moments. `words` is the transcript's object."""
    model = models.highlight_model
    wanted = config.model_dump(mode="json", include=_SELECTION, exclude_defaults=True)
    if not model:
        wanted.pop("instructions", None)
    return fingerprint(
        [
            # Two videos can have the same words and different lengths.
            video.etag,
            words.etag,
            words.metadata.get("language"),
            config.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_MOMENTS | _SELECTION),
            model,
            [environment.get(name) for name in MODEL_SERVERS] if model else [],
            # Left out if empty, so that the fingerprint of older moments stays valid.
            *([wanted] if wanted else []),
        ]
    )


def of_subtitles(text: str) -> str:
    """The fingerprint of a moment's subtitles."""
    return fingerprint(text)


def of_thumbnail(segment: ObjectHead) -> str:
    """The fingerprint of a video's thumbnail, which is a frame of `segment`."""
    return fingerprint(segment.etag)


def of_frame_plan(
    video: ObjectHead,
    moment: Moment,
    words: Sequence[Word],
    config: ShortsConfig,
    models: Models,
    views: Sequence[View] = (),
) -> str:
    """The fingerprint of a frame plan. Of `words`, those recognised in the moment, only the times
    and the speakers are included; `views` are those that a person has set."""
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


@dataclass(frozen=True)
class Looks:
    """The looks of a short besides its layout, each by its content or the ETag of its object.

    Without a style there are no captions. `hook` is the text over the first seconds; `files` are
    the objects of the brand's files, by their fields.
    """

    style: CaptionStyle | None = None
    font: ObjectHead | None = None
    hook: str | None = None
    brand: Brand | None = None
    files: Mapping[str, ObjectHead] = field(default_factory=dict)

    def made_from(self) -> list[object]:
        style = self.style and self.style.model_dump(mode="json")
        etags = {name: head.etag for name, head in self.files.items()}
        # The ETags of the files are included instead of their names.
        brand = self.brand and self.brand.with_files(etags).model_dump(mode="json")
        return [style, self.font and self.font.etag, self.hook, brand]


def of_short(
    video: ObjectHead,
    background: ObjectHead | None,
    moment: Moment,
    words: Sequence[Word],
    config: ShortsConfig,
    models: Models,
    looks: Looks,
    views: Sequence[View] = (),
    tightened: object = None,
) -> str:
    """The fingerprint of a rendered short.

    `words` are those of the moment with the user's corrections, `views` the user's own framing.
    `tightened` has the other inputs of tightening; None if nothing is taken out.
    """
    # `auto` may choose any layout.
    follows_faces = config.layout is Layout.AUTO or config.layout.people > 0
    return fingerprint(
        [
            video.etag,
            background and background.etag,
            moment.model_dump(include={"start", "end"}),
            [word.model_dump() for word in words],
            config.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_SHORTS),
            follows_faces and file_digest(str(models.face_model or "")),
            follows_faces and file_digest(str(models.mouth_model or "")),
            looks.made_from(),
            *([view.model_dump() for view in views]),
            *([{"tightened": tightened}] if tightened is not None else []),
        ]
    )


def of_short_thumbnail(short: ObjectHead, models: Models) -> str:
    """The fingerprint of a short's thumbnail, which is a frame of `short`."""
    return fingerprint(
        ["thumbnail in BT.601", short.etag, file_digest(str(models.face_model or ""))]
    )


def of_post(text: str) -> str:
    """The fingerprint of a short's text to post."""
    return fingerprint(["post", text])


def of_playlist(texts: Sequence[str], etags: Mapping[str, str]) -> str:
    """The fingerprint of an HLS source: its playlists' text, and the ETag of each object in
    them."""
    return fingerprint([list(texts), dict(etags)])


def file_digest(name: str) -> str:
    """A digest of the content of a file or folder on this machine; empty if it does not exist.

    It includes the size and the first and last megabyte of each file. Models have gigabytes, and
    two models with different weights differ in every part.
    """
    path = Path(name).expanduser()
    if not name or not path.exists():
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    versions = tuple((str(file), *_version(file)) for file in files)
    return _digest(str(path), versions)


@cache
def _digest(root: str, versions: tuple[tuple[Any, ...], ...]) -> str:
    digest = hashlib.sha256()
    for name, size, *_ in versions:
        digest.update(f"{os.path.relpath(name, root)} {size} ".encode())
        with Path(name).open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, size - _SAMPLE_BYTES))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def _version(file: Path) -> tuple[int, int]:
    """The file's size and the time it was written, which change with its content."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns
