"""One look through a video: its cuts, exact to the frame, and the faces a few times a second.

Frames in between, which the encoder built on those before and after, are left out at first. Where
the picture cuts between two that were seen, those between them are looked at too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from clipflow.domain.errors import MediaRefusedError
from clipflow.machine import LARGEST_PICTURE
from clipflow.reframe.cuts import Cuts
from clipflow.reframe.faces import Face, Finder, Pixels

# Pixels: the width in which cuts are told. The longer side in which faces are looked for: there
# the smallest one that counts is a few pixels larger than the cascades' 20.
_CUT_WIDTH, _FACE_SIDE = 192, 480
# Seconds between looks at known faces, and between searches of the whole picture for more of them.
_LOOK, _SEARCH = 0.2, 1.0
# While there are none: searches in vain are the dear ones, so each waits twice as long as the one
# before, until a cut.
_SOONEST, _LATEST = 0.4, 2.4
# Seconds between frames that are seen, above which too much is left out.
_WIDEST = 0.15
# Seconds: two times that are nearer are one.
_SAME_TIME = 1e-6
# Looks at more faces cost more than they tell.
_MOST_FACES = 4


@dataclass(frozen=True)
class Film:
    """The pictures in the file at `path` whose times are `start ≤ t < end` seconds.

    `size` is that of the upright picture with square pixels, None where the coded one is that;
    `rotation` is what turns the coded one upright, in degrees counter-clockwise.
    """

    path: Path
    size: tuple[int, int] | None = None
    rotation: int = 0
    start: Fraction = Fraction(0)
    end: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        return time >= self.start and (self.end is None or time < self.end)

    def shown(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of what `frame` shows."""
        return self.size or (frame.width, frame.height)

    def scaled(self, frame: av.VideoFrame, ratio: float) -> Pixels:
        """What `frame` shows, in BGR and smaller."""
        width, height = (max(16, round(side * ratio)) for side in self.shown(frame))
        if self.rotation % 180:
            width, height = height, width
        small = frame.reformat(width, height, "bgr24", interpolation=Interpolation.FAST_BILINEAR)
        turned = np.rot90(np.asarray(small.to_ndarray(), np.uint8), self.rotation // 90)
        return np.ascontiguousarray(turned)


@dataclass(frozen=True)
class Look:
    """The faces in the frame at `time` seconds, in pixels of the full picture."""

    time: float
    faces: tuple[Face, ...]


@dataclass
class Watched:
    """The picture's size, the looks, and the shots as spans of seconds, in order.

    Seconds count from the first frame. Two shots meet between two frames, whatever rounds their
    times; the last ends with the last frame.
    """

    width: int
    height: int
    looks: list[Look] = field(default_factory=list)
    shots: list[tuple[float, float]] = field(default_factory=list)


def watch(film: Film, finder: Finder) -> Watched:
    """Look through `film`. Raises MediaRefusedError where it cannot be read or shows nothing."""
    cuts, search = Cuts(), Search(film, finder)
    watched: Watched | None = None
    times: list[float] = []
    for time, frame in _frames(film, sparsely=True):
        width, height = film.shown(frame)
        watched = watched or Watched(width, height)
        times.append(time)
        if cuts.feed(film.scaled(frame, _CUT_WIDTH / width)):
            search.renew(time)
        if search.is_due(time):
            watched.looks.append(search.look(time, frame))
    if watched is None:
        raise MediaRefusedError(
            f"{film.path.name} has no frame that can be decoded.", "Check that it plays."
        )
    turns = [_turn(film, times[cut - 1], times[cut]) for cut in cuts.finish(times)]
    watched.shots = list(zip([0.0, *turns], [*turns, times[-1]], strict=True))
    return watched


def _turn(film: Film, before: float, after: float) -> float:
    """When, between two frames that were seen and are of two shots, the picture changes."""
    between = [
        (time, film.scaled(frame, _CUT_WIDTH / film.shown(frame)[0]).astype(np.int16))
        for time, frame in _frames(film, since=before, until=after)
    ]
    changes = [np.abs(b[1] - a[1]).mean() for a, b in pairwise(between)]
    cut = int(np.argmax(changes))
    return (between[cut][0] + between[cut + 1][0]) / 2


def _frames(
    film: Film, *, sparsely: bool = False, since: float = 0.0, until: float = inf
) -> Iterator[tuple[float, av.VideoFrame]]:
    """The film's frames of `since ≤ t ≤ until`, with t, in seconds from its first one.

    `sparsely` leaves out those that lie between two which they are built on: more than half of the
    work. Where the encoder made many of them in a row, only those that no other is built on.
    """
    try:
        with av.open(str(film.path)) as container:
            if not container.streams.video:
                raise MediaRefusedError(
                    f"{film.path.name} has no moving picture.", "Name a video that has one."
                )
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            # Deblocking is a tenth of the work, and nothing here sees it.
            stream.codec_context.options = {
                "skip_loop_filter": "all",
                "max_pixels": str(LARGEST_PICTURE),
            }
            stream.codec_context.skip_frame = "BIDIR" if sparsely else "DEFAULT"
            zero = _first_time(container, film)
            container.seek(int((zero + since) * av.time_base))
            last = inf
            for frame in container.decode(stream):
                time = float(_time(frame) - zero)
                if sparsely and time - last > _WIDEST:
                    stream.codec_context.skip_frame = "NONREF"
                last = time
                if time > until + _SAME_TIME:
                    return
                if film.holds(_time(frame)) and time >= since - _SAME_TIME:
                    yield time, frame
    except av.error.FFmpegError as error:
        raise MediaRefusedError(
            f"{film.path.name} cannot be read: {error.strerror}.", "Check that it plays."
        ) from None


def _first_time(container: Any, film: Film) -> Fraction:
    """When the film's first frame is shown, in seconds on the file's clock."""
    times = (_time(packet) for packet in container.demux(video=0) if packet.pts is not None)
    return min((time for time in times if film.holds(time)), default=film.start)


def _time(shown: Any) -> Fraction:
    return Fraction((shown.pts or 0) * shown.time_base)


class Search:
    """Looks at faces where they were, and now and then everywhere."""

    def __init__(self, film: Film, finder: Finder) -> None:
        self._film = film
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
        ratio = min(1.0, _FACE_SIDE / max(self._film.shown(frame)))
        picture = self._film.scaled(frame, ratio)
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
