"""A segment whose middle is copied: only the partial groups of pictures at its ends are encoded.

Where the rule in `groups` finds nothing to copy, or where what was made does not stand the check,
the whole segment is encoded, as `cut` does it.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from clipflow.domain.errors import MediaRefusedError
from clipflow.media import edges
from clipflow.media.cut import cut
from clipflow.media.form import Form
from clipflow.media.groups import Middle, middle_of
from clipflow.media.parameter_sets import ParameterSets, parameter_sets
from clipflow.media.probe import Probe
from clipflow.media.source import reading
from clipflow.media.track import Run, encoded, ticks, write
from clipflow.media.window import Window, part_of

_LOG = logging.getLogger(__name__)
_LABEL = 200


@dataclass(frozen=True)
class Cutting:
    """Which way a segment was made, and of an encoded one why; `copied` counts frames."""

    way: Literal["copied", "encoded"]
    why: str = ""
    copied: int = 0

    @property
    def label(self) -> str:
        """`smart`, or `encoded` and why: ASCII, as metadata must be, and at most 200 characters."""
        if self.way == "copied":
            return "smart"
        told = f"encoded: {' '.join(self.why.split())}"
        return told.encode("ascii", "replace").decode()[:_LABEL]


@dataclass(frozen=True)
class _Work:
    """What the steps of one cut share."""

    window: Window
    source: Probe
    form: Form
    scratch: Path
    threads: int

    @property
    def pixels(self) -> int:
        return self.form.width * self.form.height


def smart_cut(window: Window, source: Probe, form: Form, path: Path, threads: int) -> Cutting:
    """Make the segment at `path` from `window`: H.264 in the form, FLAC, every frame of the span.

    Raises what `cut` raises.
    """
    if form.copied is None:
        cut(window, source, form, path, threads)
        return Cutting("encoded", form.unfit)
    with tempfile.TemporaryDirectory(prefix="cut-", dir=path.parent) as scratch:
        work = _Work(window, source, form, Path(scratch), threads)
        try:
            with reading(source.name):
                middle = _middle(window, form.copied)
                _copy(work, form.copied, middle, path)
            return Cutting("copied", copied=len(middle.copied))
        except MediaRefusedError as refusal:
            why = refusal.message
        _LOG.info("%s of %s is encoded: %s", window.span, source.name, why)
        _encode(work, form.copied, path)
        return Cutting("encoded", why)


def _middle(window: Window, sets: ParameterSets) -> Middle:
    try:
        return middle_of(window, sets)
    except ValueError as error:
        raise MediaRefusedError(str(error)) from None


def _copy(work: _Work, sets: ParameterSets, middle: Middle, path: Path) -> None:
    window, scratch = work.window, work.scratch
    copied = Run(window.path, middle.first, tuple(map(ticks, middle.copied)))
    head = _edge(work, (middle.lead, middle.first), middle.before, "head")
    tail = _edge(work, (middle.last, None), middle.after, "tail")
    runs = [*head, copied, *tail]
    # Also a segment that is copied wholly has our parameter sets, as its clip's others have.
    alone = (middle.first, middle.first + 1), middle.copied[:1]
    like = (head or tail or _edge(work, *alone, "alone"))[0].path
    sound = edges.encode_sound(window, work.source, work.form, scratch / "sound.mp4")
    _write(work, sets, runs, like, sound, path)
    planned = sorted(pts for run in runs for pts in run.shown)
    edges.refuse_unless_it_shows(path, planned, work.pixels, scratch, work.threads)


def _edge(
    work: _Work, packets: tuple[int, int | None], frames: Sequence[Fraction], name: str
) -> list[Run]:
    """The frames encoded, from the window's packets between those two numbers; if there are any."""
    if not frames:
        return []
    scratch = work.scratch
    part = part_of(work.window, *packets, tuple(frames), scratch / f"{name}.nut")
    path = edges.encode_picture(part, work.source, work.form, scratch / f"{name}.mp4", work.threads)
    return [encoded(path, frames)]


def _encode(work: _Work, sets: ParameterSets, path: Path) -> None:
    whole = work.scratch / "whole.mp4"
    cut(work.window, work.source, work.form, whole, work.threads)
    _write(work, sets, [encoded(whole, work.window.frames)], whole, whole, path)


def _write(
    work: _Work, sets: ParameterSets, runs: Sequence[Run], like: Path, sound: Path, path: Path
) -> None:
    with av.open(str(like)) as model:
        ours = parameter_sets(model.streams.video[0].codec_context.extradata or b"")
    header = sets.and_those_of(ours).header()
    write(runs, like, header, sound, ticks(work.window.span.duration), path)
