"""Stores the results page beside its videos, with a poster of each."""

import logging
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg as command

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.errors import ClipflowError, redact
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.jobs.brand import part_seconds
from clipflow.jobs.edits import read_corrected
from clipflow.jobs.fingerprints import fingerprint
from clipflow.jobs.segment import checkpoint, is_made_from, is_ours, open_source
from clipflow.machine import Machine, work_folder
from clipflow.media import ffmpeg
from clipflow.media.fetching import fetch_window
from clipflow.media.output_format import to_jpeg
from clipflow.media.probe import Probe, probe_source
from clipflow.media.source import Source
from clipflow.media.window import Span, Window
from clipflow.results.pages import clip_page, shorts_page
from clipflow.storage.objects import ObjectHead, ObjectStore

logger = logging.getLogger(__name__)

# The width of posters in pixels. A short fills a column of its page, a clip the whole page.
_SHORT_WIDTH, _CLIP_WIDTH = 270, 640

# Renders the page with posters, which are given by the key of their video.
Page = Callable[[Mapping[str, str]], str]


def put_shorts_page(
    keys: ShortsKeys, shorts: Sequence[Short], objects: ObjectStore, machine: Machine
) -> dict[str, str]:
    """Stores the page of `shorts`, including failed ones, unless the same page is already stored.

    Returns its posters as data: URIs by the key of their video; none if the page was already
    stored. Raises the errors of reading the transcript and of storing.
    """
    transcript = read_corrected(keys, objects).transcript
    videos = [short.s3_key for short in shorts if short.is_made]
    heads = _heads(videos, objects)
    intros = {head.key: part_seconds(head)[0] for head in heads}

    def page(posters: Mapping[str, str]) -> str:
        return shorts_page(keys, shorts, transcript, posters, intros)

    return _put(keys.page, page, heads, len(videos), _SHORT_WIDTH, objects, machine)


def put_clip_page(
    keys: ClipKeys,
    segments: Sequence[Segment],
    made: ClipResult,
    objects: ObjectStore,
    machine: Machine,
) -> dict[str, str]:
    """Stores the page of a clip, unless the same page is already stored. Returns and raises the
    same as `put_shorts_page`."""

    def page(posters: Mapping[str, str]) -> str:
        return clip_page(keys, segments, made, posters)

    heads = _heads([made.s3_key], objects)
    return _put(keys.page, page, heads, 1, _CLIP_WIDTH, objects, machine)


def _heads(videos: Sequence[str], objects: ObjectStore) -> list[ObjectHead]:
    return [head for head in map(objects.head, videos) if head]


def _put(
    key: str,
    page: Page,
    heads: list[ObjectHead],
    count: int,
    width: int,
    objects: ObjectStore,
    machine: Machine,
) -> dict[str, str]:
    """Stores the page of `count` videos, of which `heads` are there."""
    etags = fingerprint([head.etag for head in heads])
    # Posters depend only on the videos, so the fingerprint needs no posters.
    made_from = fingerprint([page({}), etags])
    stored = objects.head(key)
    if is_made_from(stored, made_from):
        return {}
    if stored and not is_ours(stored):
        logger.warning("%s was not made by clipflow and is not replaced.", key)
        return {}
    posters = _posters(heads, width, objects, machine)
    if len(posters) < count:
        # With a different fingerprint, the next run makes the page again.
        made_from = fingerprint([made_from, list(posters)])
    objects.put_text(page(posters), key, checkpoint(etags, made_from), "text/html")
    return posters


def _posters(
    heads: list[ObjectHead], width: int, objects: ObjectStore, machine: Machine
) -> dict[str, str]:
    """The posters of as many videos as possible; the page does not need them."""
    posters = {}
    for head in heads:
        try:
            posters[head.key] = poster(open_source(head, objects), width, machine)
        except ClipflowError as error:
            logger.warning("%s has no poster: %s", head.key, redact(str(error)))
    return posters


# Seconds of the video that are read, and the time of the poster in them, after any fade-in.
_BEGINNING, _AT = Fraction(1), Fraction(3, 4)
# ffmpeg's quality of JPEG, of which 2 is the best: about 12 kB for a short 270 pixels wide.
_QUALITY = 5
_DEADLINE = 60.0
# Bytes on disk for a second of video and a small picture.
_NEEDED = 64 << 20


def poster(source: Source, width: int, machine: Machine) -> str:
    """A frame of the first second as a JPEG of `width` pixels, in a data: URI.

    Only the bytes of that second are read. Raises the errors of reading and of ffmpeg.
    """
    probe = probe_source(source)
    span = Span(Fraction(0), min(_BEGINNING, probe.duration or _BEGINNING))
    with work_folder(machine.scratch, _NEEDED) as scratch:
        window = fetch_window(source, probe, span, scratch / "window.nut")
        picture = scratch / "poster.jpg"
        arguments = _command(window, probe, width, picture)
        ffmpeg.run(arguments, f"making the poster of {source.name}", machine, _DEADLINE)
        return f"data:image/jpeg;base64,{b64encode(picture.read_bytes()).decode()}"


def _command(window: Window, probe: Probe, width: int, picture: Path) -> list[str]:
    """ffmpeg's arguments for the last frame at or before `_AT`."""
    upto = [time for time in window.frames if time <= window.span.duration * _AT]
    chosen = window.origin + max(upto, default=window.frames[0])
    frames = command.input(str(window.path), threads=1)["v:0"]
    # Half a millisecond earlier, because times in ffmpeg's expressions are floats.
    shown = to_jpeg(frames.filter("select", f"gte(t,{float(chosen) - 0.0005:.6f})"), probe, width)
    one = {"frames:v": 1, "update": 1, "q:v": _QUALITY}
    return ["-copyts", *map(str, command.get_args(command.output(shown, str(picture), **one)))]


# The size of a cell in pixels, with the aspect of a short, and the cells per row.
_CELL_WIDTH, _CELL_HEIGHT, _COLUMNS = 180, 320, 4
# More posters would make the sheet several megabytes large.
_MAX_POSTERS = 12


def contact_sheet(posters: Sequence[str]) -> str:
    """The first dozen of `posters` in rows, as an SVG; all of them are data: URIs."""
    selected = posters[:_MAX_POSTERS]
    columns = min(_COLUMNS, len(selected))
    rows = -(-len(selected) // _COLUMNS)
    size = f'width="{columns * _CELL_WIDTH}" height="{rows * _CELL_HEIGHT}"'
    cells = "".join(_cell(place, poster) for place, poster in enumerate(selected))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{cells}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _cell(place: int, poster: str) -> str:
    row, column = divmod(place, _COLUMNS)
    where = f'x="{column * _CELL_WIDTH}" y="{row * _CELL_HEIGHT}"'
    return f'<image {where} width="{_CELL_WIDTH}" height="{_CELL_HEIGHT}" href="{poster}"/>'
