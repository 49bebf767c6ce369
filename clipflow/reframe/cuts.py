"""Where the picture cuts, by PySceneDetect. Imported late: it loads OpenCV."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from clipflow.reframe.faces import Pixels

# Seconds: shots between two cuts are not shorter, and a flash is not longer.
_SHORTEST_SHOT, _LONGEST_FLASH = 0.4, 0.201
# Of 255: so little differs the picture after a flash from that before. Every n-th pixel tells.
_SAME, _SPARSE = 16, 8


# Frames are told apart by their numbers; the detector wants a rate as well.
_RATE = 30.0


@dataclass(frozen=True)
class _Change:
    """The number of a frame that is unlike the one before, and a few pixels of both."""

    number: int
    before: Pixels
    after: Pixels


class Cuts:
    """Fed with a film's frames one by one, it tells which of them are the first of a new shot.

    A frame is one where it differs from the one before far more than its neighbours do, so a
    moving camera makes none. Frames are counted, whatever their times are.
    """

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=1)
        # The detector looks at as many frames on either side. A film may begin or end right at a
        # cut, so its first and its last picture are shown to it more often.
        self._margin = self._detector.event_buffer_length
        self._recent: deque[Pixels] = deque(maxlen=self._margin + 2)
        self._fed = 0
        self._changes: list[_Change] = []

    def feed(self, picture: Pixels) -> bool:
        """Whether `picture`, in BGR, shows that there was a cut a few frames ago."""
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
    """`changes` without those to something else and those back."""
    kept: list[_Change] = []
    for change in changes:
        if kept and times[change.number] - times[kept[-1].number] <= _LONGEST_FLASH:
            difference = np.abs(change.after.astype(np.int16) - kept[-1].before)
            if difference.mean() < _SAME:
                kept.pop()
                continue
        kept.append(change)
    return kept
