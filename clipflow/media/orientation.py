"""How a picture is rotated and mirrored for display, from a source's display matrix."""

from collections.abc import Sequence
from math import atan2, degrees, hypot
from struct import unpack_from
from typing import Any

from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame

# Degrees by which a matrix may deviate from a multiple of 90; larger deviations are ignored.
_MAX_TILT = 1.0


def orientation(matrix: Sequence[int]) -> tuple[int, bool]:
    """The rotation of a display matrix in degrees counter-clockwise, and whether it mirrors.

    `matrix` is that of ISO/IEC 14496-12 (8.3.2), row by row; empty for none. The rule is ffmpeg's
    own, so that a clip looks as in players, except that a matrix that is no multiple of 90 degrees
    is ignored.
    """
    if not matrix:
        return 0, False
    a, b, _, c, d = matrix[:5]
    scales = hypot(a, c), hypot(b, d)
    if not all(scales):
        return 0, False
    clockwise = degrees(atan2(b / scales[1], a / scales[0])) % 360
    quarters = round(clockwise / 90)
    if abs(clockwise - 90 * quarters) >= _MAX_TILT:
        return 0, False
    match quarters % 4:
        case 1:
            return 270, c > 0
        case 2:
            # The matrix flips the picture horizontally, vertically, or both (a half turn).
            return (180, False) if d < 0 else (0, True)
        case 3:
            return 90, c < 0
        case _:
            return (180, True) if d < 0 else (0, False)


def display_matrix(frame: VideoFrame) -> Sequence[int]:
    """The display matrix of a decoded frame, row by row; empty if it has none."""
    # PyAV's own `rotation` is a whole number of degrees and cannot represent mirroring.
    found: Any = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
    return unpack_from("=9i", bytes(found)) if found else ()
