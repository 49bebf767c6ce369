"""A video's sound as FLAC, so that it is read from the video once, however often it is used."""

from pathlib import Path

from clipflow.domain.transcript import LONGEST
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.speech.sound import RATE, SAMPLE_BYTES

_RAW = ("-f", "s16le", "-ar", str(RATE), "-ac", "1")
# Seconds: an hour of sound takes two.
_DEADLINE = 600.0
_LARGEST = LONGEST * RATE * SAMPLE_BYTES


def pack(sound: Path, path: Path, machine: Machine) -> None:
    """The sound that `audio.extract` wrote, as FLAC. Raises what `ffmpeg.run` raises."""
    arguments = [*_RAW, "-i", str(sound), "-c:a", "flac", "-f", "flac", str(path)]
    ffmpeg.run(
        arguments, f"packing {sound.name}", machine, _DEADLINE, max_bytes=2 * sound.stat().st_size
    )


def unpack(path: Path, sound: Path, machine: Machine) -> None:
    """The same the other way. Raises what `ffmpeg.run` raises."""
    arguments = ["-f", "flac", "-i", str(path), *_RAW, str(sound)]
    ffmpeg.run(arguments, f"unpacking {path.name}", machine, _DEADLINE, max_bytes=_LARGEST)
