"""Sizes of the fault tests: for CI, for the promises of docs/reliability.md, or for an hour."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Attributes:
    kills_at_a_step: of one run each.
    events: each delivered three times.
    clips: of each event.
    arriving: seconds over which the deliveries come; 0 is all at once.
    kills: of any process, while the events are worked on.
    between_kills: the fewest and the most seconds.
    """

    kills_at_a_step: int
    events: int
    clips: int
    arriving: int
    kills: int
    between_kills: tuple[int, int] = (4, 10)


SCALE = {
    "ci": Scale(kills_at_a_step=10, events=8, clips=4, arriving=0, kills=6),
    "full": Scale(50, events=200, clips=1, arriving=0, kills=40, between_kills=(10, 30)),
    "hour": Scale(50, events=200, clips=1, arriving=3600, kills=140, between_kills=(10, 40)),
}[os.environ.get("CLIPFLOW_FAULTS_SCALE", "ci")]
