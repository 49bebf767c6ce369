"""How much of a picture is text that stands still, as in slides and recordings of screens."""

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
# The share of a block of text that has the colour of its ground, and how far from it that is.
_GROUND, _NEAR_GROUND = 0.55, 12


@dataclass(frozen=True)
class Still:
    """The frame at `time` seconds in grey, with a longer side of at most `STILL_SIDE` pixels."""

    time: float
    picture: Pixels


def text_share(stills: Sequence[Still]) -> float:
    """The share of the picture that is text and does not move, from 0 to 1.

    Text has many edges on a flat ground. Measured: 0.30 to 0.40 for slides and screens, 0.05 or
    less for rooms with patterns and pictures in them, and for stages.
    """
    if not stills:
        return 0.0
    pictures = [still.picture for still in stills]
    shares = [_text(picture) for picture in pictures]
    if len(pictures) == 1:
        return float(shares[0].mean())
    stands = [
        _blocks(np.abs(after.astype(np.int16) - before)).mean(axis=2) < _STANDS
        for before, after in pairwise(pictures)
    ]
    # A block of text is one that stands still before the next still, or since the last.
    both = [shares[0] & stands[0], *(s & t for s, t in zip(shares[1:], stands, strict=True))]
    return float(np.median([part.mean() for part in both]))


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
