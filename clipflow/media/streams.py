"""Which streams of a container are meant, and the picture's first frame: headers may lie."""

from itertools import islice

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaRefusedError
from clipflow.machine import LARGEST_PICTURE

# Packets in which a first frame is looked for: a group of pictures is shorter.
_MOST_TRIED = 3000
# Pixels: what x264 takes.
_LONGEST_SIDE = 16_384
_COVER = av.stream.Disposition.attached_pic


def picture_of(container: InputContainer, name: str) -> VideoStream:
    """The stream that is cut: the best one that is not a cover image."""
    moving = [s for s in container.streams.video if not s.disposition & _COVER and _is_known(s)]
    if not moving:
        raise MediaRefusedError(
            f"{name} has no moving picture that can be decoded.", "Name a source that has one."
        )
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in moving else moving[0]


def sound_of(container: InputContainer, name: str) -> AudioStream | None:
    """The stream that is heard: the best one that can be decoded; None where there is no sound.

    Raises MediaRefusedError where there is some, but none that can be decoded.
    """
    heard = [stream for stream in container.streams.audio if _is_known(stream)]
    if container.streams.audio and not heard:
        raise MediaRefusedError(f"No sound of {name} can be decoded.", "Re-encode its sound.")
    best = container.streams.best("audio")
    return best if isinstance(best, AudioStream) and best in heard else next(iter(heard), None)


def _is_known(stream: Stream) -> bool:
    # None where libavcodec has no decoder, whatever the types say.
    context: object = stream.codec_context
    return context is not None


def first_frame(container: InputContainer, picture: VideoStream, name: str) -> VideoFrame | None:
    """The first frame with a time that can be decoded, if any is near the beginning.

    Raises MediaRefusedError for a picture that is too large to be decoded safely.
    """
    refuse_too_large(picture.codec_context.width, picture.codec_context.height, name)
    picture.codec_context.options = {"max_pixels": str(LARGEST_PICTURE)}
    # Hours of packets that show nothing are not read to their end.
    packets = islice(container.demux(picture), _MOST_TRIED)
    frames = (frame for packet in packets for frame in packet.decode())
    return next((f for f in frames if isinstance(f, VideoFrame) and f.pts is not None), None)


def refuse_too_large(width: int, height: int, name: str) -> None:
    """Raises MediaRefusedError for a picture that H.264 has no level for."""
    if width * height > LARGEST_PICTURE or max(width, height) > _LONGEST_SIDE:
        raise MediaRefusedError(
            f"{name} has a picture of {width}x{height}, which is too large.",
            f"A picture has at most {LARGEST_PICTURE} pixels, {_LONGEST_SIDE} at a side.",
        )
