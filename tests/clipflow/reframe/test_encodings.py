"""The speaker of two is found in every encoding of a film, and no view is too short.

The film is made of recordings of two talking heads, as in `benchmarks/framing.py`.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.framing import (
    ENGLISH,
    PORTUGUESE,
    TARGETS,
    Conversation,
    FilmMaker,
    Head,
    Kind,
    Score,
    score,
)
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.media import ffmpeg
from clipflow.reframe.analysis import Film
from clipflow.reframe.crop import FramePlan
from clipflow.reframe.director import SHORTEST, plan_frames

MATERIAL = os.environ.get("CLIPFLOW_MATERIAL")
pytestmark = pytest.mark.skipif(
    not MATERIAL, reason="CLIPFLOW_MATERIAL names no folder of real recordings"
)
# Seconds of each turn; the left head begins.
TURNS = (4.0, 3.5, 3.0, 4.0)
SECONDS_BETWEEN_LOOKS = 0.2
H264 = ("-c:v", "libx264", "-preset", "veryfast")
ENCODINGS: dict[str, Sequence[str]] = {
    "crf-18": (*H264, "-crf", "18"),
    "crf-23": (*H264, "-crf", "23"),
    "crf-30": (*H264, "-crf", "30"),
    "keyframe-each-second": (*H264, "-g", "25"),
    "keyframe-each-two-seconds": (*H264, "-g", "50"),
    "one-keyframe": (*H264, "-g", "250", "-sc_threshold", "0"),
    "mpeg4-part-2": ("-c:v", "mpeg4", "-q:v", "5"),
    "half-size": (*H264, "-vf", "scale=iw/2:ih/2"),
    "two-pixels-less": (*H264, "-vf", "scale=iw-2:ih-2"),
}


class EvenlySpoken(FilmMaker):
    """Makes films whose words are two in each second, so that nothing needs to be transcribed."""

    def _words_of(self, head: Head) -> Sequence[Word]:
        return [Word(text="word", start=n / 2 + 0.02, end=n / 2 + 0.48) for n in range(60)]


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    maker = EvenlySpoken(Path(str(MATERIAL), "video"), tmp_path_factory.mktemp("films"))
    return maker.make_film(PORTUGUESE, ENGLISH, Kind.LISTENING, TURNS)


def changes(plan: FramePlan) -> Iterator[float]:
    """The times at which a view begins or ends."""
    jumps = {
        after.time
        for section in plan.sections
        for crop in section.crops
        for before, after in pairwise(crop.x)
        if before.time == after.time and before.place != after.place
    }
    yield from sorted(jumps | {s.start for s in plan.sections} | {plan.sections[-1].end})


@pytest.fixture(scope="module")
def results(
    conversation: Conversation, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[FramePlan, Score]]:
    """The plan of the film in each encoding, and its score."""
    folder, found = tmp_path_factory.mktemp("encoded"), {}
    for name, encoding in ENCODINGS.items():
        path = folder / f"{name}.mp4"
        options = ["-i", str(conversation.path), *encoding, "-pix_fmt", "yuv420p", str(path)]
        subprocess.run([ffmpeg.executable(), "-v", "error", *options], check=True)
        plan = plan_frames(Film(path), Layout.AUTO, Aspect.TALL, conversation.words)
        # To find faces again is only necessary if they are elsewhere.
        seen = replace(conversation, path=path) if name == "half-size" else conversation
        found[name] = plan, score(seen, plan)
    return found


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_speaker_of_two_is_shown_in_every_encoding(
    name: str, results: dict[str, tuple[FramePlan, Score]], conversation: Conversation
) -> None:
    plan, found = results[name]
    assert found.frames > 100
    # The words do not say when a turn ends, so the view may change a look earlier or later.
    each_look = SECONDS_BETWEEN_LOOKS * found.frames / conversation.seconds
    target = TARGETS["two-heads-missed-percent"] / 100 * found.frames
    assert found.missed <= target + found.turns * each_look
    assert 100 * found.wrong <= TARGETS["alone-but-wrong-percent"] * found.alone
    assert found.cuts <= TARGETS["cuts-per-turn"] * found.turns + 1
    views = [after - before for before, after in pairwise(changes(plan))]
    assert min(views) >= SHORTEST - 1e-6


def test_the_mean_of_all_encodings_meets_the_target(
    results: dict[str, tuple[FramePlan, Score]],
) -> None:
    total = Score()
    for _, found in results.values():
        total.add(found)
    assert 100 * total.missed <= TARGETS["two-heads-missed-percent"] * total.frames
