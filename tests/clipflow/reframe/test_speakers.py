"""Whose face is shown when: two faces of which one opens its mouth, as data without a video."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.director import SHORTEST, direct
from clipflow.reframe.faces import ALIGNED_HEIGHT, ALIGNED_WIDTH, Face


def face(x: float, opening: int, seed: int) -> Face:
    noise = np.random.default_rng(seed).integers(90, 160, (ALIGNED_HEIGHT, ALIGNED_WIDTH))
    aligned = noise.astype(np.uint8)
    aligned[58:70, 24:40] = 120 - opening
    return Face(x, 400, 200, (x, 460), aligned)


def samples(speaks: Sequence[bool | None]) -> list[FaceSample]:
    """Eight samples a second; for each second, whether the left one speaks, None: both."""
    found = []
    for n in range(8 * len(speaks)):
        left = speaks[n // 8]
        moved = 60 * (n % 2)
        opens = (moved if left in (True, None) else 0, moved if left in (False, None) else 0)
        faces = face(480, opens[0], 1), face(1440, opens[1], 2)
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


def test_changes_are_never_sooner_than_the_shortest() -> None:
    analysis = Analysis(1920, 1080, samples([True, False] * 5), [(0.0, 10.0)])
    plan = direct(analysis, Layout.AUTO, Aspect.TALL, words(10))
    starts = [part.start for part in plan.sections]
    assert all(b - a >= SHORTEST for a, b in pairwise(starts))


def test_without_a_face_the_whole_picture_is_shown() -> None:
    plan = direct(Analysis(1920, 1080, [], [(0.0, 4.0)]), Layout.AUTO, Aspect.TALL, [])
    assert [part.layout for part in plan.sections] == [Layout.FIT]
    assert plan.framing.speaker_in_frame is None
