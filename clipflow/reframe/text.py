"""Recognizes slides and recordings of screens by text that stands still."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.reframe.faces import Pixels

# The longer side of a still in pixels, and the side of its blocks.
STILL_SIDE, _BLOCK = 640, 16
# The mean change of a block between two stills, of 255, up to which it stands still.
_STANDS = 3
# The slope from which a pixel is on an edge, the share of such pixels in a block of text, and the
# least difference between its light and dark.
_EDGE, _EDGES, _CONTRAST = 24, 0.12, 40
# The share of the picture from which text makes it a slide or a screen: these have 0.2 and more,
# rooms and stages 0.05 at most. With a page of so large a share, so little text is enough as a
# slide has that shows only a title. Measured: pages of such slides have 0.4 and more, rooms less
# than 0.1.
_TEXT, _TITLE, _PAGE = 0.12, 0.015, 0.3
# With so many lines of text, the ground may have any colours, such as a gradient. A line has so
# large a share of the picture's width. Measured: slides on gradients have four lines and more, the
# longest of 0.35 and more, and 0.07 text; rooms and stages one line at most, of 0.14, and 0.025.
_LINED, _LINES, _LINE = 0.04, 2, 0.2
# The mean change of a block, of 255, up to which it is exactly the same, and the share of such
# blocks from which little text is enough as well: no camera took the picture. Measured: slides with
# a photograph as their ground have 0.87 and more, cameras' pictures 0.18 at most.
_SAME, _UNMOVED = 0.3, 0.6
# The share of the picture's height above the lowest part, and how far a page's greys are apart.
_LOWEST, _EVEN = 0.7, 3
# The share of a block of text that has the colour of its ground, and how far from it that is.
_GROUND, _NEAR_GROUND = 0.55, 12


@dataclass(frozen=True)
class Still:
    """The frame at `time` seconds in grey, with a longer side of at most `STILL_SIDE` pixels."""

    time: float
    picture: Pixels


def is_document(stills: Sequence[Still]) -> bool:
    """Whether the picture is a slide or a screen: much text, lines of it, or some on a page of one
    colour or in a picture that no camera took.

    Text has many edges on a flat ground. What is in the lowest part of the picture does not count:
    there, news and interviews have banners and captions too.
    """
    if not stills:
        return False
    pictures = [still.picture for still in stills]
    texts = _standing(pictures, [_text(picture) for picture in pictures])
    text = _share(texts)
    if text >= _TEXT or (text >= _LINED and _lines(texts) >= _LINES):
        return True
    if text < _TITLE:
        return False
    pages = _standing(pictures, [_page(picture) for picture in pictures])
    unmoved = [change <= _SAME for change in _changes(pictures)]
    return _share(pages) >= _PAGE or (bool(unmoved) and _share(unmoved) >= _UNMOVED)


def _standing(
    pictures: Sequence[Pixels], found: Sequence[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """The blocks that are found, stand still and are not in the lowest part, in each picture."""
    above = np.arange(len(found[0]))[:, None] < _LOWEST * len(found[0])
    if len(pictures) == 1:
        return [found[0] & above]
    stands = [change < _STANDS for change in _changes(pictures)]
    # A block stands still if it does so before the next still, or since the last.
    both = [found[0] & stands[0], *(f & s for f, s in zip(found[1:], stands, strict=True))]
    return [part & above for part in both]


def _changes(pictures: Sequence[Pixels]) -> list[NDArray[np.float64]]:
    """The mean change of each block, from each picture to the next."""
    return [
        _blocks(np.abs(after.astype(np.int16) - before)).mean(axis=2)
        for before, after in pairwise(pictures)
    ]


def _share(parts: Sequence[NDArray[np.bool_]]) -> float:
    """The usual share of the blocks."""
    return float(np.median([part.mean() for part in parts]))


def _lines(texts: Sequence[NDArray[np.bool_]]) -> int:
    """How many rows of blocks usually have a line of text, in which gaps of one block are words'
    spaces."""
    usual = np.median(texts, axis=0) > 0.5
    usual[:, 1:-1] |= usual[:, :-2] & usual[:, 2:]
    # The longest run of blocks in a row is that of the bytes between others.
    runs = [max(map(len, row.tobytes().split(b"\0"))) for row in usual]
    return sum(run >= _LINE * usual.shape[1] for run in runs)


def _page(picture: Pixels) -> NDArray[np.bool_]:
    """Whether each block is even and of the most frequent colour, as the ground of a slide is.

    A camera's picture of a wall is neither: its light falls off, and it has noise.
    """
    blocks = _blocks(picture).astype(np.int16)
    dark, light = np.percentile(blocks, [2, 98], axis=2)
    is_even = np.asarray(light - dark <= _EVEN, np.bool_)
    colour = np.median(blocks, axis=2)
    if not is_even.any():
        return is_even
    usual = np.bincount(np.rint(colour[is_even]).astype(np.int64)).argmax()
    return np.asarray(is_even & (np.abs(colour - usual) <= _EVEN), np.bool_)


def _text(picture: Pixels) -> NDArray[np.bool_]:
    """Whether each block of the picture looks like text."""
    grey = picture.astype(np.float32)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, x, 1 - x) / 4 for x in (1, 0))
    edges = _blocks((np.hypot(across, down) > _EDGE).astype(np.float32)).mean(axis=2)
    blocks = _blocks(picture).astype(np.int16)
    dark, light = np.percentile(blocks, [10, 90], axis=2)
    grounds = [
        (np.abs(blocks - side[..., None]) < _NEAR_GROUND).mean(axis=2) for side in (dark, light)
    ]
    is_flat = np.maximum(*grounds) > _GROUND
    return np.asarray((edges > _EDGES) & (light - dark > _CONTRAST) & is_flat, np.bool_)


def _blocks(picture: NDArray[np.generic]) -> NDArray[np.generic]:
    """The pixels of each block: (rows, columns, pixels). What is left at the edges is not used."""
    rows, columns = (max(1, side // _BLOCK) for side in picture.shape)
    part = picture[: rows * _BLOCK, : columns * _BLOCK]
    split = part.reshape(rows, part.shape[0] // rows, columns, part.shape[1] // columns)
    return split.transpose(0, 2, 1, 3).reshape(rows, columns, -1)
