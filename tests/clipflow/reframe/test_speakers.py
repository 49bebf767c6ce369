"""Which face is shown when, for generated samples of faces that open their mouths."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from clipflow.domain.layouts import Aspect, Content, Layout, Pane
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.director import SHORTEST, direct
from clipflow.reframe.faces import ALIGNED_HEIGHT, ALIGNED_WIDTH, Face
from clipflow.reframe.mouths import Motion, MouthMotion
from clipflow.reframe.people import FaceTrack, find_people
from clipflow.reframe.speakers import find_speakers


def face(x: float, opening: int, seed: int, moves: int = 0) -> Face:
    noise = np.random.default_rng(seed).integers(90, 160, (ALIGNED_HEIGHT, ALIGNED_WIDTH))
    aligned = noise.astype(np.uint8)
    aligned[58:70, 24:40] = 120 - opening
    # The cheek moves in either case, as nothing does in a picture on a wall.
    aligned[54:70, 44:56] = 90 + 70 * moves
    return Face(x, 400, 200, (x, 460), aligned)


def samples(speaks: Sequence[bool | None]) -> list[FaceSample]:
    """Eight samples a second; for each second, whether the left face speaks, or None if both do."""
    found = []
    for n in range(8 * len(speaks)):
        left = speaks[n // 8]
        moved = 60 * (n % 2)
        opens = (moved if left in (True, None) else 0, moved if left in (False, None) else 0)
        faces = face(480, opens[0], 1, n % 2), face(1440, opens[1], 2, n % 2)
        found.append(FaceSample(n / 8, faces))
    return found


def words(seconds: int) -> list[Word]:
    return [Word(text="word", start=n + 0.1, end=n + 0.6) for n in range(seconds)]


def test_the_crop_cuts_to_the_speaker_and_an_unclear_shot_shows_both() -> None:
    turns = [True] * 5 + [False] * 5
    analysis = Analysis(1920, 1080, samples(turns), [(0.0, 10.0)])
    plan = direct(analysis, Layout.AUTO, Aspect.TALL, words(10))
    assert {part.layout for part in plan.sections} == {Layout.CROP}
    crop = plan.sections[0].crops[0]
    assert crop.at(2)[0] < 480 < crop.at(2)[0] + crop.width < 1440
    assert 480 < crop.at(8)[0] < 1440 < crop.at(8)[0] + crop.width
    assert plan.framing.cuts == 1
    assert (plan.framing.speaker_in_frame or 0) >= 0.98
    both = Analysis(1920, 1080, samples([None] * 6), [(0.0, 6.0)])
    shown = direct(both, Layout.AUTO, Aspect.TALL, words(6))
    assert [part.layout for part in shown.sections] == [Layout.SPLIT]


def new_layout(*panes: Pane) -> Layout:
    """A layout like another member of `Layout`, which as an enum cannot be extended."""
    layout = str.__new__(Layout, "new")
    layout._name_, layout._value_ = "NEW", "new"
    layout.panes, layout.captions = panes, 0.5
    return layout


PERSON, BACKGROUND = Content.PERSON, Content.BACKGROUND
PAIR = Pane(PERSON, width=0.5), Pane(PERSON, x=0.5, width=0.5)
THREE = tuple(Pane(PERSON, y=n / 3, height=1 / 3) for n in range(3))
BANNER = Pane(PERSON, height=0.7), Pane(BACKGROUND, y=0.7, height=0.3)


@pytest.mark.parametrize(
    ("panes", "shown", "people"),
    [(PAIR, None, 2), (THREE, Layout.SPLIT, 2), (BANNER, None, 1)],
    ids=["two people", "three people", "a person and the background"],
)
def test_a_new_layout_shows_as_many_people_as_it_has_panes(
    panes: tuple[Pane, ...], shown: Layout | None, people: int
) -> None:
    layout = new_layout(*panes)
    plan = direct(
        Analysis(1920, 1080, samples([None] * 4), [(0.0, 4.0)]), layout, Aspect.TALL, words(4)
    )
    assert [part.layout for part in plan.sections] == [shown or layout]
    assert [len(part.crops) for part in plan.sections] == [people]


def test_a_new_layout_for_one_person_keeps_its_shape_without_a_face() -> None:
    layout = new_layout(*BANNER)
    plan = direct(Analysis(1920, 1080, [], [(0.0, 4.0)]), layout, Aspect.TALL, [])
    assert [part.layout for part in plan.sections] == [layout]


@pytest.mark.parametrize(
    ("turns", "changes"), [((3, 2, 3), 2), ((3, 1.25, 3), 0), ((3, 1.25, 1.25, 3), 1)]
)
def test_every_view_has_the_minimum_duration(turns: Sequence[float], changes: int) -> None:
    """The faces speak in turn, for so many seconds each."""
    seen, spoken, end = list[FaceSample](), list[Word](), 0.0
    for number, seconds in enumerate(turns):
        spoken.append(Word(text="word.", start=end + 0.05, end=end + seconds - 0.05))
        end += seconds
        while len(seen) / 8 < end:
            moved = 60 * (len(seen) % 2)
            left, right = (moved * (number % 2 == side) for side in (0, 1))
            faces = face(480, left, 1, len(seen) % 2), face(1440, right, 2, len(seen) % 2)
            seen.append(FaceSample(len(seen) / 8, faces))
    plan = direct(Analysis(1920, 1080, seen, [(0.0, end)]), Layout.AUTO, Aspect.TALL, spoken)
    [section] = plan.sections
    jumps = [
        after.time
        for before, after in pairwise(section.crops[0].x)
        if before.time == after.time and before.place != after.place
    ]
    assert len(jumps) == plan.framing.cuts == changes
    assert all(after - before >= SHORTEST for before, after in pairwise([0.0, *jumps, end]))


def test_without_a_face_the_whole_picture_is_shown() -> None:
    plan = direct(Analysis(1920, 1080, [], [(0.0, 4.0)]), Layout.AUTO, Aspect.TALL, [])
    assert [part.layout for part in plan.sections] == [Layout.FIT]
    assert plan.framing.speaker_in_frame is None


@pytest.mark.parametrize("aspect", [Aspect.TALL, Aspect.WIDE])
def test_captions_cover_no_mouth_if_the_whole_picture_is_shown(aspect: Aspect) -> None:
    width, height = aspect.size
    mouth = round(0.64 * height)
    close = replace(face(width / 2, 0, 1), y=mouth - 90, size=400, mouth=(width / 2, mouth))
    analysis = Analysis(width, height, [FaceSample(n / 5, (close,)) for n in range(20)], [(0, 4)])
    plan = direct(analysis, Layout.FIT, aspect, words(4))
    assert abs(plan.captions_centre - mouth) >= 110


def test_captions_cover_no_mouth_of_a_picture_in_the_picture() -> None:
    # 1248 of 1920 is the line of captions, in the lower part of the picture.
    small = replace(face(1700, 0, 1), y=1035, size=40, mouth=(1700, 1045))
    analysis = Analysis(
        1920, 1080, [FaceSample(n / 5, (face(600, 0, 2), small)) for n in range(20)], [(0, 4)]
    )
    plan = direct(analysis, Layout.FIT, Aspect.TALL, words(4))
    mouth = 960 + (1045 - 540) * 1080 / 1920
    assert abs(plan.captions_centre - mouth) >= 110


@pytest.mark.parametrize("aspect", list(Aspect))
@pytest.mark.parametrize("people", [2, 3, 4])
def test_people_fill_the_picture_row_by_row_and_each_pane_shows_less_than_all(
    people: int, aspect: Aspect
) -> None:
    places = [240 + 480 * n for n in range(4)][:people]
    seen = [
        FaceSample(n / 8, tuple(replace(face(x, 60 * (n % 2), x), size=220) for x in places))
        for n in range(32)
    ]
    plan = direct(
        Analysis(1920, 1080, seen, [(0.0, 4.0)]), Layout.GRID, aspect, words(4), MouthMotion()
    )
    [section] = plan.sections
    boxes = section.boxes(aspect.size)
    assert sum(width * height for _, _, width, height in boxes) == np.prod(aspect.size)
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    for crop, place in zip(section.crops, places, strict=True):
        left, _ = crop.at(1)
        assert left < place < left + crop.width < left + 1920


def restless(left: Sequence[int], right: Sequence[int]) -> Analysis:
    """Two faces whose mouths open by these amounts in each second, in every second sample."""
    seen = [
        FaceSample(
            n / 8,
            (face(480, left[n // 8] * (n % 2), 1), face(1440, right[n // 8] * (n % 2), 2)),
        )
        for n in range(8 * len(left))
    ]
    return Analysis(1920, 1080, seen, [(0.0, float(len(left)))])


def by_turns(*speakers: str) -> list[Word]:
    """One word a second, each with its speaker."""
    return [
        word.model_copy(update={"speaker": speaker})
        for word, speaker in zip(words(len(speakers)), speakers, strict=True)
    ]


def test_the_transcripts_speakers_decide_where_both_mouths_move() -> None:
    # Each mouth moves a little more while its speaker speaks, but too little to decide by.
    analysis = restless([60] * 5 + [45] * 5, [45] * 5 + [60] * 5)
    unnamed = direct(analysis, Layout.AUTO, Aspect.TALL, words(10), MouthMotion())
    assert [part.layout for part in unnamed.sections] == [Layout.SPLIT]
    spoken = by_turns(*["SPEAKER_00"] * 5, *["SPEAKER_01"] * 5)
    plan = direct(analysis, Layout.AUTO, Aspect.TALL, spoken, MouthMotion())
    assert {part.layout for part in plan.sections} == {Layout.CROP}
    crop = plan.sections[0].crops[0]
    assert crop.at(2)[0] < 480 < crop.at(2)[0] + crop.width < 1440
    assert 480 < crop.at(8)[0] < 1440 < crop.at(8)[0] + crop.width


def test_a_face_is_not_assigned_to_two_of_the_transcripts_speakers() -> None:
    # The right mouth moves evenly; the left one moves more for two of the three speakers.
    analysis = restless([60] * 6 + [40] * 3, [50] * 9)
    spoken = by_turns(*["SPEAKER_00"] * 3, *["SPEAKER_01"] * 3, *["SPEAKER_02"] * 3)
    plan = direct(analysis, Layout.AUTO, Aspect.TALL, spoken, MouthMotion())
    assert [part.layout for part in plan.sections] == [Layout.SPLIT]


class Measured:
    """Mouths that move by given amounts in each of eight samples a second, by their faces' x."""

    speaking = 0.5

    def __init__(self, amounts: Mapping[float, Sequence[float]]) -> None:
        self.amounts = amounts

    def __call__(self, track: FaceTrack) -> Motion:
        return [(n / 8, amount) for n, amount in enumerate(self.amounts[track.faces[0].x])]


def test_the_noise_of_a_small_face_does_not_make_it_the_transcripts_speaker() -> None:
    """While the second speaker is heard, a listener's mouth seems to move more by chance."""
    places = 300.0, 900.0, 1500.0
    seen = [FaceSample(n / 8, tuple(face(x, 0, 1, n % 2) for x in places)) for n in range(72)]
    shots = find_people(Analysis(1920, 1080, seen, [(0.0, 9.0)]))
    spoken = by_turns(*["SPEAKER_00"] * 3, *["SPEAKER_01"] * 3, *["SPEAKER_02"] * 3)
    noise = [1.0, 5.0] * 12 + [1.0] * 18 + [16.0] * 6 + [1.0, 5.0] * 12
    listening = {300.0: [2.0] * 72, 900.0: [2.0] * 72, 1500.0: noise}
    assert all(turn.track is None for turn in find_speakers(shots, spoken, Measured(listening)))
    # The same amount without the chance: the mouth moves more all the time.
    steady = [3.0, 3.2] * 12 + [5.0, 5.2] * 12 + [3.0, 3.2] * 12
    turns = find_speakers(shots, spoken, Measured({**listening, 1500.0: steady}))
    named = [turn.track.faces[0].x for turn in turns if turn.track and 3 <= turn.start < 6]
    assert named and set(named) == {1500.0}
