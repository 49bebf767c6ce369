"""Benchmark of rendering: the cost of a short, compared with alternatives and with a lower bound.

The alternatives encode the picture two, three or four times. Each makes the same 1080x1920 short of
the same seconds: cut, cropped, stacked on the same background, with the same captions. The quality
of each is measured against a lossless render of the same short, to show whether the comparison is
fair.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmarks.measure import Cost, Finding, median_costs
from benchmarks.programs import CORES, ffmpeg, ffmpeg_with_vmaf, run
from benchmarks.sources import RATE, Sources
from benchmarks.warehouse import Warehouse
from clipflow.captions.drawing import captions
from clipflow.captions.typefaces import FOLDER
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.layouts import Layout
from clipflow.domain.transcript import Word
from clipflow.jobs.picture import ENCODER
from clipflow.media.ffmpeg import executable
from clipflow.media.window import Span

_FAST = ("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p")
_USUAL = ("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-pix_fmt", "yuv420p")
_LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p")
_STACK = "[0:v]{crop}pad=1080:1920:0:0[a];[a][1:v]overlay=y=960:shortest=1{captions}"
_WORD_SECONDS = 0.5
# Frames are compared by number, because rounded times would pair a frame with its predecessor. All
# get the same colour tags, because ffmpeg would convert a picture without them.
_COUNTED = (
    f"settb=1/{RATE},setpts=N,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)


@dataclass(frozen=True)
class Alternatives:
    """Renders the short in other ways. Each method writes a file into `folder`.

    `span` is the rendered part of `source`, and `size` is the size of the source in pixels.
    """

    source: Path
    background: Path
    span: Span
    size: tuple[int, int]
    folder: Path

    def two_encodes(self) -> Path:
        return self._stacked(self._cut(), "two.mp4", f"{self._crop},", self._captions)

    def three_encodes(self) -> Path:
        stacked = self._stacked(self._cut(), "stacked.mp4", f"{self._crop},", "")
        return self._filtered(stacked, "three.mp4", self._captions.lstrip(","))

    def four_encodes(self) -> Path:
        cropped = self._filtered(self._cut(), "cropped.mp4", self._crop)
        stacked = self._stacked(cropped, "stacked.mp4", "", "")
        return self._filtered(stacked, "four.mp4", self._captions.lstrip(","))

    def lossless(self) -> Path:
        """The reference of the quality: one pass with a lossless encoder."""
        graph = _STACK.format(crop=f"{self._crop},", captions=self._captions)
        path, filters = self.folder / "lossless.mp4", ("-filter_complex", graph)
        ffmpeg(*self._span, *self._inputs(self.source), *filters, *_LOSSLESS, "-an", str(path))
        return path

    def decode(self) -> None:
        """Only decode: the source from the keyframe before the span on, and the background."""
        null = ("-map", "0:v", "-f", "null", "-")
        ffmpeg(*self._span, "-i", str(self.source), *null)
        ffmpeg("-t", str(float(self.span.duration)), "-i", str(self.background), *null)

    @property
    def words(self) -> list[Word]:
        """Generated words for the captions, two per second; times in seconds of the source."""
        start = float(self.span.start)
        count = int(float(self.span.duration) / _WORD_SECONDS)
        times = [start + n * _WORD_SECONDS for n in range(count)]
        return [Word(text=f"word{n}", start=t, end=t + 0.45) for n, t in enumerate(times)]

    @property
    def _span(self) -> tuple[str, ...]:
        return ("-ss", str(float(self.span.start)), "-t", str(float(self.span.duration)))

    @property
    def _crop(self) -> str:
        # clipflow's crop of a picture without faces: in the middle, at an even pixel.
        width, height = self.size
        wide = 2 * round(height * Fraction(9, 8) / 2)
        left = 2 * round((width - wide) // 2 * 2 / 4 + 0.01)
        return f"crop={wide}:{height}:{left}:0,scale=1080:960,setsar=1"

    @property
    def _captions(self) -> str:
        path, start = self.folder / "captions.ass", float(self.span.start)
        spoken = [
            w.model_copy(update={"start": w.start - start, "end": w.end - start})
            for w in self.words
        ]
        times = [Fraction(n, RATE) for n in range(int(self.span.duration * RATE))]
        centre = round(1920 * Layout.STACK.captions)
        path.write_text(captions(spoken, times, packaged_style("karaoke"), centre))
        return f",ass={path}:fontsdir={FOLDER}"

    def _inputs(self, picture: Path) -> tuple[str, ...]:
        return ("-i", str(picture), "-i", str(self.background))

    def _cut(self) -> Path:
        path = self.folder / "cut.mp4"
        ffmpeg(*self._span, "-i", str(self.source), *_FAST, str(path))
        return path

    def _stacked(self, picture: Path, name: str, crop: str, drawn: str) -> Path:
        graph = _STACK.format(crop=crop, captions=drawn)
        path = self.folder / name
        filters = ("-filter_complex", graph)
        ffmpeg(*self._inputs(picture), *filters, "-map", "0:a", *_USUAL, str(path))
        return path

    def _filtered(self, picture: Path, name: str, filters: str) -> Path:
        path = self.folder / name
        ffmpeg("-i", str(picture), "-vf", filters, *_USUAL, str(path))
        return path


@dataclass(frozen=True)
class Similarity:
    """The similarity of two videos: SSIM, up to 1, and VMAF, up to 100, if it is available."""

    ssim: float
    vmaf: float | None

    def __str__(self) -> str:
        return f"SSIM {self.ssim:.4f}" + ("" if self.vmaf is None else f", VMAF {self.vmaf:.1f}")

    def __ge__(self, other: "Similarity") -> bool:
        """Compares VMAF, which models human perception, if both have it; otherwise SSIM."""
        if self.vmaf is None or other.vmaf is None:
            return self.ssim >= other.ssim - 0.0005
        return self.vmaf >= other.vmaf - 0.1


def similarity(made: Path, expected: Path) -> Similarity:
    """The similarity of `made` to `expected`, whose frames are paired by number."""
    program = ffmpeg_with_vmaf()
    ssim = _measure(executable(), "ssim", made, expected, r"All:([\d.]+)")
    vmaf = None
    if program:
        comparison = f"libvmaf=n_threads={CORES}"
        vmaf = _measure(program, comparison, made, expected, r"VMAF score: ([\d.]+)")
    return Similarity(ssim, vmaf)


def _measure(program: str, comparison: str, made: Path, expected: Path, pattern: str) -> float:
    graph = f"[0:v]{_COUNTED}[a];[1:v]{_COUNTED}[b];[a][b]{comparison}"
    inputs = ("-i", str(made), "-i", str(expected))
    command = (program, "-nostdin", "-hide_banner", *inputs, "-lavfi", graph, "-f", "null", "-")
    text = run(*command).stderr
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def benchmark(sources: Sources, bucket: Warehouse, rounds: int) -> list[Finding]:
    """Render with clipflow and with each alternative, and compare costs and quality."""
    span = sources.extent.moment
    alternatives = Alternatives(
        sources.short, sources.background, span, sources.extent.size, bucket.folder
    )
    bucket.link(sources.short, "talk.mp4")
    bucket.link(sources.background, "background.mp4")
    made: dict[str, Path] = {}

    def whole() -> Path:
        return bucket.short("talk.mp4", span, alternatives.words, "background.mp4")

    def again() -> Path:
        return bucket.short_again(span, "background.mp4")

    def recording(way: Callable[[], Path]) -> Callable[[], None]:
        return lambda: made.update({way.__name__: way()})

    lossless = alternatives.lossless()
    raw = lossless.with_suffix(".yuv")
    ffmpeg("-i", str(lossless), "-f", "rawvideo", str(raw))
    shorts = (
        again,
        alternatives.two_encodes,
        alternatives.three_encodes,
        alternatives.four_encodes,
    )
    # `again` uses what `whole` stores. The segment is cut once, before anything is measured.
    whole()
    ways: dict[str, Callable[[], object]] = {"whole": whole}
    ways |= {way.__name__: recording(way) for way in shorts}
    ways |= {
        "thumbnail": bucket.thumbnail,
        "decode": alternatives.decode,
        "encode": lambda: encode(raw),
    }
    costs = median_costs(ways, rounds)
    costs["ours"] = costs["again"].without(costs["thumbnail"])
    similarities = {name: similarity(path, lossless) for name, path in made.items()}
    raw.unlink()
    return [*vs_alternatives(costs, similarities), *vs_floor(costs)]


def encode(raw: Path) -> None:
    """Only encode the final frames, with clipflow's x264 settings."""
    given = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "1080x1920", "-r", str(RATE))
    ours = [part for name, value in ENCODER.items() for part in (f"-{name}", str(value))]
    ffmpeg(*given, "-i", str(raw), *ours, "-threads", str(CORES), "-f", "null", "-")


def vs_alternatives(costs: dict[str, Cost], similarities: dict[str, Similarity]) -> list[Finding]:
    targets = {"four_encodes": 0.2, "three_encodes": None, "two_encodes": None}
    ours, similarity = costs["ours"], similarities["again"]
    return [
        Finding(
            f"render/vs-{way.replace('_', '-')}",
            ours.cpu / costs[way].cpu,
            target,
            f"ours {ours}, {similarity}; {way.replace('_', ' ')} {costs[way]}, {similarities[way]}",
            holds=similarity >= similarities[way],
        )
        for way, target in targets.items()
    ]


def vs_floor(costs: dict[str, Cost]) -> list[Finding]:
    ours, whole, floor = costs["ours"], costs["whole"], costs["decode"].cpu + costs["encode"].cpu
    detail = f"ours {ours}; decoding {costs['decode']}, encoding {costs['encode']}"
    more = f"{whole} with the framing and the thumbnail, which takes {costs['thumbnail']}"
    return [
        Finding("render/vs-floor", ours.cpu / floor, 1.25, detail),
        Finding("render/whole-vs-floor", whole.cpu / floor, None, more),
    ]
