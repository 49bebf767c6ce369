"""Generates an H.264 stream of field pictures (PAFF), which ffmpeg's encoders do not write.

Each frame is two fields, and each field is an access unit. All macroblocks are uncompressed
(I_PCM). Frames show their numbers as those of `tests.made_media` do.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.made_media import BITS

WIDTH, HEIGHT = 16 * BITS, 192
# The number of frames from one IDR picture to the next.
GROUP = 25
_MB = 16
_WHITE, _BLACK = 0xEB, 0x10


class _Writer:
    """Bits of a NAL unit's payload."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def fixed(self, value: int, count: int) -> "_Writer":
        self._bits.append(f"{value:0{count}b}")
        return self

    def golomb(self, *values: int) -> "_Writer":
        """Unsigned Exp-Golomb codes; the signed code of 0 is the same as the unsigned one."""
        for value in values:
            code = f"{value + 1:b}"
            self._bits.append("0" * (len(code) - 1) + code)
        return self

    def aligned(self, fill: str = "0") -> bytes:
        """The bytes so far; the last one is padded with `fill`."""
        text = "".join(self._bits)
        self._bits = [text + fill * (-len(text) % 8)]
        return int(self._bits[0], 2).to_bytes(len(self._bits[0]) // 8, "big")

    def unit(self, header: int, middle: bytes = b"") -> bytes:
        """The NAL unit with start code, trailing bits and emulation prevention bytes."""
        payload = self.aligned() + middle + b"\x80" if middle else self.fixed(1, 1).aligned()
        safe, zeros = bytearray(), 0
        for byte in payload:
            if zeros >= 2 and byte <= 3:
                safe.append(3)
                zeros = 0
            safe.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([header]) + safe


def _headers() -> bytes:
    sequence = _Writer().fixed(77 << 16 | 40, 24)  # Main profile, level 4.0
    # Id, 16 bits of frame_num, picture order by decoding order, one reference frame, no gaps.
    sequence.golomb(0, 12, 2, 1).fixed(0, 1)
    sequence.golomb(WIDTH // _MB - 1, HEIGHT // 2 // _MB - 1)
    # Fields are allowed, without MBAFF; 8x8 inference; no cropping, no VUI.
    sequence.fixed(0b00100, 5)
    picture = _Writer().golomb(0, 0).fixed(0, 2).golomb(0, 0, 0).fixed(0, 3)
    picture.golomb(0, 0, 0).fixed(0b100, 3)
    return sequence.unit(0x67) + picture.unit(0x68)


def _field(number: int, *, bottom: bool) -> bytes:
    is_first = number % GROUP == 0 and not bottom
    header = _Writer().golomb(0, 7, 0).fixed(number % GROUP, 16).fixed(0b10 | bottom, 2)
    if is_first:
        header.golomb(number // GROUP % 2).fixed(0, 2)
    else:
        header.fixed(0, 1)
    # The quantizer, no deblocking, and the first macroblock's type.
    header.golomb(0, 1, 25)
    return header.unit(0x65 if is_first else 0x61, _macroblocks(number))


def _macroblocks(number: int) -> bytes:
    between = _Writer().golomb(25).aligned()
    rows = HEIGHT // 2 // _MB
    blocks = [
        bytes([_WHITE if number >> column & 1 and row < rows // 2 else _BLACK]) * _MB**2
        + b"\x80" * (_MB**2 // 2)
        for row in range(rows)
        for column in range(BITS)
    ]
    return between.join(blocks)


def write_field_pictures(path: Path, frames: int) -> Path:
    """Write `frames` frames as two field pictures each to `path`, an H.264 stream."""

    def units() -> Iterator[bytes]:
        delimiter = b"\0\0\0\1\x09\x10"
        for number in range(frames):
            yield delimiter
            if number % GROUP == 0:
                yield _headers()
            yield _field(number, bottom=False)
            yield delimiter
            yield _field(number, bottom=True)

    path.write_bytes(b"".join(units()))
    return path
