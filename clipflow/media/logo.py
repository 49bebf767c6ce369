"""Decodes and scales a user's logo for the renderer."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np

from clipflow.domain.errors import InvalidInputError
from clipflow.media.isolation import isolated

# The format of an image by its first bytes. WebP is not listed: its size is within these bytes.
_FORMATS = ((b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"\xff\xd8\xff", "jpeg_pipe"))
_RIFF, _WEBP = b"RIFF", b"WEBP"
# Pixels of an image's sides.
_SMALLEST, _LARGEST = 8, 8192
_MOST_PIXELS = 40_000_000


def read_logo(
    data: bytes, name: str, width: int, tallest: int, opacity: float, path: Path
) -> tuple[int, int]:
    """Writes the image as a video of one frame to `path`, and returns its width and height.

    They are even, and at most `width` and `tallest`. Raises InvalidInputError, which begins with
    `name`, if it is not a PNG, JPEG or WebP image, or too small or large.
    """
    form = next((form for start, form in _FORMATS if data.startswith(start)), None)
    if form is None and data.startswith(_RIFF) and data[8:12] == _WEBP:
        form = "webp_pipe"
    if form is None:
        raise InvalidInputError(f"{name} is not a PNG, JPEG or WebP image.", "Use another file.")
    return isolated(name, _read, data, form, name, (width, tallest), opacity, path)


def _read(
    data: bytes, form: str, name: str, bounds: tuple[int, int], opacity: float, path: Path
) -> tuple[int, int]:
    try:
        with av.open(BytesIO(data), "r", format=form) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            context.options = {"max_pixels": str(_MOST_PIXELS)}
            frame = next(container.decode(stream))
    except (av.error.FFmpegError, StopIteration, IndexError) as error:
        raise InvalidInputError(
            f"{name} is not an image that can be read: {error or 'it is empty'}.",
            "Save it as PNG.",
        ) from None
    sides = frame.width, frame.height
    if min(sides) < _SMALLEST or max(sides) > _LARGEST:
        raise InvalidInputError(
            f"{name} has {sides[0]}x{sides[1]} pixels; a side has {_SMALLEST} to {_LARGEST}."
        )
    scale = min(bounds[0] / sides[0], bounds[1] / sides[1])
    width, height = (max(2, 2 * round(side * scale / 2)) for side in sides)
    shown = frame.reformat(width=width, height=height, format="rgba", interpolation="LANCZOS")
    pixels = shown.to_ndarray().astype(np.float32)
    pixels[:, :, 3] *= opacity
    _write(np.round(pixels).astype(np.uint8), path)
    return width, height


def _write(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", path: Path) -> None:
    with av.open(str(path), "w", format="nut") as output:
        stream = output.add_stream("rawvideo", rate=25)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "rgba"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgba")
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
