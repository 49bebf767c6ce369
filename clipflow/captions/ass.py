"""Captions as the text of an ASS file, and the ffmpeg filter that draws them.

ASS counts hundredths of a second, and ffmpeg passes libass the time of a frame truncated to whole
milliseconds. A change at frame n is therefore written as the hundredth that is nearest to the
middle between frames n - 1 and n, so rounding cannot move it past a frame.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any
from unicodedata import bidirectional

import pysubs2

from clipflow.captions.groups import FULL_SIZE, SHORT_GAP, Group, Token, groups, left_out
from clipflow.captions.typefaces import FOLDER, ROW_HEIGHT, typeface_of
from clipflow.domain.shorts import CaptionDrawing, CaptionStyle
from clipflow.domain.transcript import Word

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


def states(group: Group, following: Group | None, clock: FrameClock) -> list[int]:
    """The frame at which each token of `group` is highlighted, and the frame at which it
    disappears.

    A token that starts in the same frame as the next one is never highlighted.
    """
    starts = [clock.frame_at(token.start) for token in group.tokens]
    end = max(token.end for token in group.tokens)
    last = max(clock.frame_at(end), starts[-1] + 1)
    if following:
        next_start = following.tokens[0].start
        next_frame = clock.frame_at(next_start)
        last = next_frame if next_start - end < SHORT_GAP else min(last, next_frame)
    return [min(frame, clock.count) for frame in (*starts, last)]


logger = logging.getLogger(__name__)

WIDTH, HEIGHT = 1080, 1920
# Pixels. A shadow would be invisible behind this outline, and cost a third of the drawing time.
_OUTLINE = 6
_STYLE = "Caption"
# libass then derives the direction of each row from its text: right to left for Arabic and Hebrew.
_DIRECTION_OF_TEXT = -1
# A character without width. After a backslash it prevents that libass reads an ASS command.
_WORD_JOINER = "\u2060"
# Characters without width that set the direction of the row they begin.
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = "\u200e", "\u200f"


@dataclass(frozen=True)
class CaptionLook:
    """What all captions of a short share. `runs_left` is whether most of its text is
    right-to-left."""

    drawing: CaptionDrawing
    centre: tuple[int, int]
    runs_left: bool


def captions(
    words: Sequence[Word],
    frame_times: Sequence[Fraction],
    style: CaptionStyle,
    centre_y: int,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> str:
    """The text of an ASS file that shows `words` in a short of `size`.

    A word is highlighted from the first frame at or after its start. Text lies between 160 and 920
    pixels from the left and within 110 pixels of `centre_y`, because the platforms place their
    buttons over the right 120 to 150 pixels, the top eighth and the bottom quarter. Characters
    without a glyph in the included fonts are omitted and logged.

    Args:
        words: with times in seconds from the short's first frame.
        frame_times: the frames' sorted times in seconds from the first frame.
        centre_y: the vertical centre of the captions, in pixels from the top.
    """
    subtitles = _empty(size)
    drawing = style.drawing
    if drawing and frame_times:
        _log_left_out(left_out(words))
        clock = FrameClock(frame_times)
        look = CaptionLook(
            drawing,
            (size[0] // 2, centre_y),
            _right_to_left_excess("".join(word.text for word in words)) > 0,
        )
        shown = groups(words)
        for group, following in zip_longest(shown, shown[1:]):
            frames = states(group, following, clock)
            subtitles.events += _events(group, frames, clock, look)
    return subtitles.to_string("ass")


def burned_in(stream: Any, ass_path: Path) -> Any:
    """`stream` with the captions of `ass_path` drawn on it, in the included fonts.

    Its first frame must be at time 0, and its frames must have the times passed to `captions`.
    """
    return stream.filter("ass", filename=str(ass_path), fontsdir=str(FOLDER))


def _log_left_out(missing: list[str]) -> None:
    if missing:
        codes = ", ".join(f"U+{ord(character):04X}" for character in missing)
        logger.warning("The captions omit characters that no font has: %s.", codes)


def _empty(size: tuple[int, int]) -> pysubs2.SSAFile:
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
            outline=_OUTLINE,
            shadow=0,
            alignment=pysubs2.Alignment.MIDDLE_CENTER,
            encoding=_DIRECTION_OF_TEXT,
        )
    }
    return subtitles


def _right_to_left_excess(text: str) -> int:
    """The number of right-to-left letters minus that of left-to-right letters."""
    classes = Counter(map(bidirectional, text))
    return classes["R"] + classes["AL"] - classes["L"]


def _direction(group: Group, look: CaptionLook) -> str:
    """A prefix for the group's rows that sets their direction; empty for left-to-right text.

    Without it, a Latin name at the beginning would turn an Arabic row around.
    """
    text = "".join(token.text for token in group.tokens)
    if not {"R", "AL"} & set(map(bidirectional, text)):
        return ""
    runs_left = look.runs_left or _right_to_left_excess(text) > 0
    return _family_tag(" ") + (_RIGHT_TO_LEFT if runs_left else _LEFT_TO_RIGHT)


def _events(
    group: Group, frames: list[int], clock: FrameClock, look: CaptionLook
) -> Iterator[pysubs2.SSAEvent]:
    """One event for each state of the group; each starts when the previous one ends."""
    place = f"\\pos({look.centre[0]},{look.centre[1]})\\fs{group.size * ROW_HEIGHT:.1f}"
    outline = f"\\bord{_OUTLINE * group.size / FULL_SIZE:.1f}"
    direction = _direction(group, look)
    drawing = look.drawing
    if drawing.spoken is None:
        frames = [frames[0], frames[-1]]
    for number, (first, last) in enumerate(pairwise(frames)):
        if first < last:
            spoken = group.tokens[number] if drawing.spoken else None
            rows = (direction + _row(row, spoken, drawing) for row in group.rows)
            yield pysubs2.SSAEvent(
                start=10 * clock.hundredths(first),
                end=10 * clock.hundredths(last),
                style=_STYLE,
                text=f"{{{place}{outline}}}" + r"\N".join(rows),
            )


def _row(row: Sequence[Token], spoken: Token | None, drawing: CaptionDrawing) -> str:
    text = ""
    for before, token in zip((None, *row), row, strict=False):
        if before and token.is_spaced_from(before):
            text += _family_tag(" ") + " "
        # Every token sets its colour, so that all states have the same layout.
        text += f"{{\\1c{drawing.spoken if token is spoken else drawing.colour}}}"
        for run in token.runs:
            text += f"{{\\fn{run.face.family}}}{_escaped(run.text)}"
    return text


def _escaped(text: str) -> str:
    """`text` escaped for libass, which draws it literally."""
    escaped = text.replace("\\", "\\" + _WORD_JOINER)
    return escaped.replace("{", r"\{").replace("}", r"\}")


def _family_tag(character: str) -> str:
    return f"{{\\fn{_family_of(character)}}}"


def _family_of(character: str) -> str:
    face = typeface_of(character)
    assert face
    return face.family
