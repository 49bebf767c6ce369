"""What is said in the video: taken from its `original.srt` where somebody wrote one, else heard."""

from pathlib import Path

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.transcript import Transcript
from clipflow.media.probe import probe
from clipflow.segments.checkpoint import checkpoint, fingerprint, is_made_from, is_ours
from clipflow.segments.scratch import work_folder
from clipflow.segments.source import find_source, open_source
from clipflow.settings import models
from clipflow.speech import archive, audio, srt
from clipflow.speech.sound import RATE, SAMPLE_BYTES
from clipflow.speech.transcribe import transcriber
from clipflow.speech.words import read_words, words_json
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.progress import part

# The share of the work that is done when the sound is on disk.
_READ = 0.2
# Ten hours of speech are about 100 000 words of 90 bytes.
_LARGEST_BYTES = 64 << 20
# Of twelve hours, as they are and packed; a video's sound is hardly larger than the video.
_SOUND_BYTES = 2 * 12 * 3600 * RATE * SAMPLE_BYTES
# In the metadata of the words.
_LANGUAGE = "language"


def transcribe(
    keys: ShortsKeys, language: str | None, objects: ObjectStore, *, force: bool
) -> None:
    """Put the transcript's three objects, unless they are there already, made from the same.

    Raises SourceNotFoundError without a video, InvalidInputError where it has no sound, and what reading it
    and the transcriber raise.
    """
    video = find_source([keys.original], objects)
    written = objects.head(keys.subtitles)
    if written and not is_ours(written):
        made_from = fingerprint(["srt", written.etag])
    else:
        written = None
        chosen = models().model_dump(include={"transcriber", "whisperx_model"})
        made_from = fingerprint([video.etag, chosen, language])
    if not force and is_made_from(objects.head(keys.words), made_from):
        return
    if written:
        content = objects.data(keys.subtitles, _LARGEST_BYTES)
        transcript = srt.read(content, keys.subtitles, language)
    else:
        transcript = _hear(keys, video, language, objects, force)
    metadata = checkpoint(video.etag, made_from)
    if not written:
        objects.put_text(srt.written(transcript), keys.subtitles, metadata, "application/x-subrip")
    objects.put_text(transcript.text, keys.text, metadata, "text/plain")
    # Last, because it is what says that all three are there.
    metadata |= {_LANGUAGE: transcript.language or ""}
    objects.put_text(words_json(transcript.words), keys.words, metadata, "application/json")


def read_transcript(keys: ShortsKeys, objects: ObjectStore) -> Transcript:
    """What `transcribe` put."""
    head = find_source([keys.words], objects)
    words = read_words(objects.text(keys.words, _LARGEST_BYTES), keys.words)
    return Transcript(words, head.metadata.get(_LANGUAGE) or None)


def _hear(
    keys: ShortsKeys, video: ObjectHead, language: str | None, objects: ObjectStore, force: bool
) -> Transcript:
    kept = not force and is_made_from(objects.head(keys.sound), fingerprint(video.etag))
    with work_folder(min(2 * video.size, _SOUND_BYTES)) as scratch:
        sound = scratch / "sound.raw"
        if kept:
            packed = sound.with_suffix(".flac")
            objects.download(keys.sound, packed)
            archive.unpack(packed, sound)
        else:
            with part(0, _READ):
                _keep_sound(keys, video, objects, sound)
        with part(_READ, 1):
            return transcriber()(sound, language)


def _keep_sound(keys: ShortsKeys, video: ObjectHead, objects: ObjectStore, sound: Path) -> None:
    """Write the video's sound to the file `sound`, and keep it for the next who listens."""
    source = open_source(video, objects)
    known = probe(source)
    if known.sound is None:
        raise InvalidInputError(
            f"{video.key} has no sound, so nothing can be heard in it.",
            "Put its subtitles beside it as original.srt.",
        )
    audio.extract(source, known, sound)
    packed, made_from = sound.with_suffix(".flac"), fingerprint(video.etag)
    archive.pack(sound, packed)
    objects.upload(packed, keys.sound, checkpoint(video.etag, made_from), "audio/flac")
