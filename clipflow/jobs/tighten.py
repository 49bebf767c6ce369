"""Tightens a short: decides what is taken out of its window, and joins what remains.

Frames and samples are exact, joins of the sound do not click, and at a join the crop jumps.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import Any, TypeVar

import ffmpeg as command

from clipflow.domain.edits import CorrectedTranscript, numbered_words
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.removals import RemovalKind, Tightening, Timeline, TimeRange
from clipflow.domain.shorts import LayoutSpan, Moment
from clipflow.domain.transcript import Transcript, Word, joined
from clipflow.jobs.segment import MADE_FROM, checkpoint, is_made_from
from clipflow.media.encode import TIMESCALE, samples
from clipflow.media.loudness import measure_levels
from clipflow.media.window import Window
from clipflow.reframe.crop import CropPath, FramePlan, Knot, Section
from clipflow.speech.tightening import (
    LEVELS_PER_SECOND,
    Loudness,
    PlannedRemoval,
    decide,
    restorable,
    spoken_words,
)
from clipflow.storage.objects import ObjectHead, ObjectStore

_LARGEST_LIST_BYTES = 1 << 20


@dataclass(frozen=True)
class SpokenMoment:
    """What is said in a moment: `recognized` and `shown` are of the whole video."""

    moment: Moment
    recognized: Transcript
    shown: CorrectedTranscript

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that are shown, with times from the moment's start."""
        return self._within(self.shown.transcript)

    @property
    def recognized_words(self) -> tuple[Word, ...]:
        """The words as they were recognised, with times from the moment's start."""
        return self._within(self.recognized)

    def words_without(self, numbers: Sequence[int]) -> tuple[Word, ...]:
        """`words` without those that come from the recognised words with these numbers."""
        left = (word for number, word in numbered_words(self.shown) if number not in numbers)
        return self._within(Transcript(tuple(left)))

    def _within(self, transcript: Transcript) -> tuple[Word, ...]:
        return transcript.within(float(self.moment.start), float(self.moment.end)).words


@dataclass(frozen=True)
class Tightened:
    """The parts of a window that remain, the words that are shown in them, and the removals.

    `put_back` has the ids of the removals that a person has put back and that would be made.
    """

    timeline: Timeline
    words: tuple[Word, ...]
    tightening: Tightening
    cuts: tuple[PlannedRemoval, ...]
    put_back: frozenset[str]


def still_restored(restored: Mapping[str, str], words: Sequence[Word]) -> list[str]:
    """The ids of the removals that a person has put back, without those of another transcript."""
    numbers = {id: int(id[1:]) for id in restored}
    return sorted(
        id
        for id, number in numbers.items()
        if number < len(words) and words[number].text == restored[id]
    )


def tighten(
    window: Window,
    spoken: SpokenMoment,
    frames: Sequence[Fraction],
    restored: Sequence[str],
    durations: tuple[float, float] | None,
) -> Tightened | None:
    """The parts of the moment in `window` that remain; None if nothing is or could be taken out.

    `frames` are the sorted times at which a frame is shown, in seconds from the moment's start.
    `restored` are the ids of removals that a person has put back, `durations` the shortest and the
    longest moment in seconds, if the config has them. Raises the errors of `measure_levels`.
    """
    shortest = Fraction(durations[0]) if durations else Fraction(0)
    span = TimeRange(window.span.start, window.span.end)
    words = spoken_words(
        spoken.recognized.words, _texts(spoken.shown), span, spoken.recognized.language
    )
    if not words:
        return None
    origin = window.origin
    levels = measure_levels(window.path, origin, origin + span.duration, LEVELS_PER_SECOND)
    loudness, grid = Loudness(levels, words), [*frames, span.duration]
    cuts = decide(words, grid, loudness, restored, shortest)
    back = restorable(words, grid, loudness, restored, shortest)
    # Fillers beside each other may be possible to take out only together.
    unrestored = decide(words, grid, loudness, (), shortest) if restored else ()
    known = {cut.id for cut in (*back, *unrestored)}
    if not cuts and not known:
        return None
    timeline = Timeline.without(cuts, span.duration)
    fillers = [cut.word.number for cut in cuts if cut.kind is RemovalKind.FILLER]
    return Tightened(
        timeline,
        tuple(timeline.words(spoken.words_without(fillers))),
        Tightening(
            removed=tuple(cut.removal(span.start) for cut in cuts),
            restored=tuple(cut.removal(span.start) for cut in back),
            seconds=round(float(span.duration - timeline.duration), 3),
        ),
        tuple(cuts),
        frozenset(restored) & known,
    )


def _texts(shown: CorrectedTranscript) -> dict[int, str]:
    """The text that is shown for each recognised word, by its number; none for hidden words."""
    texts: dict[int, list[Word]] = {}
    for number, word in numbered_words(shown):
        texts.setdefault(number, []).append(word)
    return {number: joined(words) for number, words in texts.items()}


def store_tightening(
    keys: ShortsKeys,
    number: int,
    tightening: Tightening,
    etag: str,
    made_from: str,
    objects: ObjectStore,
) -> None:
    """Store the list of what is taken out of a short, with the fingerprint of the short."""
    text = tightening.model_dump_json(indent=1)
    metadata = checkpoint(etag, made_from)
    objects.put_text(text, keys.tightening(number), metadata, "application/json")


def stored_tightening(
    keys: ShortsKeys, number: int, short: ObjectHead, objects: ObjectStore
) -> Tightening | None:
    """The list of what is taken out of the stored short; None if the list is of another version."""
    key = keys.tightening(number)
    head = objects.head(key)
    if head is None or not is_made_from(head, short.metadata.get(MADE_FROM, "")):
        return None
    return Tightening.model_validate_json(objects.data(key, _LARGEST_LIST_BYTES))


# Seconds of sound that overlap at a join, half of them before and half after it: a few milliseconds
# are heard as neither a click nor a fade.
CROSSFADE = Fraction(1, 125)
# Ticks by which the time of a frame may be rounded; frames are further apart.
_TOLERANCE = 2


@dataclass(frozen=True)
class _FrameRun:
    """Consecutive frames of the span, by their numbers, and the seconds by which they move."""

    first: int
    last: int
    shift: Fraction


def kept_frames(frames: Sequence[Fraction], timeline: Timeline) -> tuple[Fraction, ...]:
    """The times at which the kept frames are shown, of a span with frames at `frames` seconds."""
    return tuple(
        frames[number] + run.shift
        for run in _frame_runs(frames, timeline)
        for number in range(run.first, run.last + 1)
    )


def keep_frames(stream: Any, frames: Sequence[Fraction], timeline: Timeline) -> Any:
    """Only the kept frames, at their new times. `stream` has frames at `frames` seconds, and a time
    base of `TIMESCALE`."""
    runs = _frame_runs(frames, timeline)
    ticks = [(round(frames[r.first] * TIMESCALE), round(frames[r.last] * TIMESCALE)) for r in runs]
    inside = [f"between(pts,{a - _TOLERANCE},{b + _TOLERANCE})" for a, b in ticks]
    shifts = [0, *(round(run.shift * TIMESCALE) for run in runs)]
    steps = [
        f"{after - before:+d}*gte(PTS,{first - _TOLERANCE})"
        for (before, after), (first, _) in zip(pairwise(shifts), ticks, strict=True)
        if after != before
    ]
    return stream.filter("select", "+".join(inside)).filter("setpts", "PTS" + "".join(steps))


def _frame_runs(frames: Sequence[Fraction], timeline: Timeline) -> list[_FrameRun]:
    runs: list[_FrameRun] = []
    for piece, start in zip(timeline.pieces, timeline.starts, strict=True):
        first, end = bisect_left(frames, piece.start), bisect_left(frames, piece.end)
        begins_with_frame = first < end and frames[first] == piece.start
        held = first - 1
        if not begins_with_frame and held >= 0 and (not runs or runs[-1].last < held):
            # The frame that is visible when the piece begins was first shown in a part left out.
            runs.append(_FrameRun(held, held, start - frames[held]))
        if first < end:
            runs.append(_FrameRun(first, end - 1, start - piece.start))
    return runs


def join_sound(stream: Any, timeline: Timeline, rate: int) -> Any:
    """The kept samples, crossfaded at the joins: as many as `samples` of the timeline's duration.

    `stream` has the whole span at `rate` samples a second.
    """
    pieces, total = timeline.pieces, samples(timeline.duration, rate)
    # Each piece begins at the sample that is nearest to its time, so that errors do not add up.
    places = [*(round(start * rate) for start in timeline.starts), total]
    half = round(CROSSFADE * rate / 2)
    copies = stream.asplit() if len(pieces) > 1 else {0: stream}
    sound = None
    for number, (piece, (begins, ends)) in enumerate(zip(pieces, pairwise(places), strict=True)):
        first = round(piece.start * rate)
        last = first + ends - begins
        first -= half if sound is not None else 0
        last += half if number + 1 < len(pieces) else 0
        part = copies[number].filter("atrim", start_sample=first, end_sample=last)
        part = part.filter("asetpts", "N/SR/TB")
        # Raised cosines: they have no corners, and their sum is 1.
        fade = {"nb_samples": 2 * half, "curve1": "hsin", "curve2": "hsin"}
        sound = part if sound is None else command.filter([sound, part], "acrossfade", **fade)
    assert sound is not None
    return (
        sound.filter("asetpts", "N/SR/TB")
        .filter("apad", whole_len=total)
        .filter("atrim", end_sample=total)
    )


# Seconds before the first frame after a join at which the crop jumps, because ffmpeg's expressions
# have floats: less than there is between two frames.
_EARLY = 0.0005


def tightened_plan(
    plan: FramePlan, timeline: Timeline, first: Fraction, first_kept: Fraction
) -> FramePlan:
    """`plan` without what `timeline` leaves out.

    The plan's times count from the first frame: `first` is its time in the span, and `first_kept`
    that of the first frame of the tightened short, in the short.
    """
    spans = [
        _KeptSpan(
            float(piece.start - first),
            float(piece.end - first),
            float(start - piece.start + first - first_kept),
        )
        for piece, start in zip(timeline.pieces, timeline.starts, strict=True)
    ]
    last = len(plan.sections) - 1
    sections = []
    for number, section in enumerate(plan.sections):
        # The first and the last section go on to the ends, however those are rounded.
        start, end = section.start if number else -inf, section.end if number < last else inf
        kept = [span.between(start, end) for span in spans if span.start < end and start < span.end]
        if kept:
            sections.append(_kept_section(section, kept))
    layouts = [
        LayoutSpan(start=round(part.start, 3), end=round(part.end, 3), layout=part.layout)
        for part in sections
    ]
    cuts = sum(part.jumps for part in sections) + len(sections) - 1
    framing = plan.framing.model_copy(update={"layouts": tuple(layouts), "cuts": cuts})
    return replace(
        plan,
        sections=tuple(sections),
        framing=framing,
        lips=tuple(_kept_places(plan.lips, spans)),
        eyes=tuple(_kept_places(plan.eyes, spans)),
        faces=tuple(_kept_places(plan.faces, spans)),
    )


_Place = TypeVar("_Place")


def _kept_places(
    places: Sequence[tuple[float, _Place]], spans: Sequence["_KeptSpan"]
) -> Iterator[tuple[float, _Place]]:
    for span in spans:
        for time, place in places:
            if span.start <= time < span.end:
                yield time + span.shift, place


@dataclass(frozen=True)
class _KeptSpan:
    """A kept part of the plan, and the seconds by which it moves."""

    start: float
    end: float
    shift: float

    def between(self, start: float, end: float) -> "_KeptSpan":
        return _KeptSpan(max(self.start, start), min(self.end, end), self.shift)


def _kept_section(section: Section, kept: Sequence[_KeptSpan]) -> Section:
    start, end = kept[0].start + kept[0].shift, kept[-1].end + kept[-1].shift
    crops = tuple(_kept_crop(crop, kept) for crop in section.crops)
    return Section(max(0.0, start - _EARLY), end - _EARLY, section.layout, crops)


def _kept_crop(crop: CropPath, kept: Sequence[_KeptSpan]) -> CropPath:
    parts = [crop.between(span.start, span.end).shifted(span.shift) for span in kept]
    x, y = (_joined_knots([getattr(part, edge) for part in parts]) for edge in ("x", "y"))
    return CropPath(crop.width, crop.height, x, y)


def _joined_knots(edges: Sequence[tuple[Knot, ...]]) -> tuple[Knot, ...]:
    """The parts of an edge one after the other, jumping shortly before each join."""
    knots: list[Knot] = []
    for first, *inner, last in edges:
        # Two knots of one time are a jump, so the time is the same number.
        time = knots[-1].time if knots else first.time - _EARLY
        knots += [replace(first, time=time), *inner, replace(last, time=last.time - _EARLY)]
    return tuple(knots)
