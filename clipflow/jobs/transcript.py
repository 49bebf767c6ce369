"""Transcribing a file of this machine, and writing the transcript as files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from clipflow.domain.audio_tracks import AudioTrack
from clipflow.domain.transcript import Transcript, words_json
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.settings import models
from clipflow.speech import audio
from clipflow.speech.transcriber import transcribe
from clipflow.subtitles.cues import srt_text, vtt_text
from clipflow.telemetry.progress import portion

# The share of the work that is done when the sound has been extracted.
_EXTRACTED = 0.1


def _txt(transcript: Transcript) -> str:
    return f"{transcript.text}\n" if transcript.words else ""


def _words(transcript: Transcript) -> str:
    return words_json(transcript.words)


# What follows the file's own name, and the writer.
WRITERS: Mapping[str, Callable[[Transcript], str]] = {
    ".srt": srt_text,
    ".vtt": vtt_text,
    ".txt": _txt,
    ".words.json": _words,
}


def transcribe_file(
    path: Path,
    language: str | None,
    scratch: Path | None = None,
    audio_track: AudioTrack | None = None,
) -> Transcript:
    """Recognises the speech in a video or audio file; reports progress.

    Times count from the video's first frame, or from the beginning of an audio file. `scratch` is
    the folder of temporary files: 115 MB for each hour of sound.

    Raises MediaRefusedError where there is no sound, and what reading it and the transcriber raise.
    """
    source = LocalSource(path)
    sound = probe_sound(source, audio_track)
    with TemporaryDirectory(prefix="clipflow-transcribe-", dir=scratch) as folder:
        extracted = Path(folder, "sound.raw")
        with portion(0, _EXTRACTED):
            levels = audio.extract(source, sound, extracted)
        with portion(_EXTRACTED, 1):
            transcript = transcribe(extracted, language, models())
    if levels is None or not levels.have_a_voice_each():
        return transcript
    return Transcript(tuple(levels.assign(transcript.words)), transcript.language)
