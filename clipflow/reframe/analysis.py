"""One pass through a video: its cuts, exact to the frame, and the faces in it.

At first the decoder skips frames that no other frame refers to. If that leaves too few, the skipped
frames are decoded too, to sample faces at least five times a second. A cut between two decoded
frames is located by decoding the frames between them.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil, inf
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from clipflow.domain.errors import MediaRefusedError
from clipflow.machine import LARGEST_PICTURE
from clipflow.reframe.cuts import Cuts
from clipflow.reframe.faces import Face, FaceDetector, Pixels
from clipflow.reframe.text import STILL_SIDE, Still

# The longer side, in pixels, of the pictures in which cuts are detected, and of those for faces.
_CUT_SIDE, _FACE_SIDE = 192, 480
# For faces that are larger than this in pixels, the pictures become smaller in steps, down to a
# least side, as far as the faces keep the size of aligned ones.
_LARGE_FACE, _SIDE_STEP, _LEAST_FACE_SIDE = 56, 64, 320
# Faces that are smaller than this in a picture of `_FACE_SIDE` are often missed, and are looked for
# in a larger one. Measured: of faces of 43 to 59 pixels in 1280, a tenth is found at 480, all at
# 960.
_SMALL_FACE, _SEARCH_SIDE = 30, 960
# Seconds between two searches in the larger picture: in general, and if a small face was lost; they
# double, up to the last, as long as none finds another face. With a face of this share of the
# picture's shorter side, none is necessary.
_SEARCH, _SEARCH_LOST, _CLOSE, _LONGEST_SEARCH = 1.0, 0.4, 0.2, 2.0
# How far from a small face the next sample looks for it, in sizes of the face.
_NEAR = 2.2
# Seconds between two stills.
_STILL_INTERVAL = 1.0
# Seconds between two samples, on average. To compare the mouths of two people it is shorter, and
# for each further person, who takes time to measure, again a little longer.
_INTERVAL, _TWO_FACES, _FURTHER_FACE = 0.2, 0.12, 0.02
# Seconds between two samples at most, if there are decoded frames that close to each other.
_LONGEST_INTERVAL = 0.25
# Seconds between two decoded frames. If they are further apart than the first, the decoder skips
# fewer frames from there on; if further than the second, the skipped frames between them are
# decoded too.
_WIDEST, _GAP = 0.15, 0.2
# What a decoder may skip, from most frames to fewest.
_SKIPPING = ("BIDIR", "NONREF", "DEFAULT")
# Seconds before a wanted frame at which decoding starts; the next one is tried if that frame is not
# found. None is the file's start.
_LEADS = (0.0, 5.0, None)
# Times that differ by fewer seconds are taken as equal.
_SAME_TIME = 1e-6
# Of a crowd, only so many of the largest faces are kept.
_MOST_FACES = 8


@dataclass(frozen=True)
class Film:
    """The pictures in the file at `path` whose times are `start ≤ t < end` seconds.

    `size` is that of the upright picture with square pixels, None if it is the coded size;
    `rotation` is what turns the coded one upright, in degrees counter-clockwise;
    if `mirrored`, left and right are exchanged after that. `name` is the source's, for messages.
    """

    path: Path
    size: tuple[int, int] | None = None
    rotation: int = 0
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    mirrored: bool = False
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.path.name

    @cached_property
    def packet_times(self) -> list[Fraction]:
        """When the film's frames are shown, as its packets state it, in order."""
        with _opened(self) as container:
            packets = container.demux(video=0)
            times = [_time(packet) for packet in packets if packet.pts is not None]
        return sorted(filter(self.holds, times))

    @cached_property
    def _coded_size(self) -> tuple[int, int]:
        """The size of the first pictures, before they are rotated. Others may have another one."""
        with _opened(self) as container:
            codec = container.streams.video[0].codec_context
            return codec.width, codec.height

    @cached_property
    def _reformatters(self) -> defaultdict[tuple[int, int], VideoReformatter]:
        return defaultdict(VideoReformatter)

    @property
    def first_time(self) -> Fraction:
        """When the film's first frame is shown, in seconds on the file's clock."""
        return self.packet_times[0] if self.packet_times else self.start

    def holds(self, time: Fraction) -> bool:
        return time >= self.start and (self.end is None or time < self.end)

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of what is shown."""
        return self.size or self._coded_size

    def scaled(self, frame: av.VideoFrame, ratio: float) -> Pixels:
        """What `frame` shows, in BGR and smaller.

        A picture of another size than the first has black bars, as `one_size` draws them.
        """
        width, height = (max(16, round(side * ratio)) for side in self.shown)
        if self.rotation % 180:
            width, height = height, width
        across, down = self._inside(frame, width, height)
        # A reformatter keeps the filters of swscale for the next frame, which halves the work.
        reformatter = self._reformatters[across, down]
        small = reformatter.reformat(
            frame, across, down, "bgr24", interpolation=Interpolation.FAST_BILINEAR
        )
        picture = np.asarray(small.to_ndarray(), np.uint8)
        if (across, down) != (width, height):
            left, top = (width - across) // 2, (height - down) // 2
            beside = ((top, height - down - top), (left, width - across - left), (0, 0))
            picture = np.pad(picture, beside)
        turned = np.rot90(picture, self.rotation // 90)
        if self.mirrored:
            turned = turned[:, ::-1]
        return np.ascontiguousarray(turned)

    def _inside(self, frame: av.VideoFrame, width: int, height: int) -> tuple[int, int]:
        """The size of the frame within a picture of the first one's aspect ratio."""
        if (frame.width, frame.height) == self._coded_size:
            return width, height
        fitting = min(width / frame.width, height / frame.height)
        return max(2, round(frame.width * fitting)), max(2, round(frame.height * fitting))


@dataclass(frozen=True)
class FaceSample:
    """The faces in the frame at `time` seconds, in pixels of the full picture."""

    time: float
    faces: tuple[Face, ...]


@dataclass
class Analysis:
    """The picture's size, the samples of its faces, its shots as spans of seconds, and stills.

    Seconds count from the first frame. Two shots meet between two frames, so that no rounding of
    times matters; the last one ends with the last frame.
    """

    width: int
    height: int
    samples: list[FaceSample] = field(default_factory=list)
    shots: list[tuple[float, float]] = field(default_factory=list)
    stills: list[Still] = field(default_factory=list)


def analyze(film: Film, detector: FaceDetector) -> Analysis:
    """The shots and the faces of `film`.

    Raises MediaRefusedError if it cannot be read or has no frame.
    """
    cuts, looks = Cuts(), _FaceSearch(film, detector)
    analysis: Analysis | None = None
    times: list[float] = []
    due = last = 0.0
    for (time, frame), following in _with_following(seen_frames(film)):
        width, height = film.shown
        analysis = analysis or Analysis(width, height)
        times.append(time)
        is_cut = cuts.feed(film.scaled(frame, _CUT_SIDE / max(width, height)))
        is_due = time >= due - _SAME_TIME or following - last > _LONGEST_INTERVAL + _SAME_TIME
        if is_cut or is_due:
            last = time
            sample = looks.at(time, frame, is_cut=is_cut)
            analysis.samples.append(sample)
            stills = analysis.stills
            if is_cut or not stills or time - stills[-1].time >= _STILL_INTERVAL - _SAME_TIME:
                analysis.stills.append(_still(film, time, frame))
            pause = _interval(len(sample.faces))
            # Counted from when this one was due, so that late frames do not reduce their number.
            due = max(due, time - pause) + pause
    if analysis is None:
        raise MediaRefusedError(
            f"{film.label} has no frame that can be decoded.", "Check that it plays."
        )
    turns = [_cut_time(film, times[cut - 1], times[cut]) for cut in cuts.finish(times)]
    analysis.shots = list(zip([0.0, *turns], [*turns, times[-1]], strict=True))
    return analysis


def _still(film: Film, time: float, frame: av.VideoFrame) -> Still:
    ratio = min(1.0, STILL_SIDE / max(film.shown))
    grey = cv2.cvtColor(film.scaled(frame, ratio), cv2.COLOR_BGR2GRAY)
    return Still(time, np.asarray(grey, np.uint8))


def _interval(faces: int) -> float:
    return min(_INTERVAL, _TWO_FACES + _FURTHER_FACE * (faces - 2)) if faces > 1 else _INTERVAL


def _with_following(
    frames: Iterable[tuple[float, av.VideoFrame]],
) -> Iterator[tuple[tuple[float, av.VideoFrame], float]]:
    """Each frame, and the time of the one after it; the last one's own time."""
    waiting: tuple[float, av.VideoFrame] | None = None
    for shown in frames:
        if waiting:
            yield waiting, shown[0]
        waiting = shown
    if waiting:
        yield waiting, waiting[0]


class _FaceSearch:
    """Finds faces in frames, in pictures as large as the faces that were found last require."""

    def __init__(self, film: Film, detector: FaceDetector) -> None:
        self._film, self._detector = film, detector
        self._faces: tuple[Face, ...] = ()
        self._searched, self._pause = -inf, _SEARCH

    def at(self, time: float, frame: av.VideoFrame, *, is_cut: bool = False) -> FaceSample:
        shown = self._film.shown
        longest = max(shown)
        small = self._faces and self._faces[-1].size * _FACE_SIDE < _SMALL_FACE * longest
        faces = self._followed(frame) if small else self._found(frame, self._side(longest))
        # A search in a large picture costs four times as much, so it is not for each frame.
        is_lost = bool(small) and len(faces) < len(self._faces)
        is_close = bool(faces) and faces[0].size >= _CLOSE * min(shown)
        if is_cut or not faces or small:
            self._pause = _SEARCH
        since = time - self._searched
        if since >= (_SEARCH_LOST if is_lost else self._pause) - _SAME_TIME and not is_close:
            self._searched = time
            found = self._found(frame, _SEARCH_SIDE)
            found_more = len(found) > len(faces)
            self._pause = _SEARCH if found_more else min(2 * self._pause, _LONGEST_SEARCH)
            faces = found if len(found) >= len(faces) else faces
        self._faces = faces
        return FaceSample(time, faces)

    def _side(self, longest: int) -> int:
        """The longer side of the picture: the larger the smallest face is, the smaller."""
        if not self._faces:
            return _FACE_SIDE
        needed = _LARGE_FACE * longest / self._faces[-1].size
        return min(_FACE_SIDE, max(_LEAST_FACE_SIDE, _SIDE_STEP * ceil(needed / _SIDE_STEP)))

    def _found(self, frame: av.VideoFrame, side: int) -> tuple[Face, ...]:
        ratio = min(1.0, side / max(self._film.shown))
        faces = self._detector.detect(self._film.scaled(frame, ratio))[:_MOST_FACES]
        return tuple(face.scaled(1 / ratio) for face in faces)

    def _followed(self, frame: av.VideoFrame) -> tuple[Face, ...]:
        """The faces near those that were found last, in a part of a large picture around each."""
        ratio = min(1.0, _SEARCH_SIDE / max(self._film.shown))
        picture = self._film.scaled(frame, ratio)
        found: list[Face] = []
        for last in self._faces:
            reach = _NEAR * last.size * ratio
            left, top = (max(0, round(at * ratio - reach)) for at in (last.x, last.y))
            right, bottom = (round(at * ratio + reach) for at in (last.x, last.y))
            part = picture[top:bottom, left:right]
            if not part.size:
                continue
            # A larger face is found in a smaller picture too, which costs less.
            smaller = min(1.0, _LARGE_FACE / (last.size * ratio))
            part = np.asarray(
                cv2.resize(part, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
            )
            for face in self._detector.detect(part, round(smaller * min(picture.shape[:2]))):
                there = face.scaled(1 / smaller).moved(left, top).scaled(1 / ratio)
                if not any(_is_same_face(there, other) for other in found):
                    found.append(there)
        return tuple(sorted(found, key=lambda face: face.size, reverse=True)[:_MOST_FACES])


def _is_same_face(one: Face, other: Face) -> bool:
    return max(abs(one.x - other.x), abs(one.y - other.y)) < max(one.size, other.size) / 2


def _cut_time(film: Film, before: float, after: float) -> float:
    """The time of the cut between two decoded frames that belong to two shots."""
    between = [
        (time, film.scaled(frame, _CUT_SIDE / max(film.shown)).astype(np.int16))
        for time, frame in decoded_frames(film, since=before, until=after)
    ]
    # Without an index, a container may be opened at a later time than was requested.
    if len(between) < 2:
        return (before + after) / 2
    changes = [np.abs(b[1] - a[1]).mean() for a, b in pairwise(between)]
    cut = int(np.argmax(changes))
    return (between[cut][0] + between[cut + 1][0]) / 2


def seen_frames(film: Film) -> Iterator[tuple[float, av.VideoFrame]]:
    """At least five frames a second of the film, if it has so many, with their times."""
    frames = decoded_frames(film, sparsely=True)
    listed = _listed_times(film)
    # The first frames may be skipped too, and in HEVC in which every frame refers to frames on both
    # sides, as some hardware encodes it, all of them.
    last = -_GAP - _SAME_TIME
    for time, frame in frames:
        if time - last > _GAP:
            yield from _between(film, listed, last, time)
        yield time, frame
        last = time
    if listed and listed[-1] - last > _GAP:
        yield from _between(film, listed, last, listed[-1] + _GAP)


def _between(
    film: Film, listed: Sequence[float], after: float, before: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames between two times, if there are any that were left out."""
    first, last = bisect_right(listed, after + _SAME_TIME), bisect_left(listed, before - _SAME_TIME)
    if first >= last:
        return
    for time, frame in decoded_frames(film, since=max(0.0, after), until=before):
        if after + _SAME_TIME < time < before - _SAME_TIME:
            yield time, frame


def decoded_frames(
    film: Film, *, sparsely: bool = False, since: float = 0.0, until: float = inf
) -> Iterator[tuple[float, av.VideoFrame]]:
    """The film's frames of `since ≤ t ≤ until`, with t, in seconds from its first one.

    `sparsely` skips frames that refer to frames on both sides, which saves more than half of the
    work. Behind a long row of such frames, fewer are skipped.

    Containers without an index, such as MPEG-TS, may seek too far: the film is then opened again
    and decoded from earlier on.
    """
    before = bisect_left(_listed_times(film), since - _SAME_TIME)
    first = next(iter(_listed_times(film)[before : before + 1]), inf)
    for lead in _LEADS:
        frames = _decoded_frames(film, since, until, lead, sparsely=sparsely)
        shown = next(frames, None)
        if lead is None or (shown and shown[0] <= first + _SAME_TIME):
            if shown:
                yield shown
                yield from frames
            return
        frames.close()


def _decoded_frames(
    film: Film, since: float, until: float, lead: float | None, *, sparsely: bool
) -> Generator[tuple[float, av.VideoFrame]]:
    """As `decoded_frames`, from `lead` seconds before `since`, or from the file's start if it is
    None."""
    zero = film.first_time
    with _opened(film) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        # Deblocking is a tenth of the work, and makes no difference to the analysis.
        stream.codec_context.options = {
            "skip_loop_filter": "all",
            "max_pixels": str(LARGEST_PICTURE),
        }
        skipping = list(_SKIPPING if sparsely else _SKIPPING[-1:])
        stream.codec_context.skip_frame = skipping[0]
        if lead is not None:
            container.seek(int((zero + since - lead) * av.time_base))
        last = inf
        for frame in container.decode(stream):
            time = float(_time(frame) - zero)
            if time - last > _WIDEST and len(skipping) > 1:
                skipping.pop(0)
                stream.codec_context.skip_frame = skipping[0]
            last = time
            is_after = film.end is not None and _time(frame) >= film.end
            if is_after or time > until + _SAME_TIME:
                return
            if film.holds(_time(frame)) and time >= since - _SAME_TIME:
                yield time, frame


@contextmanager
def _opened(film: Film) -> Iterator[Any]:
    """The film's container. Raises MediaRefusedError if it has no picture, and for each error of
    reading it."""
    try:
        with av.open(str(film.path)) as container:
            if not container.streams.video:
                raise MediaRefusedError(
                    f"{film.label} has no moving picture.", "Name a video that has one."
                )
            yield container
    except av.error.FFmpegError as error:
        raise MediaRefusedError(
            f"{film.label} cannot be read: {error.strerror}.", "Check that it plays."
        ) from None


def _listed_times(film: Film) -> list[float]:
    """The times of the film's frames as its packets state them, in order."""
    zero = film.first_time
    return [float(time - zero) for time in film.packet_times]


def _time(shown: Any) -> Fraction:
    return Fraction((shown.pts or 0) * shown.time_base)
