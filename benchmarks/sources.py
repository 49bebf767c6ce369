"""The sources: made by ffmpeg, the same on every run, and left in a folder for the next one.

A source of hours is a block of four closed groups of pictures, encoded once and repeated by copy:
it costs no more to make than the block, and to decode as much as any other of its length.
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
# Closed groups of one length, whatever the picture does.
_CLOSED = f"keyint={_GOP}:min-keyint={_GOP}:scenecut=0:open-gop=0"
_BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
_H264 = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p", *_BT709)
# 1080p of this makes 7 Mbit/s, which is what a good recording has.
_NOISE = "noise=alls=6:allf=t"


@dataclass(frozen=True)
class Extent:
    """How much is measured. Sizes in pixels, lengths and times in seconds.

    `cut` and `early` begin and `late` begins in the middle of a group of pictures, `early` and
    `late` at the same place of the repeated block, so that their pictures are the same.
    """

    name: str
    size: tuple[int, int]
    short: int
    long: int
    cut: Span
    early: Span
    late: Span
    read: tuple[Span, ...]
    moment: Span
    mapped: tuple[int, ...]


def _span(start: float, seconds: float) -> Span:
    begin = Fraction(str(start))
    return Span(begin, begin + Fraction(str(seconds)))


def _five(starts: Sequence[float], seconds: float) -> tuple[Span, ...]:
    return tuple(_span(start, seconds) for start in starts)


FULL = Extent(
    name="full",
    size=(1920, 1080),
    short=20 * 60,
    long=120 * 60,
    cut=_span(15 * 60, 45),
    early=_span(60, 45),
    late=_span(110 * 60 + 20, 45),
    read=_five((62.5, 305.1, 551.7, 803.3, 1100.9), 45),
    moment=_span(9 * 60 + 3, 10),
    mapped=(1, 10, 100, 1000),
)
QUICK = Extent(
    name="quick",
    size=(480, 270),
    short=96,
    long=192,
    cut=_span(60, 12),
    early=_span(28, 6),
    late=_span(156, 6),
    read=_five((6.5, 21.1, 37.7, 53.3, 75.9), 6),
    moment=_span(43, 2),
    mapped=(1, 10),
)


@dataclass(frozen=True)
class Sources:
    """Files in `folder`; each is made when it is first requested."""

    folder: Path
    extent: Extent

    @property
    def short(self) -> Path:
        """The one of twenty minutes."""
        return self._repeated(self.extent.short)

    @property
    def long(self) -> Path:
        """The one of two hours."""
        return self._repeated(self.extent.long)

    @property
    def background(self) -> Path:
        """A video of a stack's lower half."""
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
    """The file at `path`, made by ffmpeg unless it is there; never a half of it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}{path.suffix}")
        ffmpeg(*arguments, str(unfinished))
        unfinished.rename(path)
    return path
