"""A lowest frame rate: what is shown for longer is repeated, and every frame keeps its time.

ffmpeg's `fps` filter would move frames to a grid, and drop some of a source whose rate varies.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import ffmpeg as command

from clipflow.media.encode import TIMESCALE

# Frames a second that captions need, to light up a word when it is said.
LOWEST = 25
# Seconds: a frame of a film at 24000/1001 a second, with a container's rounding, is not repeated.
_LONGEST = Fraction(1001, 24_000) + Fraction(1, 500)
# Seconds after the end at which the list of times ends, so that it never ends before the picture.
_AFTER_THE_END = 60


def repeats(frames: Sequence[Fraction], end: Fraction) -> tuple[Fraction, ...]:
    """The times at which the last picture is to be shown again, in seconds, in order.

    With them, every frame that would be shown for longer than a film's, until the next one or
    `end`, is shown for at most `1 / LOWEST` seconds.
    """
    times: list[Fraction] = []
    for begins, ends in zip(frames, (*frames[1:], end), strict=True):
        if ends - begins <= _LONGEST:
            continue
        parts = ceil((ends - begins) * LOWEST)
        times += [begins + (ends - begins) * part / parts for part in range(1, parts)]
    return tuple(times)


def write_times(times: Sequence[Fraction], start: Fraction, path: Path) -> None:
    """A video at `path` whose frames, of two pixels each way, are at `start` and at `times`."""
    base = Fraction(1, TIMESCALE)
    with av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream("rawvideo", rate=LOWEST)
        stream.width = stream.height = 2
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "gray", base, base
        for time in (start, *times, times[-1] + _AFTER_THE_END):
            frame = av.VideoFrame(2, 2, "gray")
            frame.pts, frame.time_base = round(time * TIMESCALE), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def repeated(stream: Any, frames: Sequence[Fraction], times: Sequence[Fraction], path: Path) -> Any:
    """The stream of these frames with one more at each of `times`, which are in `path` too."""
    shown = stream.filter("settb", f"1/{TIMESCALE}")
    if times[-1] > frames[-1]:
        # The picture ends with its last frame, so a copy of it is put at the last of the times.
        last, count = round(times[-1] * TIMESCALE), len(frames)
        shown = shown.filter("tpad", stop=1, stop_mode="clone")
        shown = shown.filter("setpts", f"if(gte(N,{count}),max(PREV_OUTPTS+1,{last}),PTS)")
    clock = command.input(str(path))["v:0"].filter("settb", f"1/{TIMESCALE}")
    # It passes the first stream on, and once more whenever the other has a frame.
    return command.filter([shown, clock], "streamselect", inputs=2, map="0")
