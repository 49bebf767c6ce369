"""Measuring loudness by EBU R 128 and normalizing it to the level of the platforms."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from clipflow.domain.removals import TimeRange
from clipflow.media.isolation import isolated

# LUFS: the level to which YouTube, TikTok and Instagram turn down louder audio.
TARGET = -14.0
# dBTP: half a decibel below the documented peak, since AAC encoding raises peaks a little.
_PEAK = -2.0
# LUFS: audio below this level is only noise, so it is not amplified, unless somebody speaks in it.
_SILENCE = -50.0
# In such audio, speech is louder than the pauses between the words, at the median, by at least so
# many decibels; noise is as loud in them. Speech in the noise of a street is louder by about 10.
_ABOVE_PAUSES = 6.0
# The levels a second by which they are compared, and how many of them must be pauses; with fewer,
# the quietest percents of the levels, which are between syllables, stand for the pauses.
_LEVELS_PER_SECOND, _FEWEST, _QUIETEST = 100, 30, 5
# LUFS: the lowest result of a measurement (BS.1770-4, absolute gate).
_LOWEST = -70.0
# Decibels: limiting takes up to 2 from speech that was recorded without a compressor. How near the
# result must be, the most that is added because of limiting, and the most measurements of it.
# Limiting peaks by less than `_HARMLESS` takes less than a tenth, and is not measured.
_CLOSE, _MOST_LIMITED, _LIMITED_PASSES, _HARMLESS = 0.3, 6.0, 3, 3.0
# Samples per second while limiting: without oversampling, a limiter misses peaks between samples
# (BS.1770-4, annex 2).
_LIMITER_RATE = 192_000
_LIMIT = {"limit": f"{_PEAK}dB", "level": "disabled", "latency": 1}
_MEASURED_RATE = 48_000


def measure_loudness(
    path: Path,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    cuts: Sequence[TimeRange] = (),
) -> float:
    """The integrated loudness in LUFS of the file at `path`, mixed to stereo.

    Measures the audio frames at `start ≤ t < end`, in seconds, but for those in `cuts`, whose times
    count from `start`. Returns -inf without audio and for silence. Raises the errors of `isolated`.
    """
    return isolated(path.name, _measure_loudness, path, start, end, cuts)


def _measure_loudness(
    path: Path, start: Fraction, end: Fraction | None, cuts: Sequence[TimeRange]
) -> float:
    return _measure(path, start, end, cuts)[0]


def _measure(
    path: Path,
    start: Fraction,
    end: Fraction | None,
    cuts: Sequence[TimeRange],
    gain: float | None = None,
) -> tuple[float, float]:
    """The loudness in LUFS, and the highest sample in decibels below full scale; with a `gain` in
    decibels, of the amplified and limited audio."""
    loudness, highest = "nan", 0.0
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            return -math.inf, -math.inf
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(template=stream),
            graph.add("aformat", "channel_layouts=stereo"),
            *(graph.add(*each) for each in ([] if gain is None else _limiter(gain))),
            graph.add("ebur128", "metadata=1:framelog=quiet"),
            graph.add("abuffersink"),
        ).configure()
        for frame in container.decode(stream):
            time = (frame.pts or 0) * (frame.time_base or 0)
            is_cut = any(cut.start <= time - start < cut.end for cut in cuts)
            if time >= start and (end is None or time < end) and not is_cut:
                graph.push(frame)
                for measured in _pull_frames(graph):
                    loudness = measured.metadata.get("lavfi.r128.I", loudness)
                    highest = max(highest, float(np.abs(measured.to_ndarray()).max()))
    result, peak = float(loudness), 20 * math.log10(max(highest, 1e-6))
    return -math.inf if math.isnan(result) else result, peak


def normal_loudness(
    path: Path,
    start: Fraction,
    end: Fraction,
    cuts: Sequence[TimeRange] = (),
    words: Sequence[tuple[float, float]] = (),
) -> float:
    """The loudness from which `normalize` brings a part to the target, in LUFS; -inf for noise.

    It is that of `measure_loudness`, less what the limiter takes from audio with high peaks. Quiet
    audio is speech rather than noise if the `words`, their starts and ends in seconds from
    `start`, are louder than the pauses: a quiet recording of speech can be as quiet as the noise
    of another. Raises the errors of `isolated`.
    """
    return isolated(path.name, _normal_loudness, path, start, end, cuts, words)


def _normal_loudness(
    path: Path,
    start: Fraction,
    end: Fraction,
    cuts: Sequence[TimeRange],
    words: Sequence[tuple[float, float]],
) -> float:
    loudness, peak = _measure(path, start, end, cuts)
    if loudness <= _SILENCE:
        levels = np.array(_measure_levels(path, start, end, _LEVELS_PER_SECOND))
        if loudness <= _LOWEST or not _is_speech(levels, words):
            return -math.inf
    gain, nearest = TARGET - loudness, math.inf
    following, most = gain, gain + _MOST_LIMITED
    for _ in range(_LIMITED_PASSES):
        if peak + following < _PEAK + _HARMLESS:
            break
        missing = TARGET - _measure(path, start, end, cuts, following)[0]
        if missing >= nearest:
            # Louder pauses count as speech then, by which the average is lower.
            break
        gain, nearest = following, missing
        if missing < _CLOSE:
            break
        following = min(gain + missing, most)
    return TARGET - gain


def _is_speech(levels: NDArray[np.float64], words: Sequence[tuple[float, float]]) -> bool:
    said = np.zeros(len(levels), dtype=bool)
    for begins, ends in words:
        said[int(begins * _LEVELS_PER_SECOND) : math.ceil(ends * _LEVELS_PER_SECOND)] = True
    if not said.any():
        return False
    pauses = levels[~said]
    quiet = np.median(pauses) if len(pauses) >= _FEWEST else np.percentile(levels, _QUIETEST)
    return bool(np.median(levels[said]) - quiet >= _ABOVE_PAUSES)


# Decibels below full scale that stand for digital silence, and for no sound.
_NO_SOUND = -120.0


def measure_levels(path: Path, start: Fraction, end: Fraction, per_second: int) -> list[float]:
    """The level of the file at `path` from `start` to `end` seconds: `per_second` times a second,
    in decibels below full scale, all channels together. Raises the errors of `isolated`."""
    return isolated(path.name, _measure_levels, path, start, end, per_second)


def _measure_levels(path: Path, start: Fraction, end: Fraction, per_second: int) -> list[float]:
    count = math.ceil((end - start) * per_second)
    power, samples = np.zeros(count), np.zeros(count)
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        frames = container.decode(stream) if isinstance(stream, av.AudioStream) else ()
        resampler = av.AudioResampler("fltp")
        for frame in frames:
            begins = float((frame.pts or 0) * (frame.time_base or 0) - start)
            for part in resampler.resample(frame):
                sound = part.to_ndarray()
                places = ((begins + np.arange(sound.shape[1]) / part.sample_rate) * per_second) // 1
                inside = (places >= 0) & (places < count)
                chosen = places[inside].astype(np.int64)
                squares = np.square(sound[:, inside], dtype=np.float64).mean(axis=0)
                power += np.bincount(chosen, squares, minlength=count)
                samples += np.bincount(chosen, minlength=count)
                begins += part.samples / part.sample_rate
    levels = 10 * np.log10(np.maximum(power / np.maximum(samples, 1), 1e-12))
    return list(map(float, np.maximum(levels, _NO_SOUND)))


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
    """`stream` in stereo at the target level, from `loudness` LUFS; as it is if that is -inf."""
    stream = stream.filter("aformat", channel_layouts="stereo")
    if loudness > -math.inf:
        stream = stream.filter("volume", f"{TARGET - loudness:.2f}dB")
    return stream


def _limiter(gain: float) -> list[tuple[str, str]]:
    """The filters of `amplified` and `limited`, without the last resampling."""
    options = ":".join(f"{name}={value}" for name, value in _LIMIT.items())
    return [
        ("volume", f"{gain:.2f}dB"),
        ("aresample", str(_LIMITER_RATE)),
        ("alimiter", options),
        ("aresample", str(_MEASURED_RATE)),
    ]


def limited(stream: Any, sample_rate: int) -> Any:
    """`stream` with its true peaks limited."""
    return (
        stream.filter("aresample", _LIMITER_RATE)
        .filter("alimiter", **_LIMIT)
        .filter("aresample", sample_rate)
        .filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    )
