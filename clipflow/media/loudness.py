"""Measuring loudness by EBU R 128 and normalizing it to the level of the platforms."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.filter import Graph

from clipflow.media.isolation import isolated

# LUFS: the level to which YouTube, TikTok and Instagram turn down louder audio.
TARGET = -14.0
# dBTP: half a decibel below the documented peak, since AAC encoding raises peaks a little.
_PEAK = -2.0
# LUFS: audio below this level is only noise, so it is not amplified.
SILENCE = -50.0
# Samples per second while limiting: without oversampling, a limiter misses peaks between samples
# (BS.1770-4, annex 2).
_LIMITER_RATE = 192_000


def measure_loudness(
    path: Path, start: Fraction = Fraction(0), end: Fraction | None = None
) -> float:
    """The integrated loudness in LUFS of the file at `path`, mixed to stereo.

    Measures the audio frames at `start ≤ t < end`, in seconds. Returns -inf without audio and for
    silence. Raises the errors of `isolated`.
    """
    return isolated(path.name, _measure_loudness, path, start, end)


def _measure_loudness(path: Path, start: Fraction, end: Fraction | None) -> float:
    loudness = "nan"
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            return -math.inf
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(template=stream),
            graph.add("aformat", "channel_layouts=stereo"),
            graph.add("ebur128", "metadata=1:framelog=quiet"),
            graph.add("abuffersink"),
        ).configure()
        for frame in container.decode(stream):
            time = (frame.pts or 0) * (frame.time_base or 0)
            if time >= start and (end is None or time < end):
                graph.push(frame)
                for measured in _pull_frames(graph):
                    loudness = measured.metadata.get("lavfi.r128.I", loudness)
    result = float(loudness)
    return -math.inf if math.isnan(result) else result


def _pull_frames(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def normalize(stream: Any, loudness: float, sample_rate: int) -> Any:
    """Bring `stream` from `loudness` LUFS to the target level, in stereo, with its peaks limited.

    One gain for the whole stream preserves the speaker's dynamics; `loudnorm` in its dynamic mode
    missed the target by up to 0.6 LU on short speech, this by 0.1.
    """
    return limited(amplified(stream, loudness), sample_rate)


def amplified(stream: Any, loudness: float) -> Any:
    """`stream` in stereo at the target level, from `loudness` LUFS; as it is if that is noise."""
    stream = stream.filter("aformat", channel_layouts="stereo")
    if loudness > SILENCE:
        stream = stream.filter("volume", f"{TARGET - loudness:.2f}dB")
    return stream


def limited(stream: Any, sample_rate: int) -> Any:
    """`stream` with its true peaks limited."""
    return (
        stream.filter("aresample", _LIMITER_RATE)
        .filter("alimiter", limit=f"{_PEAK}dB", level="disabled", latency=1)
        .filter("aresample", sample_rate)
        .filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    )
