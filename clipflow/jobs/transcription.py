"""Transcription of a job's video in windows, or of a file on this machine.

The audio of a long video is split at pauses into windows of about ten minutes, or less for a slow
model on several machines. Each window is a separate step that stores its words as an object, which
is not made again from the same inputs. The last step joins the words.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import AudioTrack, parse_json
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.timecode import format_clock
from clipflow.domain.transcript import Transcript, read_words, words_json
from clipflow.jobs import fingerprints
from clipflow.jobs.segment import (
    checkpoint,
    find_source,
    is_made_from,
    is_ours,
    open_source,
)
from clipflow.machine import Machine, work_folder
from clipflow.media.probe import Probe, probe_sound, probe_source
from clipflow.media.source import LocalSource, Source
from clipflow.settings import Models, fan_out, limits
from clipflow.speech import audio
from clipflow.speech.audio import RATE, SAMPLE_BYTES, read_samples, sample_count
from clipflow.speech.channels import CHANNELS, ChannelLevels, Track, own_track, track_levels
from clipflow.speech.transcriber import (
    detect_language,
    in_requested_script,
    join_words,
    recognize_window,
    recognizer_loading,
    release_recognizers,
    requested_language,
    separate_speakers,
    shared_recognizer,
    split_windows,
    transcribe,
)
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.subtitles.cue_files import srt_text
from clipflow.subtitles.reading import read_subtitles
from clipflow.telemetry.progress import portion

logger = logging.getLogger(__name__)

# Ten hours of speech are about 100 000 words of 90 bytes.
_LARGEST_TRANSCRIPT_BYTES = 64 << 20
_LARGEST_PLAN_BYTES = 1 << 20
_LARGEST_LEVELS_BYTES = 64 << 20
# The audio of twelve hours as samples and as FLAC.
_SOUND_BYTES = 2 * 12 * 3600 * RATE * SAMPLE_BYTES
# The progress of planning when the audio has been extracted.
_EXTRACTED = 0.8
# The name of the language in the metadata of the words.
_LANGUAGE = "language"


@dataclass(frozen=True)
class SpeechWindow:
    """A window of a video's audio, from sample `first` to before sample `last`.

    `made_from` is the fingerprint of its words. `speakers` are those with their own channel or
    track.
    """

    keys: ShortsKeys
    number: int
    first: int
    last: int
    language: str
    video_etag: str
    made_from: str
    speakers: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name in the UI: `2: 00:10:03-00:19:58`."""
        begin, end = (Fraction(sample // RATE) for sample in (self.first, self.last))
        return f"{self.number}: {format_clock(begin)}-{format_clock(end)}"


def plan_windows(
    keys: ShortsKeys,
    config: ShortsConfig,
    objects: ObjectStore,
    machine: Machine,
    models: Models,
    *,
    force: bool,
) -> list[SpeechWindow]:
    """The windows to transcribe; none if the transcript exists with the same fingerprint.

    Subtitles that a user has stored beside the video become its transcript. Otherwise the audio of
    each window is stored, and all windows get the same language: that of the config, else the
    detected one. Raises SourceNotFoundError without a video or a speaker's file, InvalidInputError
    without audio or the requested track, and the errors of reading and of the recognizer.
    """
    video = find_source([keys.original], objects)
    supplied = _supplied_subtitles(keys, objects)
    made_from = _made_from(video, supplied, config, objects, models)
    if not force and is_made_from(objects.head(keys.words), made_from):
        return []
    if supplied:
        content = objects.data(supplied.key, _LARGEST_TRANSCRIPT_BYTES)
        transcript = read_subtitles(content, supplied.key, config.language)
        _check_times(transcript, supplied.key, video, objects)
        _store(keys, transcript, supplied, checkpoint(video.etag, made_from), objects)
        return []
    if force or not is_made_from(objects.head(keys.windows), made_from):
        _store_windows(keys, video, config, objects, machine, models, made_from)
    text = objects.text(keys.windows, _LARGEST_PLAN_BYTES)
    plan = parse_json(text, keys.windows, "Delete it.")
    return [
        SpeechWindow(
            keys=keys,
            number=number,
            first=first,
            last=last,
            language=plan["language"],
            video_etag=video.etag,
            made_from=fingerprints.of_speech_window(made_from, first, last, plan["language"]),
            speakers=tuple(plan["speakers"]),
        )
        for number, (first, last) in enumerate(plan["windows"], 1)
    ]


def transcribe_window(
    window: SpeechWindow,
    objects: ObjectStore,
    machine: Machine,
    models: Models,
    *,
    threads: int,
    force: bool,
) -> None:
    """Stores the words of a window. Raises the errors of the recognizer."""
    if not force and is_transcribed(window, objects):
        return
    if window.language:
        with work_folder(machine.scratch, _window_bytes(window)) as scratch:
            sound = _download_sound(window, scratch, objects, machine)
            samples = read_samples(sound, range(sample_count(sound)))
        words = recognize_window(
            shared_recognizer(models), samples, window.first, window.language, threads
        )
    else:
        # Without a language there is no speech in any window.
        words = []
    metadata = checkpoint(window.video_etag, window.made_from)
    key = window.keys.window_words(window.number)
    objects.put_text(words_json(words), key, metadata, "application/json")


def is_transcribed(window: SpeechWindow, objects: ObjectStore) -> bool:
    """Whether the window's words are stored."""
    return is_made_from(objects.head(window.keys.window_words(window.number)), window.made_from)


def join_windows(
    keys: ShortsKeys,
    config: ShortsConfig,
    windows: list[SpeechWindow],
    objects: ObjectStore,
    machine: Machine,
    models: Models,
) -> None:
    """Stores the transcript's three objects, from the words of all its windows."""
    release_recognizers()
    stored = [keys.window_words(window.number) for window in windows]
    found = [read_words(objects.text(key, _LARGEST_TRANSCRIPT_BYTES), key) for key in stored]
    words = in_requested_script(join_words(found), config.language)
    speakers = windows[0].speakers
    if words and speakers:
        content = objects.data(keys.channel_levels, _LARGEST_LEVELS_BYTES)
        words = ChannelLevels.read(content, len(speakers)).assign(words, speakers)
    elif words and models.diarizes:
        needed = sum(_window_bytes(window) for window in windows)
        with work_folder(machine.scratch, needed) as scratch:
            whole = scratch / "whole.raw"
            with whole.open("wb") as file:
                for window in windows:
                    file.write(_download_sound(window, scratch, objects, machine).read_bytes())
            words = separate_speakers(words, whole, models)
    video = find_source([keys.original], objects)
    spoken = windows[0].language if words or config.language else None
    made_from = _made_from(video, None, config, objects, models)
    transcript = Transcript(tuple(words), spoken)
    _store(keys, transcript, None, checkpoint(video.etag, made_from), objects)


def read_transcript(keys: ShortsKeys, objects: ObjectStore) -> Transcript:
    """The stored transcript."""
    head = find_source([keys.words], objects)
    words = read_words(objects.text(keys.words, _LARGEST_TRANSCRIPT_BYTES), keys.words)
    return Transcript(words, head.metadata.get(_LANGUAGE) or None)


def _store(
    keys: ShortsKeys,
    transcript: Transcript,
    supplied: ObjectHead | None,
    metadata: dict[str, str],
    objects: ObjectStore,
) -> None:
    if not supplied or supplied.key != keys.subtitles:
        objects.put_text(srt_text(transcript), keys.subtitles, metadata, "application/x-subrip")
    objects.put_text(transcript.text, keys.text, metadata, "text/plain")
    # Stored last, because its fingerprint means that all three objects exist.
    metadata = {**metadata, _LANGUAGE: transcript.language or ""}
    objects.put_text(words_json(transcript.words), keys.words, metadata, "application/json")


def _store_windows(
    keys: ShortsKeys,
    video: ObjectHead,
    config: ShortsConfig,
    objects: ObjectStore,
    machine: Machine,
    models: Models,
    made_from: str,
) -> None:
    """Stores each window's audio, and then the plan, whose fingerprint means that all exist."""
    code = requested_language(config.language)
    source = open_source(video, objects)
    probe = probe_source(source, config.audio_track)
    if probe.audio is None:
        raise InvalidInputError(
            f"{keys.label} has no sound, so no speech can be recognised in it.",
            "Store subtitles beside the video.",
        )
    metadata = checkpoint(video.etag, made_from)
    with work_folder(machine.scratch, min(2 * video.size, _SOUND_BYTES)) as scratch:
        sound = scratch / "sound.raw"
        # The language is detected here; if it is known, another machine may need the recogniser.
        loading: AbstractContextManager[None]
        loading = nullcontext() if code else recognizer_loading(models)
        with loading, portion(0, _EXTRACTED):
            levels = audio.extract(source, probe, sound)
        speakers = CHANNELS if levels is not None and levels.have_a_voice_each() else ()
        if config.speaker_tracks:
            speakers = tuple(config.speaker_tracks)
            levels = track_levels(_tracks(config, source, probe, objects))
        if levels and speakers:
            stored = scratch / "levels"
            stored.write_bytes(levels.written())
            objects.upload(stored, keys.channel_levels, metadata, "application/octet-stream")
        code = code or detect_language(shared_recognizer(models), sound) or ""
        machines = limits().max_parallel_segments if fan_out().is_remote else 1
        windows = split_windows(sound, models, machines)
        for number, window in enumerate(windows, 1):
            piece, packed = scratch / "window.raw", scratch / "window.flac"
            read_samples(sound, window).tofile(piece)
            audio.pack_flac(piece, packed, machine)
            objects.upload(packed, keys.window_sound(number), metadata, "audio/flac")
    plan = {
        "language": code,
        "speakers": speakers,
        "windows": [[window.start, window.stop] for window in windows],
    }
    objects.put_text(json.dumps(plan), keys.windows, metadata, "application/json")


def _made_from(
    video: ObjectHead,
    supplied: ObjectHead | None,
    config: ShortsConfig,
    objects: ObjectStore,
    models: Models,
) -> str:
    """The transcript's fingerprint. Raises SourceNotFoundError if a speaker's file is missing."""
    tracks = {} if supplied else config.speaker_tracks or {}
    speakers = {
        name: find_source([track], objects).etag if isinstance(track, str) else track
        for name, track in tracks.items()
    }
    language, track = config.language, config.audio_track
    return fingerprints.of_transcript(video, supplied, language, track, models, speakers)


def _tracks(config: ShortsConfig, video: Source, probe: Probe, objects: ObjectStore) -> list[Track]:
    """The tracks of the config's speakers."""
    return [
        own_track(open_source(find_source([track], objects), objects))
        if isinstance(track, str)
        else Track(video, probe.start, track)
        for track in (config.speaker_tracks or {}).values()
    ]


def _download_sound(
    window: SpeechWindow, scratch: Path, objects: ObjectStore, machine: Machine
) -> Path:
    packed, sound = scratch / "window.flac", scratch / "window.raw"
    objects.download(window.keys.window_sound(window.number), packed)
    audio.unpack_flac(packed, sound, machine)
    return sound


def _window_bytes(window: SpeechWindow) -> int:
    return 3 * SAMPLE_BYTES * (window.last - window.first)


def _supplied_subtitles(keys: ShortsKeys, objects: ObjectStore) -> ObjectHead | None:
    """The subtitles that a user has stored beside the video; None if clipflow made them."""
    heads = (objects.head(key) for key in keys.supplied_subtitles)
    return next((head for head in heads if head and not is_ours(head)), None)


def _check_times(
    transcript: Transcript, name: str, video: ObjectHead, objects: ObjectStore
) -> None:
    """Raises InvalidInputError if the subtitles begin after the end of the video."""
    duration = probe_source(open_source(video, objects)).duration
    begins = Fraction(str(transcript.words[0].start))
    if duration is None or begins < duration:
        return
    remedy = "Store the subtitles of this video there."
    hours = int(begins // 3600) * 3600
    if hours and begins - hours < duration:
        remedy = (
            f"They seem to count from {format_clock(Fraction(hours))}, as an editor's timeline "
            "does: export them with times from the beginning of the video."
        )
    raise InvalidInputError(
        f"{name} begins at {format_clock(begins)}, but {video.key} lasts only "
        f"{format_clock(duration)}.",
        remedy,
    )


# The progress of a file's transcription when its audio has been extracted.
_FILE_EXTRACTED = 0.1


def transcribe_file(
    path: Path,
    language: str | None,
    models: Models,
    scratch: Path | None = None,
    audio_track: AudioTrack | None = None,
    speaker_tracks: Mapping[str, int | Path] | None = None,
) -> Transcript:
    """Recognises the speech in a video or audio file; reports progress.

    Times count from the video's first frame, or from the beginning of an audio file.

    Args:
        scratch: the folder for temporary files, which take 115 MB for each hour of audio.
        speaker_tracks: the audio of each speaker: one of the file's audio tracks, from 0, or a file
            that begins when this one does.

    Raises MediaRefusedError without audio, InvalidInputError without the requested track, and the
    errors of reading and of the transcriber.
    """
    source = LocalSource(path)
    sound = probe_sound(source, audio_track)
    with TemporaryDirectory(prefix="clipflow-transcribe-", dir=scratch) as folder:
        extracted = Path(folder, "sound.raw")
        with recognizer_loading(models), portion(0, _FILE_EXTRACTED):
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
        with portion(_FILE_EXTRACTED, 1):
            transcript = transcribe(extracted, language, models)
    if not levels or not speakers:
        return transcript
    return Transcript(tuple(levels.assign(transcript.words, speakers)), transcript.language)
