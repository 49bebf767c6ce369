"""Sizes of the fault tests: for CI, for the guarantees of docs/reliability.md, or for an hour."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The size of the fault tests.

    Attributes:
        kills_at_a_step: number of kills in the test that resumes runs; each kill stops one run.
        events: number of different events; each is delivered three times.
        clips: number of clips of each event.
        arrival_seconds: seconds over which the deliveries are spread; 0 delivers all at once.
        kills: number of processes of any kind killed while the events are processed.
        seconds_between_kills: minimum and maximum seconds between two kills.
        events_around_a_deploy: number of events, half of them before the deploy of a new image and
            the others during it, each for two clips.
    """

    kills_at_a_step: int
    events: int
    clips: int
    arrival_seconds: int
    kills: int
    seconds_between_kills: tuple[int, int] = (4, 10)
    events_around_a_deploy: int = 2


SCALE = {
    "ci": Scale(kills_at_a_step=10, events=8, clips=4, arrival_seconds=0, kills=6),
    "full": Scale(
        50,
        events=200,
        clips=1,
        arrival_seconds=0,
        kills=40,
        seconds_between_kills=(10, 30),
        events_around_a_deploy=50,
    ),
    "hour": Scale(
        50, events=200, clips=1, arrival_seconds=3600, kills=140, seconds_between_kills=(10, 40)
    ),
}[os.environ.get("CLIPFLOW_FAULTS_SCALE", "ci")]
