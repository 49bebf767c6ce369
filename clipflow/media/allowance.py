"""What a picture may be, and a run of ffmpeg may take: pixels, seconds, bytes of its output."""

from fractions import Fraction
from math import ceil

from clipflow.settings import limits

# Seconds for ffmpeg: a start, and so many for each second of 1080p at 30 frames.
_START, _EACH = 60.0, 20.0
# Bytes that no encoding of ours exceeds: noise takes less than one for each pixel at our CRF, and
# a second of sound less than two channels of uncompressed samples.
_PIXEL, _SECOND_OF_SOUND, _HEADER = 1, 1 << 18, 1 << 20


def patience(pixels: int, duration: Fraction) -> float:
    """Seconds that ffmpeg may take for `duration` seconds of a picture of so many pixels."""
    size = max(1.0, pixels / (1920 * 1080))
    given = _START + _EACH * size * float(duration)
    return limits().ffmpeg_deadline_seconds or given


def most_bytes(pixels: int, frames: int, duration: Fraction) -> int:
    """Bytes that ffmpeg may write for so many frames, of so many pixels each, and their sound."""
    return _PIXEL * pixels * frames + _SECOND_OF_SOUND * ceil(duration) + _HEADER
