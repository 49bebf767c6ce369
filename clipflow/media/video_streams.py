"""The selection of a container's video stream, its first frame, and how that is displayed.

A display matrix says how a picture is rotated and mirrored for display.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from math import atan2, degrees, hypot
from struct import unpack_from
from typing import Any

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaRefusedError
from clipflow.machine import LARGEST_PICTURE
from clipflow.media.audio_streams import has_decoder
from clipflow.media.source import stream_start

# Packets that are searched for the first frame: a group of pictures is shorter.
_MAX_PACKETS = 3000
# The longest side that x264 accepts, in pixels.
_MAX_SIDE = 16_384
_COVER = av.stream.Disposition.attached_pic


def has_video(container: InputContainer) -> bool:
    """Whether the container has a video stream that is not a cover image."""
    return any(not stream.disposition & _COVER for stream in container.streams.video)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream to cut: the best one that can be decoded and is not a cover image.

    Raises MediaRefusedError if there is none.
    """
    moving = [s for s in container.streams.video if not s.disposition & _COVER and has_decoder(s)]
    if not moving:
        raise MediaRefusedError(
            f"{name} has no moving picture that can be decoded.", "Use a source that has one."
        )
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in moving else moving[0]


def first_frame(
    container: InputContainer, picture: VideoStream, name: str
) -> tuple[VideoFrame, Fraction] | None:
    """The first frame near the beginning that can be decoded, and the source's time zero.

    The time is in seconds on the container's clock. None if no frame with a timestamp can be
    decoded. Raises MediaRefusedError for a picture that is too large to be decoded safely.
    """
    check_picture_size(picture.codec_context.width, picture.codec_context.height, name)
    picture.codec_context.options = {"max_pixels": str(LARGEST_PICTURE)}
    # Seconds by which the first frame is shown later than it is decoded.
    delay: Fraction | None = None
    # Only the first packets are searched, so that hours of packets without a frame are not read.
    for packet in islice(container.demux(picture), _MAX_PACKETS):
        if delay is None and packet.pts is not None:
            delay = (packet.pts - (packet.pts if packet.dts is None else packet.dts)) * (
                packet.time_base
            )
        for frame in packet.decode():
            if isinstance(frame, VideoFrame) and frame.pts is not None:
                return frame, _time_zero(container, frame.pts * packet.time_base, delay)
    return None


# Seconds by which the sound may begin before the picture in any source, since encoders and
# containers delay one of them by a few frames.
_MAX_PICTURE_DELAY = Fraction(1, 10)


def _time_zero(container: InputContainer, first: Fraction, delay: Fraction | None) -> Fraction:
    """The time that a player shows as zero, in seconds on the container's clock.

    That is the time of the first frame, `first`, or the start of the sound if the picture begins
    noticeably later. `delay` is the seconds between decoding the first frame and showing it.
    """
    sound = min((stream_start(s) for s in container.streams.audio if s.start_time is not None),
                default=first)  # fmt: skip
    is_late = first - max(delay or Fraction(0), Fraction(0)) - sound > _MAX_PICTURE_DELAY
    return sound if is_late else first


def check_picture_size(width: int, height: int, name: str) -> None:
    """Raises MediaRefusedError for a picture that is too large for every level of H.264."""
    if width * height > LARGEST_PICTURE or max(width, height) > _MAX_SIDE:
        raise MediaRefusedError(
            f"{name} has a picture of {width}x{height}, which is too large.",
            f"A picture has at most {LARGEST_PICTURE} pixels, {_MAX_SIDE} at a side.",
        )


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
