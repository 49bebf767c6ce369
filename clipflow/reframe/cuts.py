"""Detection of cuts in a film whose pictures are fed one by one."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from clipflow.reframe.faces import Pixels

# The shortest shot and the longest flash, in seconds.
_SHORTEST_SHOT, _LONGEST_FLASH = 0.4, 0.201
# The largest difference between the pictures before and after a flash, of 255, and how many pixels
# are skipped to measure it.
_SAME, _SPARSE = 16, 8
# The cut detector counts frames and wants a rate as well; any will do.
_RATE = 30.0


@dataclass(frozen=True)
class _Change:
    """The number of a frame that is unlike the one before, and a few pixels of both."""

    number: int
    before: Pixels
    after: Pixels


class Cuts:
    """Detects which of a film's frames, fed one by one, are the first of a new shot.

    A frame is one if it differs from the one before far more than its neighbours do, so a moving
    camera causes none.
    """

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=1)
        # The detector compares a frame with this number on either side. A film may begin or end
        # right at a cut, so its first and last pictures are repeated.
        self._margin = self._detector.event_buffer_length
        self._recent: deque[Pixels] = deque(maxlen=self._margin + 2)
        self._fed = 0
        self._changes: list[_Change] = []

    def feed(self, picture: Pixels) -> bool:
        """Add the next picture, in BGR; returns whether there was a cut a few frames ago."""
        if not self._fed:
            self._show(picture, self._margin)
        return self._show(picture)

    def finish(self, times: Sequence[float]) -> list[int]:
        """The numbers, from 0, of new shots' first frames. There must have been a frame.

        `times` are the frames', in seconds.
        """
        self._show(self._last, self._margin)
        cuts: list[int] = []
        for change in _without_flashes(self._changes, times):
            if not cuts or times[change.number] - times[cuts[-1]] >= _SHORTEST_SHOT:
                cuts.append(change.number)
        return cuts

    def _show(self, picture: Pixels, times: int = 1) -> bool:
        self._last = picture
        before = len(self._changes)
        for number in range(self._fed, self._fed + times):
            self._recent.append(picture[::_SPARSE, ::_SPARSE].copy())
            found = self._detector.process_frame(FrameTimecode(number, _RATE), picture)
            self._changes += [
                _Change(cut.frame_num - self._margin, self._recent[0], self._recent[1])
                for cut in found
            ]
        self._fed += times
        return len(self._changes) > before


def _without_flashes(changes: list[_Change], times: Sequence[float]) -> list[_Change]:
    """`changes` without pairs of a change and its reversal shortly after."""
    kept: list[_Change] = []
    for change in changes:
        if kept and times[change.number] - times[kept[-1].number] <= _LONGEST_FLASH:
            difference = np.abs(change.after.astype(np.int16) - kept[-1].before)
            if difference.mean() < _SAME:
                kept.pop()
                continue
        kept.append(change)
    return kept
