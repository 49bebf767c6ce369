"""A contact sheet: the posters of videos side by side, as one picture that needs nothing else."""

from base64 import b64encode
from collections.abc import Sequence

# Pixels of a cell, in the shape of a short, and cells in a row.
_WIDTH, _HEIGHT, _COLUMNS = 180, 320, 4
# Beyond these it is megabytes.
_MOST = 12


def contact_sheet(posters: Sequence[str]) -> str:
    """The first dozen of `posters`, which are data: URIs, in rows, as a data: URI of an SVG."""
    shown = posters[:_MOST]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // _COLUMNS)
    size = f'width="{columns * _WIDTH}" height="{rows * _HEIGHT}"'
    cells = "".join(_cell(place, poster) for place, poster in enumerate(shown))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{cells}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _cell(place: int, poster: str) -> str:
    row, column = divmod(place, _COLUMNS)
    where = f'x="{column * _WIDTH}" y="{row * _HEIGHT}"'
    return f'<image {where} width="{_WIDTH}" height="{_HEIGHT}" href="{poster}"/>'
