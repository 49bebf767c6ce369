"""A brand's logo and music: reads a user's files, and mixes the music below speech."""

from fractions import Fraction
from io import BytesIO
from math import inf, log10
from pathlib import Path
from typing import Any

import av
import ffmpeg as command
import numpy as np
from av.audio.resampler import AudioResampler

from clipflow.domain.errors import InvalidInputError
from clipflow.media.isolation import isolated
from clipflow.media.limits import limits
from clipflow.media.loudness import TARGET, limited
from clipflow.media.source import Source
from clipflow.media.source_errors import source_errors

# The format of an image by its first bytes. WebP is not listed: its size is within these bytes.
_FORMATS = ((b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"\xff\xd8\xff", "jpeg_pipe"))
_RIFF, _WEBP = b"RIFF", b"WEBP"
# Pixels of an image's sides.
_SMALLEST, _LARGEST = 8, 8192
_MOST_PIXELS = 40_000_000
# The time in seconds and the memory in bytes that reading an image may take. One of `_MOST_PIXELS`
# takes 5 s and 400 MB; the colour profile of a PNG of 3 MB may have gigabytes.
_SECONDS, _MEMORY = 30, 1 << 30


def read_logo(
    data: bytes, name: str, width: int, tallest: int, opacity: float, path: Path
) -> tuple[int, int]:
    """Writes the image as a video of one frame to `path`, and returns its width and height.

    They are even, and at most `width` and `tallest`. Raises InvalidInputError, which begins with
    `name`, if it is not a PNG, JPEG or WebP image, or too small or large.
    """
    form = next((form for start, form in _FORMATS if data.startswith(start)), None)
    if form is None and data.startswith(_RIFF) and data[8:12] == _WEBP:
        form = "webp_pipe"
    if form is None:
        raise InvalidInputError(f"{name} is not a PNG, JPEG or WebP image.", "Use another file.")
    return isolated(name, _read_logo, data, form, name, (width, tallest), opacity, path)


def _read_logo(
    data: bytes, form: str, name: str, bounds: tuple[int, int], opacity: float, path: Path
) -> tuple[int, int]:
    try:
        with limits(_SECONDS, _MEMORY):
            return _write_image(data, form, name, bounds, opacity, path)
    except (av.error.FFmpegError, StopIteration, IndexError, MemoryError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or error or "it is empty"
        raise InvalidInputError(
            f"{name} is not an image that can be read: {why}.",
            f"Save it as PNG with at most {_MOST_PIXELS // 1_000_000} million pixels.",
        ) from None


def _write_image(
    data: bytes, form: str, name: str, bounds: tuple[int, int], opacity: float, path: Path
) -> tuple[int, int]:
    # Opening decodes the image too: a few kilobytes can have gigabytes of pixels.
    bound = {"max_pixels": str(_MOST_PIXELS)}
    with av.open(BytesIO(data), "r", format=form, options=bound) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = bound
        frame = next(container.decode(stream))
    sides = frame.width, frame.height
    if min(sides) < _SMALLEST or max(sides) > _LARGEST:
        raise InvalidInputError(
            f"{name} has {sides[0]}x{sides[1]} pixels; a side has {_SMALLEST} to {_LARGEST}."
        )
    scale = min(bounds[0] / sides[0], bounds[1] / sides[1])
    width, height = (max(2, 2 * round(side * scale / 2)) for side in sides)
    shown = frame.reformat(width=width, height=height, format="rgba", interpolation="LANCZOS")
    pixels = shown.to_ndarray().astype(np.float32)
    pixels[:, :, 3] *= opacity
    _write_logo(np.round(pixels).astype(np.uint8), path)
    return width, height


def _write_logo(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", path: Path) -> None:
    with av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream("rawvideo", rate=25)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "rgba"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgba")
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())


RATE = 48_000
# Seconds in which music begins and ends.
_FADE_IN, _FADE_OUT = 0.3, 1.5
# The compressor's threshold as an amplitude, about -40 dB, and by how many decibels speech at the
# target loudness is above it: the music is lower by that, less the part that the ratio leaves.
_THRESHOLD, _ABOVE = 0.01, 23.0
# Milliseconds in which the music gets quieter, before a word is understood, and louder in a pause:
# shorter than a pause between sentences, longer than one between words.
_ATTACK, _RELEASE = 20, 350


def fetch_music(source: Source, path: Path, longest: Fraction) -> None:
    """Writes the first `longest` seconds of the sound of `source` to `path`, in stereo.

    Raises InvalidInputError if it has no sound, MediaRefusedError if it cannot be read, and what
    `isolated` raises.
    """
    isolated(source.name, _fetch_music, source, path, longest)


def _fetch_music(source: Source, path: Path, longest: Fraction) -> None:
    left = int(longest * RATE)
    with (
        source_errors(source.name),
        source.open(Fraction(0), longest) as container,
        av.open(str(path), "w", format="nut") as output,
    ):
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            raise InvalidInputError(f"{source.name} has no sound.", "Use another file.")
        written = output.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
        count = 0
        for frame in container.decode(stream):
            frame.pts = None
            for part in resampler.resample(frame):
                part.pts, count = count, count + part.samples
                output.mux(written.encode(part))
            if count >= left:
                break
        if not count:
            raise InvalidInputError(f"{source.name} has no sound.", "Use another file.")
        output.mux(written.encode())


def below_speech(
    speech: Any,
    loudness: float,
    music: Path,
    own: float,
    duration: Fraction,
    how: tuple[float, float],
) -> Any:
    """The mix of `speech`, which already has the target loudness, and the music.

    Args:
        loudness: of the original speech, in LUFS. If it is -inf, the music gets the target
            loudness.
        music: a file of `fetch_music`; own: its loudness.
        how: the music's loudness in pauses, and the decibels by which it is lower under speech.
    """
    level, ducking = how
    is_silent = loudness == -inf
    gain = (TARGET if is_silent else level) - own
    seconds = float(duration)
    fade_out = min(_FADE_OUT, seconds / 4)
    bed = (
        command.input(str(music), stream_loop=-1)["a:0"]
        .filter("asetpts", "N/SR/TB")
        .filter("atrim", end_sample=int(duration * RATE))
        .filter("aformat", sample_fmts="fltp", sample_rates=RATE, channel_layouts="stereo")
        .filter("volume", f"{gain:.2f}dB")
        .filter("afade", type="in", duration=_FADE_IN)
        .filter("afade", type="out", start_time=f"{seconds - fade_out:.3f}", duration=fade_out)
    )
    speech = speech.filter(
        "aformat", sample_fmts="fltp", sample_rates=RATE, channel_layouts="stereo"
    )
    if ducking and not is_silent:
        copies = speech.filter_multi_output("asplit")
        ratio = 1 / (1 - ducking / _ABOVE)
        bed = command.filter(
            [bed, copies[1]],
            "sidechaincompress",
            threshold=_THRESHOLD,
            ratio=f"{ratio:.3f}",
            attack=_ATTACK,
            release=_RELEASE,
            knee=1,
        )
        speech = copies[0]
    mixed = command.filter([speech, bed], "amix", inputs=2, normalize=0, duration="first")
    if not is_silent:
        # Loud music that is hardly lowered adds up to 2 dB to the target loudness of the speech.
        added = 10 * log10(1 + 10 ** ((level - ducking - TARGET) / 10))
        mixed = mixed.filter("volume", f"{-added:.2f}dB")
    return limited(mixed, RATE)
