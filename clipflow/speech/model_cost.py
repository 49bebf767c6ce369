"""The estimated CPU time of Whisper's models, by which sound is divided over machines."""

from math import ceil

# CPU-seconds to recognise a second of sound: measured for `base` (the benchmark speech/whisper).
_BASE = 0.147
# The others by their millions of parameters, from Whisper's model card. The longer names are first,
# as `large-v3-turbo` has both; names on the hub and of folders contain them, as in
# `Systran/faster-whisper-large-v3`.
_PARAMETERS = {
    "turbo": 809,
    "distil-large": 756,
    "distil-medium": 394,
    "distil-small": 166,
    "large": 1550,
    "medium": 769,
    "small": 244,
    "base": 74,
    "tiny": 39,
}
# A window that is worth a machine, in CPU-seconds, as for segments (`jobs/cost.py`); the shortest
# one in seconds, as each border may cut a sentence; and how many machines one run uses.
_WORTH = 90.0
_SHORTEST = 120.0
_MOST = 10


def cpu_seconds_a_second(model: str) -> float:
    """The estimated CPU-seconds to recognise a second of sound with the model of this name; those
    of `base` if the name says nothing."""
    found = (size for name, size in _PARAMETERS.items() if name in model.lower())
    return _BASE * next(found, _PARAMETERS["base"]) / _PARAMETERS["base"]


def window_count(seconds: float, cost: float, longest: float) -> int:
    """The number of windows into which sound of some seconds is divided, by the CPU-seconds that a
    second of it costs: so few that each is worth a machine, but none longer than `longest`."""
    worthwhile = int(seconds // max(_SHORTEST, _WORTH / cost))
    return max(1, min(_MOST, worthwhile), ceil(seconds / longest))


def machine_factor(cost: float) -> int:
    """How many times as many cores a window's machine has as for `base`: a large model would
    take as long for it as for the rest of the video."""
    return next(factor for least, factor in ((2.0, 4), (1.0, 2), (0.0, 1)) if cost >= least)
