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
    score,
)
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.media import ffmpeg
from clipflow.reframe.analysis import Film
from clipflow.reframe.crop import FramePlan
from clipflow.reframe.director import SHORTEST, plan_frames

MATERIAL = os.environ.get("CLIPFLOW_MATERIAL")
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


@pytest.mark.skipif(not MATERIAL, reason="CLIPFLOW_MATERIAL names no folder of real recordings")
@pytest.mark.parametrize("name", ENCODINGS)
def test_the_speaker_of_two_is_shown_in_every_encoding(
    name: str, conversation: Conversation, tmp_path: Path
) -> None:
    path = tmp_path / "encoded.mp4"
    options = [*ENCODINGS[name], "-pix_fmt", "yuv420p"]
    subprocess.run(
        [ffmpeg.executable(), "-v", "error", "-i", conversation.path, *options, path], check=True
    )
    plan = plan_frames(Film(path), Layout.AUTO, Aspect.TALL, conversation.words)
    # To find faces again is only necessary if they are elsewhere.
    found = score(replace(conversation, path=path) if name == "half-size" else conversation, plan)
    assert found.frames > 100
    # The target is a mean of many films. In this short one, with words that do not say when a turn
    # ends, the view may change a look earlier or later at each turn.
    each_look = SECONDS_BETWEEN_LOOKS * found.frames / conversation.seconds
    target = TARGETS["two-heads-missed-percent"] / 100 * found.frames
    assert found.missed <= target + found.turns * each_look
    assert 100 * found.wrong <= TARGETS["alone-but-wrong-percent"] * found.alone
    assert found.cuts <= TARGETS["cuts-per-turn"] * found.turns + 1
    views = [after - before for before, after in pairwise(changes(plan))]
    assert min(views) >= SHORTEST - 1e-6
