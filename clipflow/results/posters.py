"""Posters: a small picture of a video, and a contact sheet of several."""

from base64 import b64encode
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from clipflow.jobs.scratch import work_folder
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.probe import probe_source
from clipflow.media.source import Source
from clipflow.media.window import Span, Window, fetch_window

# Seconds: what is read of the video, and the time of the picture in it; a fade-in is over by then.
_BEGINNING, _AT = Fraction(1), Fraction(3, 4)
# ffmpeg's scale for JPEG, of which 2 is the best: about 12 kB for a vertical video 270 pixels wide.
_QUALITY = 5
_DEADLINE = 60.0
# Bytes on disk: a second of video, and a small picture.
_NEEDED = 64 << 20


def poster(source: Source, width: int, machine: Machine) -> str:
    """A frame of the first second as a JPEG of `width` pixels, in a data: URI.

    Only the second's bytes are read. Raises what reading and ffmpeg raise.
    """
    probe = probe_source(source)
    span = Span(Fraction(0), min(_BEGINNING, probe.duration or _BEGINNING))
    with work_folder(machine.scratch, _NEEDED) as scratch:
        window = fetch_window(source, probe, span, scratch / "window.nut")
        picture = scratch / "poster.jpg"
        command = _command(window, width, picture)
        ffmpeg.run(command, f"making the poster of {source.name}", machine, _DEADLINE)
        return f"data:image/jpeg;base64,{b64encode(picture.read_bytes()).decode()}"


def _command(window: Window, width: int, picture: Path) -> list[str]:
    """ffmpeg's arguments for the last frame before the picture's time."""
    upto = [time for time in window.frames if time <= window.span.duration * _AT]
    chosen = window.origin + max(upto, default=window.frames[0])
    # Half a millisecond early: times in ffmpeg's expressions are floats.
    filters = f"select=gte(t\\,{float(chosen) - 0.0005:.6f}),scale={width}:-2"
    one = ["-frames:v", "1", "-update", "1", "-q:v", str(_QUALITY)]
    read = ["-threads", "1", "-copyts", "-i", str(window.path), "-an"]
    return [*read, "-vf", filters, *one, str(picture)]


# Pixels of a cell, in the shape of a short, and cells in a row.
_WIDTH, _HEIGHT, _COLUMNS = 180, 320, 4
# More posters would make the sheet several megabytes large.
_MAX_POSTERS = 12


def contact_sheet(posters: Sequence[str]) -> str:
    """The first dozen of `posters`, which are data: URIs, in rows, as a data: URI of an SVG."""
    selected = posters[:_MAX_POSTERS]
    columns = min(_COLUMNS, len(selected))
    rows = -(-len(selected) // _COLUMNS)
    size = f'width="{columns * _WIDTH}" height="{rows * _HEIGHT}"'
    cells = "".join(_cell(place, poster) for place, poster in enumerate(selected))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{cells}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _cell(place: int, poster: str) -> str:
    row, column = divmod(place, _COLUMNS)
    where = f'x="{column * _WIDTH}" y="{row * _HEIGHT}"'
    return f'<image {where} width="{_WIDTH}" height="{_HEIGHT}" href="{poster}"/>'
