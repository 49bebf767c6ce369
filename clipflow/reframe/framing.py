"""Measures how well the sections of a short frame the speakers, and finds room for captions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipflow.domain.layouts import Content
from clipflow.domain.safe_zones import CAPTIONS_HALF, Box, clear_line
from clipflow.domain.shorts import Framing, LayoutSpan
from clipflow.reframe.analysis import FaceSample
from clipflow.reframe.crop import CropPath, Section
from clipflow.reframe.faces import Face
from clipflow.reframe.people import Shot
from clipflow.reframe.speakers import Turn


def _section_at(sections: Sequence[Section], time: float) -> Section:
    return next((part for part in sections if time < part.end), sections[-1])


def measure_framing(
    sections: Sequence[Section],
    shots: Sequence[Shot],
    turns: Sequence[Turn],
    samples: Sequence[float],
    whole: tuple[int, int],
) -> Framing:
    """How well `sections` show the people who speak, and which layouts they have.

    Args:
        turns: who speaks when.
        samples: the times in seconds at which faces were looked for.
        whole: the picture's width and height in pixels.
    """
    seen: list[bool] = []
    for turn in turns:
        shot = next(shot for shot in shots if shot.start <= turn.start < shot.end)
        # If the speaker is uncertain, everyone who may be speaking must be in the picture.
        for track in [turn.track] if turn.track else shot.tracks:
            for time, face in track.during(turn.start, turn.end):
                part = _section_at(sections, time)
                crops = (holds(crop, time, face, whole) for crop in part.crops)
                seen.append(part.layout.has(Content.PICTURE) or any(crops))
        if turn.track:
            # The speaker's face was not followed that far, so no crop is known to show it.
            first, last = turn.track.times[0], turn.track.times[-1]
            lost = (t for t in samples if turn.start <= t <= turn.end and not first <= t <= last)
            seen += [
                _section_at(sections, t).layout.has(Content.PICTURE)
                for t in lost
                if shot.start <= t <= shot.end
            ]
    spoken = sum(turn.end - turn.start for turn in turns)
    sure = sum(turn.confidence * (turn.end - turn.start) for turn in turns)
    return Framing(
        speaker_in_frame=round(sum(seen) / len(seen), 3) if seen else None,
        confidence=round(sure / spoken, 3) if spoken and seen else None,
        cuts=sum(part.jumps for part in sections) + len(sections) - 1,
        layouts=tuple(
            LayoutSpan(start=round(part.start, 3), end=round(part.end, 3), layout=part.layout)
            for part in sections
        ),
    )


def holds(crop: CropPath, time: float, face: Face, whole: tuple[int, int]) -> bool:
    """Whether the crop contains all of the face that is in the picture, of `whole` pixels."""
    left, top = crop.at(time)
    face_left, face_top, face_right, face_bottom = face.box
    across = left <= max(0, face_left) and min(face_right, whole[0]) <= left + crop.width
    return across and top <= max(0, face_top) and min(face_bottom, whole[1]) <= top + crop.height


# How far lips reach from the mouth's middle, and eyes with their lids from the line between them,
# as shares of the face.
_LIPS, _LIDS = 0.12, 0.1
# The middle between the eyes is opposite the mouth: so far behind the face's centre, as a share of
# the way to it from the mouth. Measured with YuNet on eleven faces: 1.44 to 1.73.
_TO_EYES = 1.54


def captions_centre(
    sections: Sequence[Section],
    lips: Sequence[tuple[float, int]],
    eyes: Sequence[tuple[float, int]],
    size: tuple[int, int],
) -> int:
    """The line that captions are centred on: the layout's own, or the nearest that covers no mouth
    and, if possible, no eyes.

    `lips` and `eyes` are those of `find_lips` and `find_eyes`.
    """
    longest = max(sections, key=lambda part: part.end - part.start)
    own = longest.layout.captions * size[1]
    return clear_line((y for _, y in lips), own, CAPTIONS_HALF, size, eyes=[y for _, y in eyes])


def find_lips(
    sections: Sequence[Section],
    samples: Sequence[FaceSample],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> tuple[tuple[float, int], ...]:
    """The seconds at which a mouth is seen, also a bystander's, and how far down in the short its
    lips begin, are in the middle and end."""
    return tuple(
        (round(sample.time, 2), round(view.down(line)))
        for sample, face, view in _seen(sections, samples, whole, size)
        if face.mouth and view.shows(*face.mouth)
        for line in (face.mouth[1] + reach * face.size for reach in (-_LIPS, 0, _LIPS))
    )


def find_eyes(
    sections: Sequence[Section],
    samples: Sequence[FaceSample],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> tuple[tuple[float, int], ...]:
    """The seconds at which eyes are seen, also a bystander's, and how far down in the short they
    begin, are in the middle and end."""
    return tuple(
        (round(sample.time, 2), round(view.down(line)))
        for sample, face, view in _seen(sections, samples, whole, size)
        if face.mouth and view.shows(*(eyes := _between_eyes(face, face.mouth)))
        for line in (eyes[1] + reach * face.size for reach in (-_LIDS, 0, _LIDS))
    )


def _between_eyes(face: Face, mouth: tuple[float, float]) -> tuple[float, float]:
    x, y = mouth
    return x + _TO_EYES * (face.x - x), y + _TO_EYES * (face.y - y)


def find_faces(
    sections: Sequence[Section],
    samples: Sequence[FaceSample],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> tuple[tuple[float, Box], ...]:
    """The seconds at which a face is seen, also a bystander's, and its place in the short.

    A place is limited to the pane that shows it. `whole` is the picture's size, `size` the short's.
    """
    return tuple(
        (round(sample.time, 2), box)
        for sample, face, view in _seen(sections, samples, whole, size)
        if (box := view.box_of(face)).width > 0 and box.height > 0
    )


@dataclass(frozen=True)
class _View:
    """A part of the picture, and where the short shows it: left, top, width and height of each."""

    part: tuple[float, float, float, float]
    shown: tuple[float, float, float, float]

    def shows(self, x: float, y: float) -> bool:
        left, top, width, height = self.part
        return left <= x <= left + width and top <= y <= top + height

    def across(self, x: float) -> float:
        return self.shown[0] + (x - self.part[0]) * self.shown[2] / self.part[2]

    def down(self, y: float) -> float:
        return self.shown[1] + (y - self.part[1]) * self.shown[3] / self.part[3]

    def box_of(self, face: Face) -> Box:
        left, top, width, height = self.shown
        face_left, face_top, face_right, face_bottom = face.box
        return Box(
            round(max(left, self.across(face_left))),
            round(max(top, self.down(face_top))),
            round(min(left + width, self.across(face_right))),
            round(min(top + height, self.down(face_bottom))),
        )


def _seen(
    sections: Sequence[Section],
    samples: Sequence[FaceSample],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[tuple[FaceSample, Face, _View]]:
    for sample in samples:
        for view in _views(_section_at(sections, sample.time), sample.time, whole, size):
            for face in sample.faces:
                yield sample, face, view


def _views(
    section: Section, time: float, whole: tuple[int, int], size: tuple[int, int]
) -> Iterator[_View]:
    for crop, box in zip(section.crops, section.boxes(size), strict=True):
        yield _View((*crop.at(time), crop.width, crop.height), box)
    for pane in section.layout.panes:
        if pane.content is Content.PICTURE:
            # All of the picture, in the middle of its pane.
            left, top, width, height = pane.box(size)
            scale = min(width / whole[0], height / whole[1])
            inner = whole[0] * scale, whole[1] * scale
            middle = left + (width - inner[0]) / 2, top + (height - inner[1]) / 2
            yield _View((0, 0, *whole), (*middle, *inner))
