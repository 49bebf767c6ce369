"""Times that ASS can write, chosen so that each lies before the frame that is meant.

ASS counts hundredths of a second; ffmpeg asks libass what to draw at a frame's time, cut to whole
milliseconds. So a change for frame n is put halfway between frames n - 1 and n: where any hundredth
lies between the two, that is the nearest one, and rounding elsewhere cannot reach a frame.
"""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from clipflow.captions.groups import SHORT_GAP, Group

# Hundredths of a second that the last state outlives the last frame.
_AFTER_THE_END = 100


class FrameClock:
    """The frames of a short, by the times they are shown at, in seconds, in order."""

    def __init__(self, frame_times: Sequence[Fraction]) -> None:
        self._times = frame_times
        self.count = len(frame_times)

    def frame_at(self, time: Fraction) -> int:
        """The first frame that is shown at `time` or later; their count where none is."""
        return bisect_left(self._times, time)

    def hundredths(self, frame: int) -> int:
        """A time in hundredths of a second after frame `frame - 1` and not after `frame`."""
        if frame == 0:
            return 0
        if frame == self.count:
            return round(100 * self._times[-1]) + _AFTER_THE_END
        return round(50 * (self._times[frame - 1] + self._times[frame]))


def states(group: Group, following: Group | None, clock: FrameClock) -> list[int]:
    """The frame at which each token of `group` lights up, and the frame at which all is gone.

    A token that another one follows within the same frame has none of its own.
    """
    starts = [clock.frame_at(token.start) for token in group.tokens]
    end = max(token.end for token in group.tokens)
    last = max(clock.frame_at(end), starts[-1] + 1)
    if following:
        next_start = following.tokens[0].start
        next_frame = clock.frame_at(next_start)
        last = next_frame if next_start - end < SHORT_GAP else min(last, next_frame)
    return [min(frame, clock.count) for frame in (*starts, last)]
