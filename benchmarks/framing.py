"""Benchmark of framing: how often a short shows the speaker's face and how often it cuts; its cost.

The recordings of talking heads are in the folder `video/` of the folder that the environment
variable CLIPFLOW_MATERIAL names; without it nothing is measured. Two recordings are placed side by
side with the sound of one at a time, so the speaker is known at any time. `Kind` is the behaviour
of the other head.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from benchmarks.measure import Finding, cpu_seconds
from benchmarks.programs import ffmpeg
from clipflow.domain.layouts import Aspect, Content, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Film
from clipflow.reframe.crop import FramePlan
from clipflow.reframe.director import SHORTEST, plan_frames
from clipflow.reframe.faces import Face, FaceDetector
from clipflow.reframe.framing import holds
from clipflow.settings import models

# Size of each half of a film in pixels, and frames per second of the film.
_WIDTH, _HEIGHT, _RATE = 640, 720, 25
# To score a plan, faces are detected again in every second frame.
_EVERY = 2
# Upper limits: percent of frames, cuts per turn of the conversation, CPU-seconds per second of
# video.
TARGETS = {
    "one-head-missed-percent": 2.0,
    "two-heads-missed-percent": 3.0,
    "alone-but-wrong-percent": 10.0,
    "cuts-per-turn": 1.3,
    "cuts-too-early": 0.0,
    "faceless-but-cropped-percent": 0.0,
    "cpu-seconds-per-second": 0.25,
}


class Kind(StrEnum):
    """The behaviour of the head whose sound is not in the film."""

    LISTENING = "listening"  # moves as in a pause of its speech
    FROZEN = "frozen"  # does not move
    TALKING = "talking"  # continues to talk, so moving mouths do not show who speaks
    GRIMACING = "grimacing"  # moves its mouth without speaking


@dataclass(frozen=True)
class Head:
    """A recording of one talking head.

    Attributes:
        file: name of the file.
        filters: ffmpeg filters that make it as large as half of a film.
        pause: start and end, in seconds, of a span without speech.
    """

    file: str
    filters: str
    pause: tuple[float, float] = (0.0, 0.4)


_TALL = f"crop=960:1080:60:{{}},scale={_WIDTH}:{_HEIGHT}"
_SMALL = f"crop=256:288,scale={_WIDTH}:{_HEIGHT}"
# The face would fill the half, so the picture is smaller, over a blurred copy of itself.
_INSET = (
    f"split[a][b];[a]scale={_WIDTH}:{_HEIGHT},boxblur=20[c];[b]scale=-2:400[d];"
    "[c][d]overlay=(W-w)/2:(H-h)/2"
)
RUSSIAN = Head("latentsync1.mp4", _TALL.format(260), (9.05, 9.35))
PORTUGUESE = Head("latentsync2.mp4", _TALL.format(40), (14.25, 14.8))
ENGLISH = Head("latentsync3.mp4", _TALL.format(180), (1.15, 1.65))
GRID = tuple(Head(f"grid-{name}.mpg", _SMALL) for name in ("bbaf2n", "lbbc2a", "sbia1a", "swwp2s"))
GRIMACES = tuple(Head(f"lp-{name}.mp4", _INSET) for name in ("d0", "d3", "d9"))
TALKERS = (RUSSIAN, PORTUGUESE, ENGLISH)
FACELESS = "intel-bottle-detection.mp4"
# Seconds of each turn; the left head begins. The turns of a head are not longer than its recording.
_TALKS = {
    (PORTUGUESE, ENGLISH): (5.0, 4.0, 6.0, 6.0, 2.5, 5.0),
    (ENGLISH, RUSSIAN): (4.0, 3.0, 5.0, 4.0, 6.0, 2.5),
    (RUSSIAN, PORTUGUESE): (3.5, 6.0, 3.0, 4.0, 2.5, 5.0),
    (GRID[0], GRID[2]): (3.0, 3.0),
    (GRID[1], GRID[3]): (3.0, 3.0),
    (GRID[3], GRID[0]): (3.0, 3.0),
}


@dataclass(frozen=True)
class SpeechTurn:
    """A span in which one head speaks, the left or the right one: `start ≤ t < end` seconds."""

    is_left: bool
    start: float
    end: float


@dataclass(frozen=True)
class Conversation:
    """A film of one or two heads, with its words and the turns of its speakers."""

    name: str
    path: Path
    words: tuple[Word, ...]
    turns: tuple[SpeechTurn, ...]

    has_two: bool = True

    @property
    def seconds(self) -> float:
        return self.turns[-1].end


@dataclass
class Score:
    """The score of a plan, or the sum of several.

    Attributes:
        frames: frames with speech and a detected speaker.
        missed: those of them in which the short does not show the speaker's whole face.
        alone: those of them in which the short shows one person's crop.
        wrong: those of `alone` in which this person is not the speaker, or not the only one shown.
        turns: changes of the speaker.
        cuts: jumps of the crop and changes of the layout.
        early: cuts that are less than the shortest permitted time after the previous one.
    """

    frames: int = 0
    missed: int = 0
    alone: int = 0
    wrong: int = 0
    turns: int = 0
    cuts: int = 0
    early: int = 0

    def add(self, other: "Score") -> None:
        """Add the counts of another score."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def score(conversation: Conversation, plan: FramePlan) -> Score:
    """The score of a plan, from faces that are detected again in the film."""
    found = Score(turns=len(conversation.turns) - 1)
    for time, faces, whole in _faces(conversation.path):
        turn = next((t for t in conversation.turns if t.start <= time < t.end), None)
        if turn is None or not any(w.start <= time <= w.end for w in conversation.words):
            continue
        middle = whole[0] / 2 if conversation.has_two else float("inf")
        left = [face for face in faces if face.x < middle]
        right = [face for face in faces if face.x >= middle]
        speakers, others = (left, right) if turn.is_left else (right, left)
        if not speakers:
            continue
        shows = _shows(plan, time, speakers[0], whole)
        found.frames += 1
        found.missed += not shows
        if _is_alone(plan, time):
            found.alone += 1
            others_shown = any(_shows(plan, time, face, whole) for face in others)
            found.wrong += not shows or others_shown
    changes = list(_changes(plan))
    found.cuts = len(changes)
    found.early = sum(after - before < SHORTEST - 1e-6 for before, after in pairwise(changes))
    return found


def _is_alone(plan: FramePlan, time: float) -> bool:
    section = next((part for part in plan.sections if time < part.end), plan.sections[-1])
    return section.layout is Layout.CROP


def _shows(plan: FramePlan, time: float, face: Face, whole: tuple[int, int]) -> bool:
    section = next((part for part in plan.sections if time < part.end), plan.sections[-1])
    if any(pane.content is Content.PICTURE for pane in section.layout.panes):
        return True
    return any(holds(crop, time, face, whole) for crop in section.crops)


def _changes(plan: FramePlan) -> Iterator[float]:
    """The times, in order, at which the crop jumps or the layout changes."""
    times = {section.start for section in plan.sections[1:]}
    for section in plan.sections:
        for crop in section.crops:
            for edge in (crop.x, crop.y):
                times |= {b.time for a, b in pairwise(edge) if a.time == b.time}
    yield from sorted(times)


@cache
def _faces(path: Path) -> list[tuple[float, list[Face], tuple[int, int]]]:
    """Times in seconds, the faces that are detected, and the size of the picture."""
    detector, found = FaceDetector(), []
    with av.open(str(path)) as container:
        first = 0.0
        for number, frame in enumerate(container.decode(video=0)):
            first = first if number else float(frame.time or 0)
            if number % _EVERY == 0:
                ratio = 640 / max(frame.width, frame.height)
                size = round(frame.width * ratio), round(frame.height * ratio)
                small = np.asarray(frame.reformat(*size, "bgr24").to_ndarray(), np.uint8)
                faces = [face.scaled(1 / ratio) for face in detector.detect(small)]
                time = float(frame.time or 0) - first
                found.append((time, faces, (frame.width, frame.height)))
    return found


class FilmMaker:
    """Composes the films in `folder` from the recordings in `material`.

    Each recording is transcribed once.
    """

    def __init__(self, material: Path, folder: Path) -> None:
        self._material, self._folder = material, folder
        self._words: dict[str, Sequence[Word]] = {}

    def conversations(self) -> Iterator[Conversation]:
        """Films of two heads that speak in turns."""
        for (left, right), turns in _TALKS.items():
            yield self.make_film(left, right, Kind.LISTENING, turns)
            yield self.make_film(left, right, Kind.FROZEN, turns)
            # Both recordings play all the time, so the turns have to be shorter.
            fewer = [turn / 2 for turn in turns] if len(turns) > 2 else turns[:1]
            yield self.make_film(left, right, Kind.TALKING, fewer)

    def beside_grimacing_heads(self) -> Iterator[Conversation]:
        """Films of a head that speaks beside one that only moves its mouth."""
        for talker in TALKERS:
            for other, seconds in zip(GRIMACES, (3.0, 9.0, 9.0), strict=True):
                yield self.make_film(talker, other, Kind.GRIMACING, [seconds])

    def one_head(self) -> Iterator[Conversation]:
        """The recordings themselves, as films of one head."""
        for head in (*TALKERS, *GRID):
            path = self._material / head.file
            words = tuple(self._words_of(head))
            yield Conversation(
                head.file, path, words, (SpeechTurn(True, 0.0, words[-1].end),), False
            )

    def _words_of(self, head: Head) -> Sequence[Word]:
        from clipflow.jobs.transcription import transcribe_file

        if head.file not in self._words:
            path = self._material / head.file
            self._words[head.file] = transcribe_file(path, None, models()).words
        return self._words[head.file]

    def _half(self, head: Head) -> Path:
        path = self._folder / f"{head.file}.mp4"
        if not path.exists():
            filters = f"fps={_RATE},{head.filters},setsar=1"
            source = str(self._material / head.file)
            ffmpeg("-i", source, "-an", "-vf", filters, *_ENCODED, str(path))
        return path

    def make_film(
        self, left: Head, right: Head, kind: Kind, turns: Sequence[float]
    ) -> Conversation:
        """A film of two heads; the left one speaks first. Turns are in seconds."""
        parts: dict[bool, list[str]] = {True: [], False: []}
        words: list[Word] = []
        spans: list[SpeechTurn] = []
        used = {True: 0.0, False: 0.0}
        now, is_left = 0.0, True
        for length in turns:
            for side, head in ((True, left), (False, right)):
                is_moving = side is is_left or kind in (Kind.TALKING, Kind.GRIMACING)
                parts[side].append(
                    _part(used[side], length)
                    if is_moving
                    else _silent_part(head, kind, used[side], length)
                )
            since = used[is_left]
            words += _shifted_words(self._words_of(left if is_left else right), since, length, now)
            spans.append(SpeechTurn(is_left, now, now + length))
            for side in (True, False):
                used[side] += length if side is is_left or kind is Kind.TALKING else 0.0
            now += length
            is_left = not is_left
        name = f"{Path(left.file).stem}-{Path(right.file).stem}-{kind}"
        path = self._folder / f"{name}.mp4"
        graph = f"{_chain(0, parts[True])};{_chain(1, parts[False])};[h0][h1]hstack=shortest=1[v]"
        halves = ("-i", str(self._half(left)), "-i", str(self._half(right)))
        ffmpeg(*halves, "-filter_complex", graph, "-map", "[v]", *_ENCODED, str(path))
        return Conversation(name, path, tuple(words), tuple(spans))


_ENCODED = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "19", "-pix_fmt", "yuv420p")


def _part(start: float, length: float) -> str:
    return f"trim={start}:{start + length},setpts=PTS-STARTPTS"


def _silent_part(head: Head, kind: Kind, at: float, length: float) -> str:
    cut = f"fps={_RATE},trim=0:{length}"
    if kind is Kind.FROZEN:
        last = max(0.0, at - 1 / _RATE)
        return f"{_part(last, 1 / _RATE)},loop=-1:1:0,setpts=N/{_RATE}/TB,{cut}"
    start, end = head.pause
    # Three times slower, forwards and backwards in a loop, as a listener moves.
    frames = 6 * int((end - start) * _RATE)
    there = f"{_part(start, end - start)},setpts=3*PTS,fps={_RATE},split[x][y]"
    back = f"[y]reverse[z];[x][z]concat,loop=-1:{frames}:0,setpts=N/{_RATE}/TB"
    return f"{there};{back},{cut}"


def _chain(number: int, parts: Sequence[str]) -> str:
    """A filter graph that concatenates the parts of input `number` and outputs `h` + `number`."""
    names = [f"{number}_{place}" for place in range(len(parts))]
    split = f"[{number}:v]split={len(parts)}" + "".join(f"[s{name}]" for name in names)
    cut = []
    for name, part in zip(names, parts, strict=True):
        for label in "xyz":
            part = part.replace(f"[{label}]", f"[{label}{name}]")
        cut.append(f"[s{name}]{part}[p{name}]")
    joined = "".join(f"[p{name}]" for name in names)
    return ";".join([split, *cut, f"{joined}concat=n={len(parts)},fps={_RATE},setsar=1[h{number}]"])


def _shifted_words(words: Sequence[Word], since: float, length: float, to: float) -> Iterator[Word]:
    """The words of the `length` seconds after `since`, shifted so that `since` becomes `to`."""
    for word in words:
        if since <= (word.start + word.end) / 2 < since + length:
            start = max(to, word.start - since + to)
            end = min(to + length, word.end - since + to)
            yield word.model_copy(update={"start": start, "end": end})


def benchmark(folder: Path) -> list[Finding]:
    """Score the plans of all films, which are made in `folder`; empty without CLIPFLOW_MATERIAL."""
    if not (material := os.environ.get("CLIPFLOW_MATERIAL")):
        return []
    videos = Path(material, "video")
    studio = FilmMaker(videos, folder)
    alone, alone_cost = _totals(studio.one_head())
    two, cost_of_two = _totals(studio.conversations())
    beside, _ = _totals(studio.beside_grimacing_heads())
    two.add(beside)
    faceless = plan_frames(Film(videos / FACELESS), Layout.AUTO, Aspect.TALL, [])
    cropped = sum(s.end - s.start for s in faceless.sections if s.layout is not Layout.FIT)
    seen, shown = f"of {two.frames} frames with speech", f"of {two.alone} frames with one face"
    return [
        _finding("one-head-missed-percent", _percent(alone.missed, alone.frames), "alone"),
        _finding("two-heads-missed-percent", _percent(two.missed, two.frames), seen),
        _finding("alone-but-wrong-percent", _percent(two.wrong, two.alone), shown),
        _finding("cuts-per-turn", two.cuts / two.turns, f"{two.cuts} cuts, {two.turns} turns"),
        _finding("cuts-too-early", float(two.early), f"within {SHORTEST} s of the last"),
        _finding(
            "faceless-but-cropped-percent", 100 * cropped / faceless.sections[-1].end, FACELESS
        ),
        _finding("cpu-seconds-per-second", cost_of_two, "two heads, 1280x720"),
        _finding("cpu-seconds-per-second-one-head", alone_cost, "1080x1920, most of it HEVC"),
    ]


def _totals(conversations: Iterator[Conversation]) -> tuple[Score, float]:
    """The sum of the scores, and the CPU-seconds of planning per second of film."""
    total, cpu, seconds = Score(), 0.0, 0.0
    for made in conversations:
        before = cpu_seconds()
        plan = plan_frames(Film(made.path), Layout.AUTO, Aspect.TALL, made.words)
        cpu += cpu_seconds() - before
        found = score(made, plan)
        total.add(found)
        seconds += made.seconds
        if found.missed or found.early:
            print(f"{made.name}: {found}", file=sys.stderr)
    return total, cpu / seconds


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _finding(name: str, value: float, detail: str) -> Finding:
    return Finding(f"framing/{name}", value, TARGETS.get(name), detail)
