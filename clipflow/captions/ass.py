"""ASS files: texts, colours, boxes and times as libass reads them, and its ffmpeg filter.

`escaped` prevents libass from reading any part of a text as a command.

ASS counts hundredths of a second, and ffmpeg passes libass the time of a frame truncated to whole
milliseconds. A change at frame n is therefore written as the hundredth that is nearest to the
middle between frames n - 1 and n, so rounding cannot move it past a frame.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from unicodedata import bidirectional

import pysubs2

from clipflow.captions.typefaces import FOLDER, Run, Typeface, typeface_of

WIDTH, HEIGHT = 1080, 1920
_STYLE = "Caption"
# libass then derives the direction of each row from its text: right to left for Arabic and Hebrew.
_DIRECTION_OF_TEXT = -1
# A character without width. Inserted after a backslash, it keeps libass from reading a command.
_WORD_JOINER = "\u2060"
# Characters without width that set the direction of the row they begin.
LEFT_TO_RIGHT, RIGHT_TO_LEFT = "\u200e", "\u200f"
# Later layers are drawn over earlier ones.
BOXES, SHADOWS, TEXT, FILLS, HOOK_BOXES, HOOK = range(6)
# Colours of text before any tag: white with a black outline.
WHITE, BLACK, _DEFAULT_OUTLINE = "#FFFFFF", "#000000", 6


def empty_subtitles(size: tuple[int, int]) -> pysubs2.SSAFile:
    subtitles = pysubs2.SSAFile()
    subtitles.info |= {
        "PlayResX": str(size[0]),
        "PlayResY": str(size[1]),
        "WrapStyle": "2",  # rows end only at explicit line breaks
        "ScaledBorderAndShadow": "yes",
    }
    subtitles.styles = {
        _STYLE: pysubs2.SSAStyle(
            fontname=_family_of(" "),
            bold=True,
            primarycolor=pysubs2.Color(255, 255, 255),
            outlinecolor=pysubs2.Color(0, 0, 0),
            outline=_DEFAULT_OUTLINE,
            shadow=0,
            alignment=pysubs2.Alignment.MIDDLE_CENTER,
            encoding=_DIRECTION_OF_TEXT,
        )
    }
    return subtitles


def burned_in(stream: Any, ass_path: Path, fonts: Path | None = None) -> Any:
    """`stream` with the captions of `ass_path` drawn on it, in the fonts of a folder; None for the
    included ones.

    Its first frame must be at time 0, and its frames must have the times passed to `captions`.
    """
    return stream.filter("ass", filename=str(ass_path), fontsdir=str(fonts or FOLDER))


def event(start: int, end: int, text: str, layer: int = TEXT) -> pysubs2.SSAEvent:
    """An event from `start` to `end` milliseconds."""
    return pysubs2.SSAEvent(start=start, end=end, style=_STYLE, text=text, layer=layer)


def position(x: float, y: float) -> str:
    return f"\\pos({x:.1f},{y:.1f})".replace(".0,", ",").replace(".0)", ")")


def colour_tags(number: int, colour: str, present: str) -> str:
    """Tags that set colour `number` (1: text, 3: outline), and its opacity if it has one; empty if
    it is `present` already."""
    if colour == present:
        return ""
    red, green, blue, *alpha = (colour[at : at + 2] for at in range(1, len(colour), 2))
    # ASS counts transparency, and in the order blue, green, red.
    opacity = f"\\{number}a&H{255 - int(alpha[0], 16):02X}&" if alpha else ""
    return f"\\{number}c&H{blue}{green}{red}&{opacity}"


def with_opacity(colour: str) -> str:
    """The colour as `#RRGGBBAA`."""
    return colour if len(colour) == 9 else f"{colour}FF"


def drawn_text(runs: Sequence[Run]) -> str:
    """Text in its fonts, which libass draws literally."""
    return "".join(f"{{\\fn{run.face.family}}}{escaped(run.text)}" for run in runs)


def escaped(text: str) -> str:
    """`text` escaped for libass, which draws it literally."""
    escaped = text.replace("\\", "\\" + _WORD_JOINER)
    return escaped.replace("{", r"\{").replace("}", r"\}")


def family_tag(character: str, font: Typeface | None = None) -> str:
    face = typeface_of(character, font)
    assert face
    return f"{{\\fn{face.family}}}"


def _family_of(character: str) -> str:
    face = typeface_of(character)
    assert face
    return face.family


def right_to_left_excess(text: str) -> int:
    """The number of right-to-left letters minus the number of left-to-right letters."""
    classes = Counter(map(bidirectional, text))
    return classes["R"] + classes["AL"] - classes["L"]


@dataclass(frozen=True)
class Rectangle:
    """A rectangle with round corners, in pixels."""

    left: float
    top: float
    right: float
    bottom: float
    radius: float = 0

    def text(self, colour: str) -> str:
        """The text of an event that draws it, by ASS's vector commands."""
        across, down = round(self.right - self.left), round(self.bottom - self.top)
        r = round(min(self.radius, across / 2, down / 2))
        # The distance of a Bézier curve's control point by which it comes nearest to a circle.
        c = round(r * 0.448)
        path = (
            f"m {r} 0 l {across - r} 0 b {across - c} 0 {across} {c} {across} {r} "
            f"l {across} {down - r} b {across} {down - c} {across - c} {down} {across - r} {down} "
            f"l {r} {down} b {c} {down} 0 {down - c} 0 {down - r} l 0 {r} b 0 {c} {c} 0 {r} 0"
        )
        tags = f"\\an7{position(round(self.left), round(self.top))}\\bord0\\shad0\\p1"
        return f"{{{tags}{colour_tags(1, colour, '')}}}{path}"


# Hundredths of a second for which the last caption is shown after the last frame.
_AFTER_THE_END = 100


class FrameClock:
    """The frames of a short, by their sorted display times in seconds."""

    def __init__(self, frame_times: Sequence[Fraction]) -> None:
        self._times = frame_times
        self.count = len(frame_times)

    def frame_at(self, time: Fraction) -> int:
        """The first frame shown at `time` or later; the number of frames if there is none."""
        return bisect_left(self._times, time)

    def hundredths(self, frame: int) -> int:
        """A time after frame `frame - 1` and not after `frame`, in hundredths of a second."""
        if frame == 0:
            return 0
        if frame == self.count:
            return round(100 * self._times[-1]) + _AFTER_THE_END
        return round(50 * (self._times[frame - 1] + self._times[frame]))
