"""The sources of the benchmarks, which ffmpeg generates once and which are kept in a folder.

A long source is a block of four closed groups of pictures that is encoded once and repeated by
stream copy. Making it costs no more than the block, and decoding it as much as any other source of
its length.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmarks.programs import ffmpeg
from clipflow.media.window import Span

RATE, GOP_SECONDS, GOPS = 30, 8, 4
BLOCK_SECONDS = GOP_SECONDS * GOPS
_GOP = GOP_SECONDS * RATE
# Closed groups of equal length, independent of the content.
_CLOSED = f"keyint={_GOP}:min-keyint={_GOP}:scenecut=0:open-gop=0"
_BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
_H264 = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p", *_BT709)
# With this noise, 1080p has 7 Mbit/s, like a good recording.
_NOISE = "noise=alls=6:allf=t"


@dataclass(frozen=True)
class Extent:
    """The sizes and times of a whole run of the benchmarks, in pixels and seconds.

    `cut`, `early` and `late` begin in the middle of a group of pictures. `early` and `late` begin
    at the same position of the repeated block, so their pictures are the same.

    Attributes:
        short: length of the shorter source.
        long: length of the longer source.
        cut: the span that is cut from the shorter source.
        early: a span near the start of the longer source.
        late: a span near the end of the longer source.
        brief: ten short spans of the shorter source, which begin anywhere in a group of pictures.
        read: the spans whose reads are counted.
        moment: the span that is rendered as a short.
        mapped: numbers of tasks of the flow that measures orchestration.
        events_alone: number of events that are sent one after the other.
        events_at_once: number of events that are sent at once.
    """

    name: str
    size: tuple[int, int]
    short: int
    long: int
    cut: Span
    early: Span
    late: Span
    brief: tuple[Span, ...]
    read: tuple[Span, ...]
    moment: Span
    mapped: tuple[int, ...]
    events_alone: int
    events_at_once: int


def _span(start: float, seconds: float) -> Span:
    begin = Fraction(str(start))
    return Span(begin, begin + Fraction(str(seconds)))


def _spans(starts: Sequence[float], seconds: float) -> tuple[Span, ...]:
    return tuple(_span(start, seconds) for start in starts)


FULL = Extent(
    name="full",
    size=(1920, 1080),
    short=20 * 60,
    long=120 * 60,
    cut=_span(15 * 60, 45),
    early=_span(60, 45),
    late=_span(110 * 60 + 20, 45),
    brief=_spans([60 + 61.3 * n for n in range(10)], 3),
    read=_spans((62.5, 305.1, 551.7, 803.3, 1100.9), 45),
    moment=_span(9 * 60 + 3, 10),
    mapped=(1, 10, 100, 1000),
    events_alone=20,
    events_at_once=200,
)
QUICK = Extent(
    name="quick",
    size=(480, 270),
    short=96,
    long=192,
    cut=_span(60, 12),
    early=_span(28, 6),
    late=_span(156, 6),
    brief=_spans([6 + 8.3 * n for n in range(10)], 1),
    read=_spans((6.5, 21.1, 37.7, 53.3, 75.9), 6),
    moment=_span(43, 2),
    mapped=(1, 10),
    events_alone=3,
    events_at_once=20,
)


@dataclass(frozen=True)
class Sources:
    """The source files in `folder`. Each is generated when it is first used."""

    folder: Path
    extent: Extent

    @property
    def short(self) -> Path:
        """The shorter source: twenty minutes, or less with `--quick`."""
        return self._repeated(self.extent.short)

    @property
    def long(self) -> Path:
        """The longer source: two hours, or less with `--quick`."""
        return self._repeated(self.extent.long)

    @property
    def background(self) -> Path:
        """The background video, which is the lower half of a stacked short."""
        seconds = int(self.extent.moment.duration) + 1
        path = self.folder / f"background-{seconds}s.mp4"
        picture = f"mandelbrot=s=1080x960:r={RATE}:maxiter=200,trim=duration={seconds}"
        return _made(path, "-f", "lavfi", "-i", picture, *_H264)

    @property
    def _block(self) -> Path:
        width, height = self.extent.size
        picture = f"testsrc2=s={width}x{height}:r={RATE}:d={BLOCK_SECONDS},{_NOISE}"
        path = self.folder / f"block-{width}x{height}.mp4"
        return _made(path, "-f", "lavfi", "-i", picture, *_H264, "-x264-params", _CLOSED)

    def _repeated(self, seconds: int) -> Path:
        picture = ("-stream_loop", str(seconds // BLOCK_SECONDS), "-i", str(self._block))
        sound = ("-f", "lavfi", "-i", f"sine=f=220:b=4:r=48000:d={seconds}")
        codecs = ("-c:v", "copy", "-c:a", "aac", "-b:a", "128k", "-t", str(seconds))
        width, height = self.extent.size
        return _made(
            self.folder / f"source-{width}x{height}-{seconds}s.mp4", *picture, *sound, *codecs
        )


def _made(path: Path, *arguments: str) -> Path:
    """The file at `path`. If it does not exist, ffmpeg makes it, completely or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}{path.suffix}")
        ffmpeg(*arguments, str(unfinished))
        unfinished.rename(path)
    return path
