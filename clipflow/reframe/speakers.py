"""Active speakers: which of the people in a shot speaks when, and how sure that is.

Speech times and, where there are any, speakers' names come from the transcript. Which face they
belong to is decided by the mouths: one that opens and closes clearly more than the others. Where
none does, no one is named.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from clipflow.domain.transcript import Word
from clipflow.reframe.faces import Pixels
from clipflow.reframe.people import Shot, Track

# Rows and columns of an aligned face: between the lips, above them, and the forehead.
_LIPS, _ABOVE, _FOREHEAD = np.s_[58:70, 24:40], np.s_[46:52, 8:56], np.s_[4:44, 8:56]
# Seconds: a silence that ends an utterance, and the length above which one is parted.
_PAUSE, _LONGEST = 0.35, 3.0
# Seconds between two samples that can be compared, and around an utterance that belong to it.
_COMPARABLE, _MARGIN = 0.3, 0.1
# How many times as much as the next one a mouth moves that is taken for the speaker's, in one
# utterance and in all of one speaker's together; and of how many samples that is said.
_CLEARLY, _TOGETHER, _FEWEST = 1.5, 1.2, 4


@dataclass(frozen=True)
class Turn:
    """Speech of `start ≤ t < end` seconds in one shot, by one of its tracks.

    `track` is None where no one is clearly the speaker; `confidence` is from 0 to 1.
    """

    start: float
    end: float
    track: Track | None
    confidence: float


def find_speakers(shots: Sequence[Shot], words: Sequence[Word]) -> list[Turn]:
    """Who speaks in each utterance, in order. Words have their times from the first frame."""
    utterances = _utterances(words)
    owners = _owners(shots, utterances)
    turns: list[Turn] = []
    for utterance in utterances:
        for shot in shots:
            start, end = max(utterance.start, shot.start), min(utterance.end, shot.end)
            if start < end:
                turns.append(_turn(shot, start, end, owners.get(utterance.speaker or "")))
    return turns


@dataclass(frozen=True)
class _Utterance:
    start: float
    end: float
    speaker: str | None


def _utterances(words: Sequence[Word]) -> list[_Utterance]:
    """The words in one go of one speaker, parted where they take long."""
    groups: list[list[Word]] = []
    for word in words:
        last = groups[-1] if groups else None
        if (
            last is None
            or word.start - last[-1].end >= _PAUSE
            or word.speaker != last[-1].speaker
            or word.end - last[0].start > _LONGEST
        ):
            groups.append([word])
        else:
            last.append(word)
    return [_Utterance(group[0].start, group[-1].end, group[0].speaker) for group in groups]


def _turn(shot: Shot, start: float, end: float, owner: int | None) -> Turn:
    if not shot.tracks:
        return Turn(start, end, None, 0.0)
    if len(shot.tracks) == 1:
        return Turn(start, end, shot.tracks[0], 1.0)
    for track in shot.tracks:
        if owner is not None and track.person == owner:
            return Turn(start, end, track, 0.9)
    moved = [(_mouth_motion(track, start, end), track) for track in shot.tracks]
    if any(motion is None for motion, _ in moved):
        return Turn(start, end, None, 0.0)
    ranked = sorted(((motion or 0.0, track) for motion, track in moved), key=lambda pair: -pair[0])
    (best, track), (second, _) = ranked[:2]
    confidence = (best - second) / max(best + second, 1e-6)
    if best >= _CLEARLY * second:
        return Turn(start, end, track, 0.5 + confidence / 2)
    return Turn(start, end, None, confidence)


def _owners(shots: Sequence[Shot], utterances: Sequence[_Utterance]) -> dict[str, int]:
    """The person whose mouth moves most over all that a speaker of the transcript says."""
    totals: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    if len({utterance.speaker for utterance in utterances}) < 2:
        return {}
    for utterance in utterances:
        for shot in shots:
            start, end = max(utterance.start, shot.start), min(utterance.end, shot.end)
            if utterance.speaker is None or start >= end:
                continue
            for track in shot.tracks:
                motion = _mouth_motion(track, start, end)
                if motion is not None:
                    totals[utterance.speaker][track.person].append(motion * (end - start))
    owners: dict[str, int] = {}
    for speaker, people in totals.items():
        ranked = sorted(people, key=lambda person: -sum(people[person]))
        second = sum(people[ranked[1]]) if len(ranked) > 1 else 0.0
        if sum(people[ranked[0]]) >= _TOGETHER * second:
            owners[speaker] = ranked[0]
    # One face does not speak for two.
    return owners if len(set(owners.values())) == len(owners) else {}


def _mouth_motion(track: Track, start: float, end: float) -> float | None:
    """How much the mouth opens and closes from sample to sample; None of too few samples."""
    found = [motion for time, motion in _motions(track) if start - _MARGIN <= time <= end + _MARGIN]
    return float(np.mean(found)) if len(found) >= _FEWEST else None


@cache
def _motions(track: Track) -> list[tuple[float, float]]:
    """Between every two samples, by how much the mouth opened or closed, and the second's time."""
    openings = [
        (time, _opening(face.aligned))
        for time, face in zip(track.times, track.faces, strict=True)
        if face.aligned is not None
    ]
    return [
        (time, abs(opening - before))
        for (last, before), (time, opening) in pairwise(openings)
        if time - last <= _COMPARABLE
    ]


def _opening(aligned: Pixels) -> float:
    """How dark it is between the lips, in contrasts of the forehead.

    Of what was tried on speakers beside silent faces that grimace (differences of the whole mouth
    with and without registration, its darkest part), this named the right one most often.
    """
    face = aligned.astype(np.float32)
    contrast = max(float(face[_FOREHEAD].std()), 4.0)
    return float(face[_ABOVE].mean() - face[_LIPS].mean()) / contrast
