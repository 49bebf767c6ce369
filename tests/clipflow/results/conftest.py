"""Fixtures of results in the local S3: two shorts, a short that failed, and a clip."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.errors import Failure, FailureCode
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.layouts import Layout
from clipflow.domain.removals import Removal, RemovalKind, Tightening
from clipflow.domain.shorts import Framing, LayoutSpan, Moment, Short
from clipflow.domain.transcript import Word, words_json
from clipflow.media import ffmpeg
from clipflow.results.publish import put_clip_page, put_shorts_page
from clipflow.storage.objects import ObjectStore
from tests.made_media import a_machine

DESCRIPTION = "One clip holds one idea. When the title comes easily, the idea is clear."
# The parts of a card that a run adds to a short.
FRAMING = Framing(
    speaker_in_frame=0.9,
    confidence=0.1,
    cuts=1,
    layouts=(LayoutSpan(start=0, end=5, layout=Layout.CROP),),
)
TIGHTENING = Tightening(
    removed=(
        Removal(id="p18", kind=RemovalKind.SILENCE, word=18, text="When", start=9.6, end=9.9),
    ),
    seconds=0.3,
)
WHY = "It says in one sentence what the talk keeps coming back to."
TITLES = ("One clip holds one idea", "Begin with the good part", "Leave some silence in")
FAILURE = Failure(FailureCode.STORAGE_ERROR, "uploading short 3 failed: SlowDown. Wait a while.")
LINES = (
    ("host", "So what is the first rule of all your rules?"),
    ("guest", "One clip holds one idea, and nothing else."),
    ("guest", "When the title comes easily, the idea is clear."),
    ("host", "That sounds strict to me."),
    ("guest", "Begin with the good part, and explain it afterwards."),
    ("guest", "Leave some silence in, for that is a part of speech."),
)
# The duration of each line in seconds.
PACE = 5


def words(lines: Sequence[tuple[str, str]] = LINES) -> list[Word]:
    """The words of the lines, evenly spaced, with half a second of silence after each line."""
    made = []
    for line, (speaker, text) in enumerate(lines):
        texts = text.split()
        step = (PACE - 0.5) / len(texts)
        for place, one in enumerate(texts):
            start = round(line * PACE + place * step, 3)
            made.append(Word(text=one, start=start, end=round(start + step, 3), speaker=speaker))
    return made


def moment(line: int, **more: Any) -> Moment:
    """The moment of one of the lines."""
    defaults = {
        "start": Fraction(line * PACE),
        "end": Fraction((line + 1) * PACE),
        "score": max(0, 97 - 8 * line),
        "why": WHY,
        "title": "A title",
    }
    return Moment(**{**defaults, **more})


@dataclass
class Results:
    """The shorts of a video, the last one failed, and a clip, with their results pages."""

    objects: ObjectStore
    name: str
    short: Path
    clip: Path
    spoken: list[Word] = field(default_factory=words)
    titles: Sequence[str] = TITLES
    why: str = WHY
    description: str = DESCRIPTION
    failure: Failure = FAILURE
    segments: list[Segment] = field(
        default_factory=lambda: [
            Segment.read(
                {
                    "startTime": line * PACE,
                    "endTime": line * PACE + 3,
                    "speaker": speaker,
                    "text": text,
                },
                "a segment",
            )
            for line, (speaker, text) in enumerate(LINES[:2])
        ]
    )

    def __post_init__(self) -> None:
        self.keys = ShortsKeys("u", self.name, "warehouse")
        self.clip_keys = ClipKeys("t", self.name, "best-moments")

    @property
    def shorts(self) -> list[Short]:
        moments = [
            moment(
                line,
                title=title,
                why=self.why,
                description=self.description,
                hashtags=("idea", "clip", "silence"),
            )
            for line, title in zip((1, 4, 5), self.titles, strict=True)
        ]
        size = self.short.stat().st_size
        return [
            Short.made(1, self.keys.short(1), moments[0], size, FRAMING, None, TIGHTENING),
            Short.made(2, self.keys.short(2), moments[1], size, FRAMING),
            Short.failed(3, self.keys.short(3), moments[2], self.failure),
        ]

    @property
    def made(self) -> ClipResult:
        return ClipResult(
            s3_key=self.clip_keys.clip,
            file_size=self.clip.stat().st_size,
            duration="00:00:06",
            duration_seconds=6,
            resolution="640x360",
            segment_count=len(self.segments),
        )

    def put(self) -> "Results":
        """Store the videos, the words and both pages."""
        for number in (1, 2):
            self.objects.upload(self.short, self.keys.short(number), {})
        self.objects.upload(self.clip, self.clip_keys.clip, {})
        self.objects.put_text(words_json(self.spoken), self.keys.words, {}, "application/json")
        return self.store_pages()

    def store_pages(self) -> "Results":
        """Store both pages."""
        put_shorts_page(self.keys, self.shorts, self.objects, a_machine())
        put_clip_page(self.clip_keys, self.segments, self.made, self.objects, a_machine())
        return self

    def text(self, key: str) -> str:
        return self.objects.text(key, 1 << 24)

    def download(self, folder: Path) -> tuple[Path, Path]:
        """Download both pages and their videos to `folder`, with their keys as paths."""
        shorts = [self.keys.page, *(self.keys.short(number) for number in (1, 2))]
        for key in [*shorts, self.clip_keys.page, self.clip_keys.clip]:
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            self.objects.download(key, path)
        return folder / self.keys.page, folder / self.clip_keys.page


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two videos of two seconds, colour bars with a tone: a portrait and a landscape one."""
    folder = tmp_path_factory.mktemp("bars")
    return _bars(folder / "short.mp4", "270x480"), _bars(folder / "clip.mp4", "640x360")


def _bars(path: Path, size: str) -> Path:
    picture = ["-f", "lavfi", "-i", f"smptehdbars=size={size}:rate=25:duration=2"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=330:duration=2"]
    form = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    command = [ffmpeg.executable(), "-nostdin", "-v", "error", *picture, *sound, *form, str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def results(objects: ObjectStore, bars: tuple[Path, Path], tmp_path: Path) -> Results:
    """Results with a unique name, which are not stored yet."""
    return Results(objects, tmp_path.name, *bars)
