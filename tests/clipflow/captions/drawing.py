"""Renders captions on a plain grey picture, and measures what each frame shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg as command
import numpy as np
from numpy.typing import NDArray

from clipflow.captions.ass import burned_in
from clipflow.captions.drawing import captions
from clipflow.captions.hook import PlacedHook
from clipflow.captions.typefaces import display_typeface
from clipflow.domain.caption_styles import CaptionStyle, packaged_style
from clipflow.domain.transcript import Word
from clipflow.media import ffmpeg
from tests.made_media import a_machine

CENTRE_Y = 1250
_TIMESCALE = 90_000
_GREY = 80


def words_of(text: str, at: float = 0.0, each: float = 0.4) -> list[Word]:
    """The words of `text`, one after the other without a pause."""
    return [
        Word(text=word, start=round(at + n * each, 3), end=round(at + (n + 1) * each, 3))
        for n, word in enumerate(text.split(" "))
    ]


@dataclass(frozen=True)
class DrawnFrame:
    """A frame's pixels that are not grey, and its pixels that are yellow at half the resolution."""

    time: Fraction
    ink: NDArray[np.bool_]
    yellow: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of all that is drawn."""
        rows, columns = np.nonzero(self.ink)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1

    def has_text_of(self, other: "DrawnFrame") -> bool:
        """Whether both frames show the same words at the same place, in any colours.

        Up to 5 % of the pixels may differ: where white or yellow blends into the outline, some
        are as bright as the grey.
        """
        return self.box == other.box and int((self.ink != other.ink).sum()) < 0.05 * self.ink.sum()

    @property
    def highlight_x(self) -> float:
        """The centre of the highlighted word, in pixels from the left."""
        return 2 * float(np.nonzero(self.yellow)[1].mean())


def render_captions(
    words: Sequence[Word],
    times: Sequence[Fraction],
    folder: Path,
    style: str | CaptionStyle = "karaoke",
    name: str = "captions.ass",
    hook: PlacedHook | None = None,
    size: tuple[int, int] = (1080, 1920),
    centre: int = CENTRE_Y,
) -> list[DrawnFrame]:
    """Render frames at `times` with the captions of `words`, and decode them."""
    ass_path, made = folder / name, folder / "made.nut"
    stamps = [round(time * _TIMESCALE) for time in times]
    shown = [Fraction(stamp, _TIMESCALE) for stamp in stamps]
    looks = packaged_style(style) if isinstance(style, str) else style
    font = display_typeface(looks.font) if looks else None
    text = captions(words, shown, looks, centre, size, font, hook)
    ass_path.write_text(text, encoding="utf-8")
    grey = f"color=c=0x{_GREY:02x}{_GREY:02x}{_GREY:02x}:s={size[0]}x{size[1]}:r=1"
    stream = command.input(grey, format="lavfi").filter("format", "yuv420p")
    stream = stream.filter("trim", end_frame=len(stamps)).filter("settb", f"1/{_TIMESCALE}")
    stream = stream.filter("setpts", _stamp(stamps, 0))
    output = command.output(
        burned_in(stream, ass_path),
        str(made),
        vcodec="libx264",
        preset="ultrafast",
        qp=0,
        fps_mode="passthrough",
        enc_time_base=f"1:{_TIMESCALE}",
    )
    ffmpeg.run([*map(str, command.get_args(output))], "drawing captions", a_machine(), 120)
    with av.open(str(made)) as container:
        frames = [_measured(frame, size) for frame in container.decode(video=0)]
    assert [frame.time for frame in frames] == shown
    return frames


def _stamp(stamps: list[int], first: int) -> str:
    """An ffmpeg expression of frame N's timestamp, as a binary tree: ffmpeg limits the nesting."""
    if len(stamps) == 1:
        return str(stamps[0])
    half = len(stamps) // 2
    low, high = _stamp(stamps[:half], first), _stamp(stamps[half:], first + half)
    return f"if(lt(N,{first + half}),{low},{high})"


def _measured(frame: av.VideoFrame, size: tuple[int, int]) -> DrawnFrame:
    assert frame.pts is not None and frame.time_base is not None
    planes = frame.to_ndarray(format="yuv420p")
    width, height = size
    luma = planes[:height].astype(int)
    plane = frame.planes[1]
    blue = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[
        : height // 2, : width // 2
    ]
    return DrawnFrame(frame.pts * frame.time_base, abs(luma - luma[0, 0]) > 8, blue < 80)
