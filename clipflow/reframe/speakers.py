"""Active speakers: which of the people in a shot speaks when, and how sure that is.

Speech times and, where there are any, speakers' names come from the transcript. Which face they
belong to is decided by the mouths. People differ in how far they open theirs, so each mouth is
compared with its own activity at other times. A person is named while their mouth is as lively as
when they speak and the others' are calmer; otherwise no one is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from clipflow.domain.transcript import Word
from clipflow.reframe.mouths import Motion, MouthActivity, MouthMotion
from clipflow.reframe.people import FaceTrack, Shot

# The silence that ends an utterance, and the length at which one is split, in seconds.
_PAUSE, _LONGEST = 0.35, 3.0
# Seconds between two decisions, and to either side of one in which mouths are compared.
_STEP, _REACH = 0.2, 0.3
# The percentile of a mouth's activity, without its calm parts, that is its own level of speaking.
_LIVELY = 60
# A mouth whose level is below this share of the liveliest one's is taken to be calm.
_COMPARED = 0.5
# How much livelier than the others one has to be, from 0 to 1, and for how long, in seconds times
# how much more than that, before another is named.
_CLEARLY, _CHANGE = 0.45, 0.2
# How many times as much as otherwise a mouth moves while the speaker who owns it speaks, and by how
# many standard errors more. Measured: right owners 3.3 and more if others were not found, and a
# small face that only listened 1.9.
_OWNED, _SURE = 1.2, 2.5


@dataclass(frozen=True)
class Turn:
    """Speech of `start ≤ t < end` seconds in one shot, by one of its tracks.

    `track` is None if no one is clearly the speaker; `confidence` is from 0 to 1.
    """

    start: float
    end: float
    track: FaceTrack | None
    confidence: float


def find_speakers(
    shots: Sequence[Shot], words: Sequence[Word], mouths: MouthActivity | None = None
) -> list[Turn]:
    """Who speaks when, in order. Words have their times from the first frame."""
    measure = mouths or MouthMotion()
    utterances = _utterances(words)
    # Measuring is a large part of the cost. It is only needed where mouths are compared.
    is_compared = any(len(shot.tracks) > 1 for shot in shots)
    motions: dict[FaceTrack, Motion] = {
        track: measure(track) if is_compared else [] for shot in shots for track in shot.tracks
    }
    owners = _owners(shots, utterances, motions)
    levels = _levels(shots, utterances, motions, measure.speaking)
    turns: list[Turn] = []
    for shot in shots:
        spoken = [
            _Utterance(max(u.start, shot.start), min(u.end, shot.end), u.speaker)
            for u in utterances
            if u.start < shot.end and u.end > shot.start
        ]
        turns += _turns(shot, spoken, owners, motions, levels)
    return turns


@dataclass(frozen=True)
class _Utterance:
    start: float
    end: float
    speaker: str | None


def _utterances(words: Sequence[Word]) -> list[_Utterance]:
    """Group words into utterances of one speaker without a pause, none longer than `_LONGEST`."""
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


def _turns(
    shot: Shot,
    spoken: Sequence[_Utterance],
    owners: Mapping[str, int],
    motions: Mapping[FaceTrack, Motion],
    levels: Mapping[int, float],
) -> list[Turn]:
    """The turns in one shot."""
    if not shot.tracks:
        return [Turn(u.start, u.end, None, 0.0) for u in spoken]
    if len(shot.tracks) == 1:
        return [Turn(u.start, u.end, shot.tracks[0], 1.0) for u in spoken]
    turns: list[Turn] = []
    by_mouths: list[_Utterance] = []
    for utterance in spoken:
        owner = owners.get(utterance.speaker or "")
        owned = [track for track in shot.tracks if track.person == owner]
        if owner is not None and owned:
            turns.append(Turn(utterance.start, utterance.end, owned[0], 0.9))
        else:
            by_mouths.append(utterance)
    turns += _turns_by_mouths(shot.tracks, by_mouths, motions, levels)
    return sorted(turns, key=lambda turn: turn.start)


def _turns_by_mouths(
    tracks: Sequence[FaceTrack],
    spoken: Sequence[_Utterance],
    motions: Mapping[FaceTrack, Motion],
    levels: Mapping[int, float],
) -> list[Turn]:
    # Steps of nearly equal length, so that each utterance begins and ends with one.
    steps = [
        (float(start), float(end))
        for u in spoken
        for start, end in pairwise(np.linspace(u.start, u.end, _step_count(u) + 1))
    ]
    if not steps:
        return []
    leads = np.array([_leads(tracks, start, end, motions, levels) for start, end in steps])
    lengths = np.array([end - start for start, end in steps])
    named = _most_likely((leads - _CLEARLY) * lengths[:, None])
    turns: list[Turn] = []
    for (start, end), lead, state in zip(steps, leads, named, strict=True):
        track = tracks[state] if state < len(tracks) else None
        sure = float(np.clip(0.5 + lead[state] / 2, 0.5, 1)) if track else float(np.max(lead)) / 2
        last = turns[-1] if turns else None
        if last and last.track is track and start - last.end < 1e-6:
            share = (last.end - last.start) / (end - last.start)
            mean = share * last.confidence + (1 - share) * max(0.0, sure)
            turns[-1] = Turn(last.start, end, track, mean)
        else:
            turns.append(Turn(start, end, track, max(0.0, sure)))
    return turns


def _step_count(utterance: _Utterance) -> int:
    return max(1, round((utterance.end - utterance.start) / _STEP))


def _leads(
    tracks: Sequence[FaceTrack],
    start: float,
    end: float,
    motions: Mapping[FaceTrack, Motion],
    levels: Mapping[int, float],
) -> list[float]:
    """By how much each mouth's activity, relative to its own level, exceeds the highest other.

    Zero for all if one of them is not seen.
    """
    found = [_mean(motions[track], start - _REACH, end + _REACH) for track in tracks]
    if any(value is None for value in found):
        return [0.0] * len(tracks)
    lively = [
        min(1.0, (value or 0.0) / levels[track.person])
        for value, track in zip(found, tracks, strict=True)
    ]
    return [own - max(lively[:place] + lively[place + 1 :]) for place, own in enumerate(lively)]


def _most_likely(gains: NDArray[np.float64]) -> list[int]:
    """The row of states with the greatest sum of `gains`, as (steps, tracks), less `_CHANGE` for
    each change. The last state, that no one is named, gains nothing."""
    gains = np.hstack([gains, np.zeros((len(gains), 1))])
    total, came_from = gains[0], []
    for gain in gains[1:]:
        best = int(np.argmax(total))
        stays = total >= total[best] - _CHANGE
        came_from.append(np.where(stays, np.arange(len(total)), best))
        total = np.where(stays, total, total[best] - _CHANGE) + gain
    states = [int(np.argmax(total))]
    for sources in reversed(came_from):
        states.append(int(sources[states[-1]]))
    return states[::-1]


def _levels(
    shots: Sequence[Shot],
    utterances: Sequence[_Utterance],
    motions: Mapping[FaceTrack, Motion],
    least: float,
) -> dict[int, float]:
    """How lively each person's mouth is when it speaks, at least `least`."""
    seen: dict[int, list[float]] = defaultdict(list)
    for shot in shots:
        for utterance in utterances:
            start, end = max(utterance.start, shot.start), min(utterance.end, shot.end)
            for time in np.arange(start, end, _STEP):
                for track in shot.tracks:
                    value = _mean(motions[track], time - _REACH, time + _REACH)
                    # Calm times do not count, as only the level while speaking is wanted.
                    if value is not None and value >= least:
                        seen[track.person].append(value)
    own = {person: float(np.percentile(values, _LIVELY)) for person, values in seen.items()}
    least = max(least, _COMPARED * max(own.values(), default=0.0))
    people = {track.person for shot in shots for track in shot.tracks}
    return {person: max(least, own.get(person, 0.0)) for person in people}


def _owners(
    shots: Sequence[Shot], utterances: Sequence[_Utterance], motions: Mapping[FaceTrack, Motion]
) -> dict[str, int]:
    """The person whose mouth moves more while a speaker of the transcript speaks than otherwise.

    That must be certain, unless each of as many people is found for another speaker.
    """
    speakers = sorted({u.speaker for u in utterances if u.speaker})
    if len(speakers) < 2:
        return {}
    moved: dict[tuple[int, str | None], list[float]] = defaultdict(list)
    for shot in shots:
        for u in utterances:
            for track in shot.tracks:
                start, end = max(u.start, shot.start), min(u.end, shot.end)
                moved[track.person, u.speaker] += [
                    value for time, value in motions[track] if start <= time <= end
                ]
    people = {person for person, _ in moved}
    likely = {speaker: _liveliest(speaker, people, moved) for speaker in speakers}
    everyone = {speaker: found[0] for speaker, found in likely.items() if found}
    if len(everyone) == len(speakers) == len(people) == len(set(everyone.values())):
        return everyone
    owners = {speaker: found[0] for speaker, found in likely.items() if found and found[1]}
    # If two speakers map to one face, the mapping is not reliable.
    return owners if len(set(owners.values())) == len(owners) else {}


def _liveliest(
    speaker: str,
    people: Iterable[int],
    moved: Mapping[tuple[int, str | None], Sequence[float]],
) -> tuple[int, bool] | None:
    """Whose mouth moves most while this speaker speaks, compared with otherwise, and whether that
    is certain; None if nobody's moves more."""
    best: tuple[float, int, bool] | None = None
    for person in people:
        own = moved.get((person, speaker), ())
        rest = [
            value
            for (who, by), values in moved.items()
            if who == person and by != speaker
            for value in values
        ]
        if len(own) < 2 or len(rest) < 2:
            continue
        more = float(np.mean(own) - np.mean(rest))
        ratio = float(np.mean(own)) / max(float(np.mean(rest)), 1e-6)
        error = float(np.hypot(np.std(own) / len(own) ** 0.5, np.std(rest) / len(rest) ** 0.5))
        if ratio >= _OWNED and (best is None or ratio > best[0]):
            best = ratio, person, more >= _SURE * error
    return best and best[1:]


def _mean(motion: Motion, start: float, end: float) -> float | None:
    """The mean activity of `start ≤ t ≤ end`; None of fewer than two values."""
    found = [value for time, value in motion if start <= time <= end]
    return float(np.mean(found)) if len(found) >= 2 else None
