"""What one short costs, against the usual ways of two, three and four encodes of the same picture.

    python -m benchmarks.render [SECONDS]

Every way makes a 1080x1920 short from the same seconds of a noisy 1080p30 source: cut, cropped,
stacked on a background, captioned. Processor time of ffmpeg and of the analysis; ratios to ours, in
one run.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clipflow.captions.ass import captions
from clipflow.domain.shorts import CaptionStyle, Layout
from clipflow.domain.transcript import Word
from clipflow.media import ffmpeg
from clipflow.media.cut import cut
from clipflow.media.form import common_form
from clipflow.media.loudness import loudness
from clipflow.media.probe import probe
from clipflow.media.source import LocalSource
from clipflow.media.window import Span, fetch
from clipflow.reframe.follow import crop_path
from clipflow.shorts.picture import Ingredients, crop_aspect, render_command

SOURCE_SECONDS = 40
USUAL = ("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-pix_fmt", "yuv420p")
FAST = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p")
CROP = "crop=1080:960"
BELOW = ("-f", "lavfi", "-i", "gradients=s=270x240:r=25:seed=1")
STACKED = (
    "[0:v]{crop}pad=1080:1920:0:0[a];[1:v]scale=1080:960[b];[a][b]overlay=y=960:shortest=1{ass}"
)


def spent() -> float:
    """Seconds of processor time, of this process and of those it has waited for."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


def run(*arguments: str) -> None:
    subprocess.run([ffmpeg.executable(), "-nostdin", "-v", "error", "-y", *arguments], check=True)


class Ways:
    """Each makes the short of `span` in `folder`."""

    def __init__(self, folder: Path, span: Span) -> None:
        self.folder, self.span = folder, span
        self.source = self._source()
        self.captions = folder / "captions.ass"
        self.words = [
            Word(text=f"word{n}", start=n / 2, end=n / 2 + 0.45)
            for n in range(int(span.duration) * 2)
        ]
        times = [Fraction(n, 30) for n in range(int(span.duration) * 30)]
        self.captions.write_text(captions(self.words, times, CaptionStyle.KARAOKE, 960))

    def ours(self) -> None:
        known = probe(LocalSource(self.source))
        window = fetch(LocalSource(self.source), known, self.span, self.folder / "window.nut")
        segment = self.folder / "segment.mp4"
        cut(window, known, common_form([known]), segment, threads=2)
        aspect = crop_aspect(Layout.STACK)
        assert aspect
        made_of = Ingredients(
            segment=segment,
            known=probe(LocalSource(segment)),
            layout=Layout.STACK,
            crop=crop_path(segment, aspect),
            background=None,
            captions=self.captions,
            loudness=loudness(segment),
        )
        ffmpeg.run(render_command(made_of, self.folder / "ours.mp4", 2), "rendering", 3600)

    def two(self) -> None:
        self._cut()
        self._stack("segment.mp4", "two.mp4", f"{CROP},", f",ass={self.captions}")

    def three(self) -> None:
        self._cut()
        self._stack("segment.mp4", "stacked.mp4", f"{CROP},", "")
        self._subtitle("stacked.mp4", "three.mp4")

    def four(self) -> None:
        self._cut()
        run("-i", self._in("segment.mp4"), "-vf", CROP, *USUAL, self._in("cropped.mp4"))
        self._stack("cropped.mp4", "stacked.mp4", "", "")
        self._subtitle("stacked.mp4", "four.mp4")

    def _cut(self) -> None:
        span = ("-ss", str(float(self.span.start)), "-t", str(float(self.span.duration)))
        run(*span, "-i", str(self.source), *FAST, self._in("segment.mp4"))

    def _stack(self, name: str, to: str, crop: str, ass: str) -> None:
        graph = STACKED.format(crop=crop, ass=ass)
        run("-i", self._in(name), *BELOW, "-filter_complex", graph, *USUAL, self._in(to))

    def _subtitle(self, name: str, to: str) -> None:
        run("-i", self._in(name), "-vf", f"ass={self.captions}", *USUAL, self._in(to))

    def _in(self, name: str) -> str:
        return str(self.folder / name)

    def _source(self) -> Path:
        path = self.folder / "source.mp4"
        picture = f"testsrc2=s=1920x1080:r=30:d={SOURCE_SECONDS},noise=alls=6:allf=t"
        sound = f"sine=f=220:r=48000:d={SOURCE_SECONDS}"
        run("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *FAST, "-g", "240", str(path))
        return path


def measured(ways: Sequence[Callable[[], None]]) -> list[tuple[str, float, float]]:
    """Name, processor seconds and wall seconds of each."""
    found = []
    for way in ways:
        began, before = time.monotonic(), spent()
        way()
        found.append((way.__name__, spent() - before, time.monotonic() - began))
    return found


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as folder:
        ways = Ways(Path(folder), Span(Fraction(20), Fraction(20 + seconds)))
        found = measured([ways.ours, ways.two, ways.three, ways.four])
    table = Table("way", "processor s", "wall s", "times ours")
    for name, processor, wall in found:
        table.add_row(name, f"{processor:.1f}", f"{wall:.1f}", f"{processor / found[0][1]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
