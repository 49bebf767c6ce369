"""A minimum frame rate: frames that are shown for longer are repeated; no frame's time changes.

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

# Frames per second that captions need to highlight each word when it is said.
LOWEST = 25
# Seconds. A frame at 24000/1001 per second, with a container's rounding, is not repeated.
_LONGEST = Fraction(1001, 24_000) + Fraction(1, 500)
# Seconds after the last time at which the list of times ends, after the end of the picture.
_AFTER_THE_END = 60


def repeats(frames: Sequence[Fraction], end: Fraction) -> tuple[Fraction, ...]:
    """The sorted times, in seconds, at which the previous frame must be repeated.

    Every frame that is shown for longer than `_LONGEST`, until the next one or `end`, is divided
    into parts of at most `1 / LOWEST` seconds.
    """
    times: list[Fraction] = []
    for begins, ends in zip(frames, (*frames[1:], end), strict=True):
        if ends - begins <= _LONGEST:
            continue
        parts = ceil((ends - begins) * LOWEST)
        times += [begins + (ends - begins) * part / parts for part in range(1, parts)]
    return tuple(times)


def write_times(times: Sequence[Fraction], start: Fraction, path: Path) -> None:
    """Writes a video with frames of 2x2 pixels at `start` and at `times` to `path`."""
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
    """The stream with an additional frame at each of `times`, which the video at `path` has."""
    shown = stream.filter("settb", f"1/{TIMESCALE}")
    if times[-1] > frames[-1]:
        # The stream ends with its last frame, so a copy of that is added at the last of the times.
        last, count = round(times[-1] * TIMESCALE), len(frames)
        shown = shown.filter("tpad", stop=1, stop_mode="clone")
        shown = shown.filter("setpts", f"if(gte(N,{count}),max(PREV_OUTPTS+1,{last}),PTS)")
    clock = command.input(str(path))["v:0"].filter("settb", f"1/{TIMESCALE}")
    # It outputs the first stream, and repeats its frame whenever the second stream has one.
    return command.filter([shown, clock], "streamselect", inputs=2, map="0")
