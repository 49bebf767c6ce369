"""How much of it: what CI has time for, or all that docs/reliability.md promises."""

import os

FULL = os.environ.get("CLIPFLOW_FAULTS_SCALE") == "full"
KILLS_AT_A_STEP = 50 if FULL else 10
# Events at once, and the clips of each.
EVENTS, CLIPS = (200, 1) if FULL else (8, 4)
# While these are worked on, 4 to 10 s after one another.
KILLS = 40 if FULL else 6
