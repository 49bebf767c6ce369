"""Decides what a short shows when: its layouts by time, and the crop of each pane.

The picture changes when the speaker changes, never sooner than `SHORTEST` after the last change,
and not for a short interjection. If the speaker is uncertain, all people are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

from clipflow.domain.edits import View
from clipflow.domain.layouts import Aspect, Content, Layout
from clipflow.domain.transcript import Word
from clipflow.media.isolation import isolated
from clipflow.reframe.analysis import Analysis, Film, analyze
from clipflow.reframe.crop import (
    CropPath,
    FramePlan,
    Knot,
    Section,
    even,
    largest_box,
    person_boxes,
    plan_edge,
)
from clipflow.reframe.faces import FaceDetector
from clipflow.reframe.framing import (
    captions_centre,
    find_eyes,
    find_faces,
    find_lips,
    measure_framing,
)
from clipflow.reframe.mouths import MouthActivity, mouth_activity
from clipflow.reframe.panes import ACROSS, DOWN, Area, pane_area, single_area
from clipflow.reframe.people import FaceTrack, Shot, find_people
from clipflow.reframe.speakers import Turn, find_speakers

# Seconds between two changes of whom the crop shows.
SHORTEST = 1.5
# Speech of another person for fewer seconds is an interjection, and does not change the picture.
_INTERJECTION = 1.0
# Seconds before a turn's first word at which the picture changes, so that the mouth is seen to
# open.
_LEAD = 0.15
# How far from its best place in the crop a face may go before the crop follows, as a share of the
# crop: the dead zone is 44 % of it. It is smaller for a large face, whose sides need space, but
# large enough to ignore small head movements.
_ZONE, _LEAST_ZONE = 0.22, 0.06
# YuNet's boxes end at the chin and in the hair: the whole head is as much larger.
_HEAD = 1.15
# The greatest width of a crop on one person beside a screen recording or on a slide, in widths of
# the face. A crop with this share of the picture shows all of the slide.
_CORNER, _ALL = 3.2, 0.95
# A face up to this size, as a share of the picture's height, and this near to a corner, as a share
# of its sides, belongs to a screen recording.
_SMALL_FACE, _NEAR_CORNER = 0.17, 0.33


def plan_frames(
    film: Film,
    layout: Layout,
    aspect: Aspect,
    words: Sequence[Word],
    face_model: Path | None = None,
    mouth_model: Path | None = None,
    views: Sequence[View] = (),
) -> FramePlan:
    """Decide what a short of `film` shows. Words have their times from the film's first frame,
    as have the `views` that a person has chosen.

    Raises MediaRefusedError if `film` cannot be read, NotInstalledError if the model at
    `face_model` or at `mouth_model` cannot, and what `isolated` raises.
    """
    arguments = film, layout, aspect, words, face_model, mouth_model, views
    return isolated(film.label, _plan, *arguments)


def _plan(
    film: Film,
    layout: Layout,
    aspect: Aspect,
    words: Sequence[Word],
    face_model: Path | None,
    mouth_model: Path | None,
    views: Sequence[View],
) -> FramePlan:
    mouths = mouth_activity(mouth_model)
    analysis = analyze(film, FaceDetector(face_model))
    return direct(analysis, layout, aspect, words, mouths, views)


def direct(
    analysis: Analysis,
    layout: Layout,
    aspect: Aspect,
    words: Sequence[Word],
    mouths: MouthActivity | None = None,
    views: Sequence[View] = (),
) -> FramePlan:
    """The plan that follows from an analysis, and from the `views` that a person has chosen."""
    shots = find_people(analysis)
    turns = find_speakers(shots, words, mouths)
    director = _Director(analysis, layout, aspect.size)
    chosen = [part for shot in shots for part in director.shot(shot, turns)]
    sections = _joined(director.viewed(chosen, shots, views))
    whole = analysis.width, analysis.height
    lips = find_lips(sections, analysis.samples, whole, aspect.size)
    eyes = find_eyes(sections, analysis.samples, whole, aspect.size)
    return FramePlan(
        tuple(sections),
        measure_framing(sections, shots, turns, [s.time for s in analysis.samples], whole),
        captions_centre(sections, lips, eyes, aspect.size),
        lips,
        find_faces(sections, analysis.samples, whole, aspect.size),
        eyes,
    )


@dataclass(frozen=True)
class _Director:
    analysis: Analysis
    layout: Layout
    size: tuple[int, int]

    def shot(self, shot: Shot, turns: Sequence[Turn]) -> list[Section]:
        """The shot's sections."""
        return [self._section(start, end, shown, shot) for start, end, shown in _shown(shot, turns)]

    def _section(self, start: float, end: float, speaker: FaceTrack | None, shot: Shot) -> Section:
        tracks = [track for track in shot.tracks if track.times[0] <= end + SHORTEST]
        layout, people = self._chosen(speaker, tracks, shot.is_document)
        boxes = person_boxes(layout, self.size, len(people))
        crops = tuple(
            self._crop(box, person, shot, (start, end), layout)
            for box, person in zip(boxes, people, strict=True)
        )
        return Section(start, end, layout, crops)

    def viewed(
        self, sections: Sequence[Section], shots: Sequence[Shot], views: Sequence[View]
    ) -> list[Section]:
        """The sections with those parts replaced that a person has chosen a view for.

        A layout that shows one person keeps its other panes; any other becomes `crop`.
        """
        found = list(sections)
        for view in views:
            found = [part for section in found for part in self._parts(section, shots, view)]
        return found

    def _parts(self, section: Section, shots: Sequence[Shot], view: View) -> list[Section]:
        """The section before the view, in it, and after it; at least one of the three."""
        start, end = max(section.start, view.start), min(section.end, view.end)
        if start >= end:
            return [section]
        shot = next((shot for shot in shots if start < shot.end), shots[-1])
        layout = section.layout if section.layout.people == 1 else Layout.CROP
        [box] = person_boxes(layout, self.size, 1)
        crop = self._view_crop(box, view, shot, (start, end), layout)
        parts = [
            _part(section, section.start, start) if section.start < start else None,
            Section(start, end, layout, (crop,)),
            _part(section, end, section.end) if end < section.end else None,
        ]
        return [part for part in parts if part]

    def _view_crop(
        self,
        box: tuple[int, int, int, int],
        view: View,
        shot: Shot,
        span: tuple[float, float],
        layout: Layout,
    ) -> CropPath:
        if view.place is None:
            seen = [track for track in shot.tracks if track.times[0] <= span[1] + SHORTEST]
            number = (view.person or 1) - 1
            # Fewer people than that are seen: the last of them is the nearest to what is wanted.
            person = seen[min(number, len(seen) - 1)] if seen else None
            return self._crop(box, person, shot, span, layout)
        whole = self.analysis.width, self.analysis.height
        size = largest_box(*whole, Fraction(box[2], box[3]))
        centre = view.place.x * whole[0], view.place.y * whole[1]
        edges = (
            even(min(max(0.0, at - length / 2), limit - length))
            for at, length, limit in zip(centre, size, whole, strict=True)
        )
        x, y = (tuple(Knot(time, edge) for time in span) for edge in edges)
        return CropPath(*size, x, y)

    def _chosen(
        self, speaker: FaceTrack | None, tracks: Sequence[FaceTrack], is_document: bool
    ) -> tuple[Layout, list[FaceTrack | None]]:
        """The layout, and whom its panes show; None stands for the picture's middle."""
        largest = max(tracks, key=lambda track: track.weight, default=None)
        layout = self.layout
        if layout is Layout.AUTO:
            layout = self._automatic(speaker, tracks, is_document)
        if not tracks:
            # A crop on one person is kept for its shape, even if no one is seen. In a picture of
            # its own, a slide is not cut.
            is_cut_slide = is_document and layout is Layout.CROP
            is_crop = layout.people == 1 and not layout.has(Content.PICTURE) and not is_cut_slide
            return (layout, [None]) if is_crop else (Layout.FIT, [])
        if layout.people > 1:
            if len(tracks) < layout.people:
                layout = {1: Layout.CROP, 2: Layout.SPLIT}.get(len(tracks), Layout.GRID)
            shown = sorted(tracks, key=lambda track: track.weight)[-layout.people :]
            # From left to right, so that no one changes places within a shot.
            return layout, [track for track in tracks if track in shown]
        return layout, [speaker or largest] if layout.people else []

    def _automatic(
        self, speaker: FaceTrack | None, tracks: Sequence[FaceTrack], is_document: bool
    ) -> Layout:
        shown = [speaker] if speaker else tracks
        # A photograph, as on a slide, is shown with what is around it.
        if not any(track.is_alive for track in shown):
            return Layout.FIT
        widest, _ = largest_box(
            self.analysis.width, self.analysis.height, Fraction(self.size[0], self.size[1])
        )
        # A face that is wider than any crop would be cut off on both sides.
        if not shown or max(track.size for track in shown) > widest:
            return Layout.FIT
        # A crop would cut through the text.
        if is_document:
            return Layout.SCREEN if len(shown) == 1 else Layout.FIT
        if len(tracks) == 1:
            return Layout.SCREEN if self._is_beside_screen(tracks[0]) else Layout.CROP
        if speaker:
            return Layout.CROP
        return {2: Layout.SPLIT, 3: Layout.GRID, 4: Layout.GRID}.get(len(tracks), Layout.FIT)

    def _is_beside_screen(self, track: FaceTrack) -> bool:
        width, height = self.analysis.width, self.analysis.height
        x, y = (median(getattr(face, at) for face in track.faces) for at in ("x", "y"))
        across, down = min(x, width - x) / width, min(y, height - y) / height
        small = track.size < _SMALL_FACE * height
        return bool(small and across < _NEAR_CORNER and down < _NEAR_CORNER)

    def _crop(
        self,
        box: tuple[int, int, int, int],
        person: FaceTrack | None,
        shot: Shot,
        span: tuple[float, float],
        layout: Layout,
    ) -> CropPath:
        whole = self.analysis.width, self.analysis.height
        aspect = Fraction(box[2], box[3])
        width, height = largest_box(*whole, aspect)
        faces = person.during(*span) if person else []
        if person and not faces:
            faces = [(span[0], person.nearest(span[0]))]
        area = Area(0.0, 0.0, *map(float, whole))
        if person and layout.people > 1:
            width, area = pane_area(person, shot.tracks, area, width, aspect)
        elif person:
            # A crop with other parts of a slide would cut through its text.
            is_cut = width * height < _ALL * whole[0] * whole[1]
            if layout is Layout.SCREEN or (shot.is_document and is_cut):
                width = max(2, min(width, even(_CORNER * person.size)))
            width, area = single_area(person, shot.tracks, area, width, aspect)
        if person:
            width, height = largest_box(width, min(whole[1], round(width / aspect) + 2), aspect)
        head = _HEAD * median(face.size for _, face in faces) if faces else 0.0
        across = [(time, face.x - ACROSS * width) for time, face in faces]
        down = [(time, face.y - DOWN * height) for time, face in faces]
        return CropPath(
            width,
            height,
            tuple(_edge(across, span, width, whole[0], head, (area.left, area.right))),
            tuple(_edge(down, span, height, whole[1], head, (area.top, area.bottom))),
        )


def _part(section: Section, start: float, end: float) -> Section:
    crops = tuple(crop.between(start, end) for crop in section.crops)
    return Section(start, end, section.layout, crops)


def _edge(
    best: Sequence[tuple[float, float]],
    span: tuple[float, float],
    size: int,
    whole: int,
    head: float,
    area: tuple[float, float],
) -> list[Knot]:
    """An edge's knots in one section, of a crop of `size` of `whole` pixels that stays in `area`.

    If the area is smaller than the crop, both have the same middle, as far as possible.
    """
    highest = float((whole - size) // 2 * 2)
    if not best:
        return [Knot(time, even(highest / 2)) for time in span]
    first, last = area[0], area[1] - size
    if first > last:
        first = last = (first + last) / 2
    first, last = (min(max(at, 0.0), highest) for at in (first, last))
    wanted = [(time, min(max(place, first), last)) for time, place in best]
    zone = min(_ZONE * size, max(_LEAST_ZONE * size, (size - head) / 2))
    return plan_edge(wanted, *span, size, zone)


def _shown(shot: Shot, turns: Sequence[Turn]) -> list[tuple[float, float, FaceTrack | None]]:
    """Whom the shot shows when, None for all: in order, without gaps, none too short."""
    if len(shot.tracks) < 2:
        only = shot.tracks[0] if shot.tracks else None
        return [(shot.start, shot.end, only)]
    inside = [turn for turn in turns if shot.start <= turn.start < shot.end]
    merged: list[tuple[float, float, FaceTrack | None]] = []
    for turn in inside:
        if merged and merged[-1][2] is turn.track:
            merged[-1] = (merged[-1][0], turn.end, turn.track)
        else:
            merged.append((turn.start, turn.end, turn.track))
    # A short interjection of another person does not change the picture.
    long = [part for part in merged if part[1] - part[0] >= _INTERJECTION] or merged
    spans: list[tuple[float, float, FaceTrack | None]] = []
    for start, _, track in long:
        begin = max(shot.start, start - _LEAD) if spans else shot.start
        if spans and spans[-1][2] is track:
            continue
        if spans and begin - spans[-1][0] < SHORTEST:
            # Too soon after the last change, so the previous span is merged with this one.
            begin = spans.pop()[0]
            track = track if not spans or spans[-1][2] is track else None
            if spans and spans[-1][2] is track:
                continue
        spans.append((begin, shot.end, track))
    if len(spans) > 1 and shot.end - spans[-1][0] < SHORTEST:
        spans.pop()
    if not spans:
        return [(shot.start, shot.end, None)]
    ends = [span[0] for span in spans[1:]] + [shot.end]
    return [(start, end, track) for (start, _, track), end in zip(spans, ends, strict=True)]


def _joined(sections: Sequence[Section]) -> list[Section]:
    """Join neighbours of the same layout and crop sizes; their crops then jump."""
    kept: list[Section] = []
    for section in sections:
        last = kept[-1] if kept else None
        if last and last.layout is section.layout and _sizes(last) == _sizes(section):
            crops = tuple(
                CropPath(a.width, a.height, a.x + b.x, a.y + b.y)
                for a, b in zip(last.crops, section.crops, strict=True)
            )
            kept[-1] = Section(last.start, section.end, last.layout, crops)
        else:
            kept.append(section)
    return kept


def _sizes(section: Section) -> list[tuple[int, int]]:
    return [(crop.width, crop.height) for crop in section.crops]
