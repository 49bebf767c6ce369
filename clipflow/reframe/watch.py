"""One look through a video: its cuts, exact to the frame, and the faces a few times a second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from clipflow.domain.errors import MediaRefused
from clipflow.reframe.cuts import Cuts
from clipflow.reframe.faces import Face, Finder, Pixels

# Pixels: the width in which cuts are told. The longer side in which faces are looked for: there
# the smallest one that counts is a few pixels larger than the cascades' 20.
_CUT_WIDTH, _FACE_SIDE = 192, 480
# Seconds between looks at known faces, and between searches of the whole picture for more of them.
_LOOK, _SEARCH = 0.2, 1.0
# While there are none: searches in vain are the dear ones, so each waits twice as long as the one
# before, until a cut.
_SOONEST, _LATEST = 0.4, 1.6
# Looks at more faces cost more than they tell.
_MOST_FACES = 4


@dataclass(frozen=True)
class Look:
    """The faces in the frame at `time` seconds, in pixels of the full picture."""

    time: float
    faces: tuple[Face, ...]


@dataclass
class Watched:
    """The picture's size, each frame's time, the first frames of later shots, and the looks.

    Times are seconds from the first frame; `cuts` are indices of `times`.
    """

    width: int
    height: int
    times: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def shots(self) -> list[tuple[float, float]]:
        """Spans of seconds, in order. They meet between two frames, whatever rounds their times."""
        turns = [(self.times[cut - 1] + self.times[cut]) / 2 for cut in self.cuts]
        return list(zip([0.0, *turns], [*turns, self.times[-1]], strict=True))


def watch(video: Path, finder: Finder) -> Watched:
    """Decode `video` once. Raises MediaRefused where it cannot be read or shows nothing."""
    try:
        with av.open(str(video)) as container:
            return _watched(container, video.name, finder)
    except av.error.FFmpegError as error:
        raise MediaRefused(
            f"{video.name} cannot be read: {error.strerror}.", "Check that it plays."
        ) from None


def _watched(container: Any, name: str, finder: Finder) -> Watched:
    if not container.streams.video:
        raise MediaRefused(f"{name} has no moving picture.", "Name a video that has one.")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    # Deblocking frames that little is built on is a tenth of the work, and nothing here sees it.
    stream.codec_context.options = {"skip_loop_filter": "bidir"}
    cuts, search = Cuts(Fraction(stream.average_rate or 30)), Search(finder)
    watched: Watched | None = None
    for time, frame in _frames(container):
        watched = watched or Watched(frame.width, frame.height)
        watched.times.append(time)
        if cuts.feed(_scaled(frame, _CUT_WIDTH / frame.width)):
            search.renew(time)
        if search.is_due(time):
            watched.looks.append(search.look(time, frame))
    if watched is None:
        raise MediaRefused(f"{name} has no frame that can be decoded.", "Check that it plays.")
    watched.cuts = cuts.finish()
    return watched


def _frames(container: Any) -> Iterator[tuple[float, av.VideoFrame]]:
    first: Fraction | None = None
    for frame in container.decode(video=0):
        if frame.pts is not None:
            time = frame.pts * frame.time_base
            first = time if first is None else first
            yield float(time - first), frame


def _scaled(frame: av.VideoFrame, ratio: float) -> Pixels:
    width, height = (max(16, round(side * ratio)) for side in (frame.width, frame.height))
    small = frame.reformat(width, height, "bgr24", interpolation=Interpolation.FAST_BILINEAR)
    return np.asarray(small.to_ndarray(), np.uint8)


class Search:
    """Looks at faces where they were, and now and then everywhere."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._known: Sequence[Face] = ()
        self._next_look = self._next_search = 0.0
        self._patience = _SOONEST

    def renew(self, time: float) -> None:
        """The picture has just changed: search it at once, and soon again."""
        self._next_look = self._next_search = time
        self._patience = _SOONEST

    def is_due(self, time: float) -> bool:
        return time >= self._next_look and bool(self._known or time >= self._next_search)

    def look(self, time: float, frame: av.VideoFrame) -> Look:
        """The look at `frame`, whose time is `time`."""
        ratio = min(1.0, _FACE_SIDE / max(frame.width, frame.height))
        picture = _scaled(frame, ratio)
        faces: list[Face] = []
        if time < self._next_search:
            faces = self._finder.near(picture, self._known)
        if not faces:
            faces = self._finder.anywhere(picture)
            self._next_search = time + (_SEARCH if faces else self._patience)
            self._patience = _SOONEST if faces else min(_LATEST, 2 * self._patience)
        faces.sort(key=lambda face: face.size, reverse=True)
        self._known = faces[:_MOST_FACES]
        self._next_look = time + _LOOK
        found = (Face(f.x / ratio, f.y / ratio, f.size / ratio) for f in self._known)
        return Look(time, tuple(found))
