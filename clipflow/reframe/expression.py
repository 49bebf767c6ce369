"""The path as what ffmpeg's crop filter takes: an expression of time, in no file of its own."""

from collections.abc import Sequence
from typing import Any

from clipflow.reframe.path import CropPath, Knot, Piece, pieces

# Variables of an expression, which libavutil keeps from frame to frame: the time since the first
# frame, the first frame's time, and whether that is known.
_NOW, _FIRST, _KNOWN = 0, 1, 2
# So the path holds wherever ffmpeg puts zero: with and without -copyts, behind a trim.
_CLOCK = (
    f"st({_FIRST},if(ld({_KNOWN}),ld({_FIRST}),t));"
    f"st({_KNOWN},1-isnan(t));"
    f"st({_NOW},t-ld({_FIRST}));"
)


def cropped(stream: Any, path: CropPath) -> Any:
    """`stream` of ffmpeg-python with the crop. Its frames must still be those that were analysed.

    Put it before `fps` or `setpts`: they move frames away from the cuts of the picture.
    """
    return stream.filter(
        "crop", w=path.width, h=path.height, x=expression(path.x), y=expression(path.y)
    )


def expression(knots: Sequence[Knot]) -> str:
    """An edge in even pixels, as an expression of the crop filter's `t`."""
    parts = pieces(knots)
    if len(parts) == 1:
        return f"2*floor({_number(parts[0].a)}/2+0.5)"
    return f"{_CLOCK}2*floor(({_chosen(parts)})/2+0.5)"


def _chosen(parts: Sequence[Piece]) -> str:
    # A tree of halves: its depth stays far below the hundred that libavutil's parser allows.
    if len(parts) == 1:
        return _polynomial(parts[0])
    half = len(parts) // 2
    start = _number(parts[half].start)
    return f"if(lt(ld({_NOW}),{start}),{_chosen(parts[:half])},{_chosen(parts[half:])})"


def _polynomial(piece: Piece) -> str:
    if piece.b == piece.c == piece.d == 0:
        return _number(piece.a)
    u = f"(ld({_NOW})-{_number(piece.start)})"
    a, b, c, d = (_number(part) for part in (piece.a, piece.b, piece.c, piece.d))
    return f"{a}+{u}*({b}+{u}*({c}+{u}*{d}))"


def _number(value: float) -> str:
    # A microsecond of time, and less than a tenth of a pixel over a piece of minutes. No exponent,
    # since libavutil would take its `e` for a name.
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return f"({text})" if text.startswith("-") else text
