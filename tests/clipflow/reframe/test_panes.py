"""The panes of four people in a video call, and the framing of a close-up."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from clipflow.domain.edits import View
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.safe_zones import CAPTIONS_HALF
from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.crop import CropPath, FramePlan
from clipflow.reframe.director import direct
from clipflow.reframe.faces import Face
from clipflow.reframe.mouths import MouthMotion
from clipflow.reframe.panes import Area, pane_area
from clipflow.reframe.people import find_people
from tests.clipflow.reframe.test_speakers import face, words

# The faces of a video call of 1280x720, as centre and size: people sit high and low, near and far.
CALL = (326, 272, 135), (958, 96, 219), (336, 552, 126), (906, 614, 181)


def at(x: float, y: float, size: float, opens: int = 0) -> Face:
    return replace(face(x, opens, round(x)), y=y, size=size, mouth=(x, y + 0.3 * size))


def call(nods: int = 0) -> Analysis:
    """The call, in which everyone nods by so many pixels now and then."""
    samples = [
        FaceSample(
            n / 8,
            tuple(at(x, y + nods * (n % 8 == 0), size, 60 * (n % 2)) for x, y, size in CALL),
        )
        for n in range(32)
    ]
    return Analysis(1280, 720, samples, [(0.0, 4.0)])


def direct_grid(aspect: Aspect) -> FramePlan:
    return direct(call(), Layout.GRID, aspect, words(4), MouthMotion())


@pytest.mark.parametrize("aspect", list(Aspect))
def test_each_tile_of_a_video_call_shows_one_whole_face_and_no_part_of_another(
    aspect: Aspect,
) -> None:
    [section] = direct_grid(aspect).sections
    assert (section.layout, len(section.crops)) == (Layout.GRID, 4)
    assert sorted(only_face_in(crop) for crop in section.crops) == [0, 1, 2, 3]


@pytest.mark.parametrize("aspect", list(Aspect))
@pytest.mark.parametrize("person", [1, 2, 3, 4])
def test_a_crop_on_one_person_of_a_video_call_shows_no_part_of_another(
    person: int, aspect: Aspect
) -> None:
    chosen = View(start=0, end=4, person=person)
    plan = direct(call(), Layout.CROP, aspect, words(4), MouthMotion(), [chosen])
    [section] = plan.sections
    # People are counted from left to right.
    left_to_right = sorted(range(4), key=lambda n: CALL[n][0])
    assert only_face_in(section.crops[0]) == left_to_right[person - 1]


@pytest.mark.parametrize("layout", [Layout.STACK, Layout.CROP])
@pytest.mark.parametrize("aspect", [Aspect.SQUARE, Aspect.WIDE])
def test_a_crop_on_one_person_of_a_video_call_ends_where_the_tile_ends(
    aspect: Aspect, layout: Layout
) -> None:
    for person, (column, row) in enumerate([(0, 0), (0, 1), (1, 1), (1, 0)], 1):
        chosen = View(start=0, end=4, person=person)
        plan = direct(call(), layout, aspect, words(4), MouthMotion(), [chosen])
        [crop] = plan.sections[0].crops
        left, top = crop.at(2)
        assert 640 * column <= left and left + crop.width <= 640 * (column + 1)
        assert 360 * row <= top and top + crop.height <= 360 * (row + 1)


@pytest.mark.parametrize("layout", [Layout.GRID, Layout.CROP])
def test_a_face_that_nearly_fills_its_tile_is_shown_without_the_tile_above(layout: Layout) -> None:
    # 60 % of the tile's height; a crop of 9:16 within the tile has space for the face.
    places = (320, 180, 120), (960, 170, 120), (330, 540, 120), (950, 545, 190)
    samples = [
        FaceSample(n / 8, tuple(at(*place, 60 * (n % 2)) for place in places)) for n in range(32)
    ]
    analysis = Analysis(1280, 720, samples, [(0.0, 4.0)])
    views = [View(start=0, end=4, person=3)] if layout is Layout.CROP else []
    plan = direct(analysis, layout, Aspect.TALL, words(4), MouthMotion(), views)
    crops = {crop.at(2): crop for crop in plan.sections[0].crops}
    [(left, top)] = [place for place in crops if place[0] > 700 and place[1] > 200]
    assert top >= 360
    assert left <= 950 - 190 * 3 / 7 and left + crops[left, top].width >= 950 + 190 * 3 / 7


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_the_crop_of_a_tile_ends_at_its_borders_wherever_the_faces_are_in_their_tiles(
    rows: int, seed: int
) -> None:
    across, down = 1920 / rows, 1080 / rows
    random = np.random.default_rng(seed)
    places = [
        (
            across * (column + random.uniform(0.4, 0.6)),
            down * (row + random.uniform(0.35, 0.65)),
            down * random.uniform(0.25, 0.45),
        )
        for row in range(rows)
        for column in range(rows)
    ]
    samples = [
        FaceSample(n / 8, tuple(at(*place, 60 * (n % 2)) for place in places)) for n in range(32)
    ]
    [shot] = find_people(Analysis(1920, 1080, samples, [(0.0, 4.0)]))
    assert len(shot.tracks) == rows * rows
    whole = Area(0, 0, 1920, 1080)
    for track in shot.tracks:
        width, area = pane_area(track, shot.tracks, whole, 606, Fraction(9, 16))
        column, row = int(track.faces[0].x // across), int(track.faces[0].y // down)
        assert across * column - 2 <= area.left and area.right <= across * (column + 1) + 2
        assert down * row - 2 <= area.top and area.bottom <= down * (row + 1) + 2
        assert width <= area.width and width * 16 / 9 <= area.height + 2


@pytest.mark.parametrize("layout", [Layout.STACK, Layout.CROP, Layout.SCREEN])
@pytest.mark.parametrize("aspect", list(Aspect))
def test_a_crop_on_one_of_two_ends_half_way_to_the_other(aspect: Aspect, layout: Layout) -> None:
    # Further there, the other's shoulder begins.
    faces = (330, 250, 190), (960, 240, 180)
    samples = [
        FaceSample(n / 8, tuple(at(*face, 60 * (n % 2)) for face in faces)) for n in range(32)
    ]
    two = Analysis(1280, 720, samples, [(0.0, 4.0)])
    plan = direct(two, layout, aspect, words(4), MouthMotion(), [View(start=0, end=4, person=1)])
    crop = plan.sections[0].crops[0]
    assert crop.at(2)[0] + crop.width <= 670


def only_face_in(crop: CropPath) -> int:
    """The number of the face that the crop shows, which has to be whole, and the only one."""
    left, top = crop.at(2)
    right, bottom = left + crop.width, top + crop.height
    # A detector's box is higher than wide.
    boxes = [
        (x - 3 / 7 * size, max(0, y - 4 / 7 * size), x + 3 / 7 * size, y + 4 / 7 * size)
        for x, y, size in CALL
    ]
    whole = [
        n
        for n, (x0, y0, x1, y1) in enumerate(boxes)
        if left <= x0 and x1 <= right and top <= y0 and min(y1, 720) <= bottom
    ]
    seen = [
        n
        for n, (x0, y0, x1, y1) in enumerate(boxes)
        if x0 < right and left < x1 and y0 < bottom and top < y1
    ]
    assert seen == whole and len(whole) == 1
    return whole[0]


def test_captions_over_a_whole_video_call_cover_no_mouth() -> None:
    # Mouths are everywhere in the picture, and little is free below it: there is room above it.
    plan = direct(call(nods=16), Layout.FIT, Aspect.TALL, words(4), MouthMotion())
    # The lips reach about an eighth of the face up and down.
    places = [
        y + nod + (0.3 + lip) * size
        for _, y, size in CALL
        for nod in (0, 16)
        for lip in (-0.12, 0.12)
    ]
    lips = [960 + (place - 360) * 1080 / 1280 for place in places]
    assert all(abs(lip - plan.captions_centre) > CAPTIONS_HALF - 1 for lip in lips)


def test_a_close_up_is_not_reported_as_cut_off() -> None:
    # The widest crop has 608 of 1920 pixels; the face's box 500, as 6/7 of its size.
    swaying = [960 + 40 * float(np.sin(n / 3)) for n in range(40)]
    samples = [FaceSample(n / 5, (at(x, 500, 583, 60 * (n % 2)),)) for n, x in enumerate(swaying)]
    plan = direct(Analysis(1920, 1080, samples, [(0.0, 8.0)]), Layout.CROP, Aspect.TALL, words(8))
    for sample in samples:
        left, _ = plan.sections[0].crops[0].at(sample.time)
        assert left <= sample.faces[0].x - 250 and sample.faces[0].x + 250 <= left + 608
    assert plan.framing.speaker_in_frame == 1.0


@pytest.mark.parametrize("aspect", list(Aspect))
def test_captions_over_a_large_face_cover_neither_the_mouth_nor_the_eyes(aspect: Aspect) -> None:
    # The usual line is that of the eyes, which are a sixth of the face above its middle.
    x, y, size = 640, 520, 300
    samples = [FaceSample(n / 8, (at(x, y, size, 60 * (n % 2)),)) for n in range(32)]
    plan = direct(
        Analysis(1280, 720, samples, [(0.0, 4.0)]), Layout.CROP, aspect, words(4), MouthMotion()
    )
    [crop] = plan.sections[0].crops
    scale = aspect.size[1] / crop.height
    for place in (y - size / 6, y + 0.3 * size):
        in_short = (place - crop.at(2)[1]) * scale
        assert abs(in_short - plan.captions_centre) >= CAPTIONS_HALF
