"""The estimated CPU time of Whisper's models, by which sound is divided over machines."""

from math import ceil

# CPU-seconds to recognise a second of sound: measured for `base` (the benchmark speech/whisper).
_BASE = 0.147
# The others by their millions of parameters, from the model cards of Whisper and Distil-Whisper.
# `turbo` is first, because the whole name is `large-v3-turbo`.
_PARAMETERS = {"turbo": 809, "large": 1550, "medium": 769, "small": 244, "base": 74, "tiny": 39}
_DISTILLED = {"large": 756, "medium": 394, "small": 166}
# A window that is worth a machine, in CPU-seconds, as for segments (`jobs/cost.py`), and the
# shortest one in seconds, because each border may cut a sentence.
_LEAST_CPU_SECONDS = 90.0
_SHORTEST = 120.0


def cpu_seconds_a_second(model: str) -> float:
    """The estimated CPU-seconds to recognise a second of sound with the model of this name or
    folder, such as `Systran/faster-distil-whisper-large-v3`; without a known size, those of `base`.
    """
    name = model.lower().rstrip("/").rpartition("/")[2]
    sizes = _DISTILLED if "distil" in name else _PARAMETERS
    found = (millions for size, millions in sizes.items() if size in name)
    return _BASE * next(found, _PARAMETERS["base"]) / _PARAMETERS["base"]


def window_count(seconds: float, cost: float, longest: float, machines: int) -> int:
    """The number of windows into which sound of some seconds is divided for some machines, by the
    CPU-seconds that a second of it costs: so few that each is worth a machine, but none longer than
    `longest` seconds."""
    worthwhile = int(seconds // max(_SHORTEST, _LEAST_CPU_SECONDS / cost))
    return max(1, min(machines, worthwhile), ceil(seconds / longest))
