"""The spans that a person wants of a file, as they are typed."""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from clipflow.domain.timecode import parse_timecode
from deployments.command.upload import plain_name

Cut = tuple[Fraction, Fraction]

_NAMED_CUTS = 60


def parse_cut(text: str) -> Cut:
    """`START-END`, each a time, in seconds. Raises ValueError saying what is wrong with it."""
    start, dash, end = text.replace("–", "-").partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not START-END: write 00:01:00-00:01:30")
    span = parse_timecode(start), parse_timecode(end)
    if span[0] >= span[1]:
        raise ValueError(f"{text!r} ends before it starts")
    return span


def clip_id_of(path: Path, cuts: Sequence[Cut]) -> str:
    """A name that tells the file and the times: other times are another clip."""
    times = "_".join("-".join(map(_seconds, cut)) for cut in cuts)
    if len(times) > _NAMED_CUTS:
        times = f"{len(cuts)}-cuts-{sha256(times.encode()).hexdigest()[:8]}"
    return f"{plain_name(path.stem)}-{times}".lstrip("-")


def _seconds(time: Fraction) -> str:
    return f"{float(time):.3f}".rstrip("0").rstrip(".")
