"""Transcribing a file of this machine, and writing the transcript as files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from clipflow.domain.transcript import Transcript, words_json
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.settings import models
from clipflow.speech import audio
from clipflow.speech.levels import Track, own_track, track_levels
from clipflow.speech.speakers import CHANNELS
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
    speaker_tracks: Mapping[str, int | Path] | None = None,
) -> Transcript:
    """Recognises the speech in a video or audio file; reports progress.

    Times count from the video's first frame, or from the beginning of an audio file. `scratch` is
    the folder of temporary files: 115 MB for each hour of sound. `speaker_tracks` has the sound of
    each speaker: one of the file's audio tracks, from 0, or a file that begins when this one does.

    Raises MediaRefusedError where there is no sound, InvalidInputError where there is no such
    track, and what reading them and the transcriber raise.
    """
    source = LocalSource(path)
    sound = probe_sound(source)
    with TemporaryDirectory(prefix="clipflow-transcribe-", dir=scratch) as folder:
        extracted = Path(folder, "sound.raw")
        with portion(0, _EXTRACTED):
            levels = audio.extract(source, sound, extracted)
            speakers = CHANNELS if levels is not None and levels.have_a_voice_each() else ()
            if speaker_tracks:
                speakers = tuple(speaker_tracks)
                levels = track_levels(
                    [
                        Track(source, sound.start, track)
                        if isinstance(track, int)
                        else own_track(LocalSource(track))
                        for track in speaker_tracks.values()
                    ]
                )
        with portion(_EXTRACTED, 1):
            transcript = transcribe(extracted, language, models())
    if not levels or not speakers:
        return transcript
    return Transcript(tuple(levels.assign(transcript.words, speakers)), transcript.language)
