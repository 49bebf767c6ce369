"""Measures how well the sections of a short frame the speakers, and finds room for captions."""

from collections.abc import Sequence

from clipflow.domain.layouts import Content
from clipflow.domain.safe_zones import CAPTIONS_HALF, clear_line
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
) -> Framing:
    """How well `sections` show the people who speak, and which layouts they have.

    Args:
        turns: who speaks when. samples: the times in seconds at which faces were looked for.
    """
    seen: list[bool] = []
    for turn in turns:
        shot = next(shot for shot in shots if shot.start <= turn.start < shot.end)
        # If the speaker is uncertain, everyone who may be speaking must be in the picture.
        for track in [turn.track] if turn.track else shot.tracks:
            for time, face in track.during(turn.start, turn.end):
                part = _section_at(sections, time)
                whole = any(pane.content is Content.PICTURE for pane in part.layout.panes)
                seen.append(whole or any(_holds(crop, time, face) for crop in part.crops))
        if turn.track:
            # The speaker's face was not followed that far, so no crop is known to show it.
            first, last = turn.track.times[0], turn.track.times[-1]
            lost = (t for t in samples if turn.start <= t <= turn.end and not first <= t <= last)
            seen += [
                any(p.content is Content.PICTURE for p in _section_at(sections, t).layout.panes)
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


# Width of a face's box as a share of its size, which is the mean of the box's sides: it is about
# three wide and four high.
_WIDTH = 6 / 7


def _holds(crop: CropPath, time: float, face: Face) -> bool:
    left, top = crop.at(time)
    across, down = _WIDTH * face.size / 2, face.size / 2
    return (
        left <= face.x - across
        and face.x + across <= left + crop.width
        and top <= face.y - down
        and face.y + down <= top + crop.height
    )


# How far lips reach from the mouth's middle, as a share of the face.
_LIPS = 0.12


def captions_centre(
    sections: Sequence[Section], lips: Sequence[tuple[float, int]], size: tuple[int, int]
) -> int:
    """The line that captions are centred on: the layout's own, or the nearest over no mouth.

    `lips` are those of `find_lips`.
    """
    longest = max(sections, key=lambda part: part.end - part.start)
    own = longest.layout.captions * size[1]
    return clear_line((y for _, y in lips), own, CAPTIONS_HALF, size)


def find_lips(
    sections: Sequence[Section],
    samples: Sequence[FaceSample],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> tuple[tuple[float, int], ...]:
    """The seconds at which a mouth is seen, also a bystander's, and how far down in the short its
    lips begin, are in the middle and end."""
    return tuple(
        (round(sample.time, 2), round(y))
        for sample in samples
        for face in sample.faces
        for y in _lip_lines(_section_at(sections, sample.time), sample.time, face, whole, size)
    )


def _lip_lines(
    section: Section, time: float, face: Face, whole: tuple[int, int], size: tuple[int, int]
) -> list[float]:
    """How far down in the short the lips begin and end, in each pane that shows them.

    `whole` is the picture's size, `size` the short's.
    """
    if face.mouth is None:
        return []
    x, y = face.mouth
    lips = [y + reach * face.size for reach in (-_LIPS, 0, _LIPS)]
    lines: list[float] = []
    for crop, box in zip(section.crops, section.boxes(size), strict=True):
        left, top = crop.at(time)
        if left <= x <= left + crop.width and top <= y <= top + crop.height:
            lines += [box[1] + (line - top) * box[3] / crop.height for line in lips]
    for pane in section.layout.panes:
        if pane.content is Content.PICTURE:
            # All of the picture, in the middle of its pane.
            _, top, width, height = pane.box(size)
            scale = min(width / whole[0], height / whole[1])
            lines += [top + height / 2 + (line - whole[1] / 2) * scale for line in lips]
    return lines
