"""`clipflow transcribe`: transcribes video and audio files in this process, without the stack."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipflow.domain.errors import ClipflowError, InvalidInputError, NotInstalledError
from clipflow.domain.model import AudioTrack, Model
from clipflow.domain.shorts import LanguageTag, SpeakerTracks
from clipflow.domain.transcript import Transcript
from clipflow.jobs.transcription import transcribe_file
from clipflow.settings import models
from clipflow.subtitles.cue_files import WRITERS
from clipflow.telemetry.progress import reporting_to
from deployments.command.files import (
    OutputManifest,
    check_folder,
    check_no_playlist,
    content_id,
    relative_path,
    whole_file,
)
from deployments.command.output import Output, format_error, progress_bars, step_line

# The names of the written files in the JSON document.
_FIELDS = {".srt": "srt", ".vtt": "vtt", ".txt": "txt", ".words.json": "wordsJson"}


class _Options(Model):
    language: LanguageTag | None
    audio_track: AudioTrack | None
    speaker_tracks: SpeakerTracks | None


def transcribe_files(
    paths: Sequence[Path],
    language: str | None,
    audio_track: str | None,
    speaker_tracks: Mapping[str, int | Path],
    out: Path,
    output: Output,
) -> None:
    """Writes the transcripts of each file to `out`. If one file fails, the others still proceed.

    `speaker_tracks` may be given only if there is a single file.

    Raises InvalidInputError, before any work is done, for an invalid language tag or audio track,
    for a playlist, for two files with the same name, and if a transcript would replace a file that
    this job has not written.
    """
    values = {
        "language": language,
        "audioTrack": audio_track,
        "speakerTracks": dict.fromkeys(speaker_tracks, 0) or None,
    }
    options = _Options.read(values, "An option")
    if speaker_tracks and len(paths) > 1:
        raise InvalidInputError(
            "--speaker-track is for one file, and there are several.",
            "Transcribe each with a command of its own.",
        )
    manifests = _check(paths, out)
    output.document |= {"job": "transcribe", "transcripts": []}
    for path, manifest in zip(paths, manifests, strict=True):
        output.document["transcripts"].append(
            _transcribe(path, options, speaker_tracks, out, manifest, output)
        )


def _check(paths: Sequence[Path], out: Path) -> list[OutputManifest]:
    manifests = []
    names: dict[str, Path] = {}
    for path in paths:
        check_no_playlist(path)
        if other := names.get(path.stem):
            raise InvalidInputError(
                f"{other} and {path} would have transcripts of the same name.",
                "Use one command for each, with another --out.",
            )
        names[path.stem] = path
        files = [path.stem + suffix for suffix in WRITERS]
        check_folder(out, files)
        manifests.append(OutputManifest(out, f"transcribe/{content_id(path)}"))
        manifests[-1].check(files)
    return manifests


def _transcribe(
    path: Path,
    options: _Options,
    speaker_tracks: Mapping[str, int | Path],
    out: Path,
    manifest: OutputManifest,
    output: Output,
) -> dict[str, Any]:
    """Transcribes one file; returns its part of the JSON document."""
    began = time.monotonic()
    document = dict.fromkeys(("language", "words", *_FIELDS.values(), "failure"))
    try:
        with _progress(path.name, output):
            scratch = os.environ.get("CLIPFLOW_SCRATCH")
            folder = Path(scratch) if scratch else None
            transcript = transcribe_file(
                path, options.language, models(), folder, options.audio_track, speaker_tracks
            )
        files = _write(transcript, path.stem, out, manifest)
    except NotInstalledError:
        raise
    except (ClipflowError, OSError) as error:
        code, message, remedy = format_error(error)
        output.step(step_line(time.monotonic() - began, path.name, is_made=False))
        output.fail(code, message, remedy)
        return {"file": str(path), **document, "failure": f"{message} {remedy}".strip()}
    words = len(transcript.words)
    label = f"{path.name}: {words} words" if words else f"{path.name}: no speech was recognised"
    output.step(step_line(time.monotonic() - began, label, is_made=True))
    output.line(" ".join(relative_path(file) for file in files.values()))
    return {
        "file": str(path),
        **document,
        "language": transcript.language,
        "words": words,
        **{field: str(files[suffix]) for suffix, field in _FIELDS.items()},
    }


def _write(
    transcript: Transcript, stem: str, out: Path, manifest: OutputManifest
) -> dict[str, Path]:
    files = {}
    for suffix, writer in WRITERS.items():
        path = out / f"{stem}{suffix}"
        with whole_file(path) as written:
            written.write_text(writer(transcript), encoding="utf-8")
        manifest.add(path.name)
        files[suffix] = path
    return files


@contextmanager
def _progress(name: str, output: Output) -> Iterator[None]:
    """Shows a bar with the share of the audio that is transcribed; nothing without a terminal."""
    if not output.console.is_terminal:
        yield
        return
    with progress_bars(output.console) as bars:
        bar = bars.add_task(name, total=1.0)
        with reporting_to(lambda fraction: bars.update(bar, completed=fraction)):
            yield
