"""H.264 packets taken apart: NAL units behind start codes (MPEG-TS) or behind their lengths (MP4).

ITU-T H.264, 7.3.1 and annex B; ISO/IEC 14496-15, 5.3.3.
"""

from collections.abc import Iterator
from enum import IntEnum

START_CODE = b"\0\0\1"
# Behind start codes, where a length has no size.
ANNEX_B = 0
# What an MP4 of ours writes.
LENGTH_SIZE = 4


class Unit(IntEnum):
    """The types of NAL units that are asked for, as H.264's table 7-1 numbers them."""

    SLICE = 1
    IDR_SLICE = 5
    SPS = 7
    PPS = 8


def unit_type(unit: bytes) -> int:
    """The unit's type. Raises ValueError for what cannot begin a unit."""
    if not unit or unit[0] & 0x80 or not unit[0] & 0x1F:
        raise ValueError("a NAL unit is damaged")
    return unit[0] & 0x1F


def units(data: bytes, length_size: int) -> Iterator[bytes]:
    """The units of one packet, lengths being of so many bytes, or `ANNEX_B`.

    Raises ValueError where they do not fill the packet.
    """
    return _started(data) if length_size == ANNEX_B else _measured(data, length_size)


def length_prefixed(parts: Iterator[bytes]) -> bytes:
    """The units as one packet of an MP4 of ours."""
    return b"".join(len(unit).to_bytes(LENGTH_SIZE, "big") + unit for unit in parts)


def _measured(data: bytes, size: int) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + size], "big")
        unit = data[place + size : place + size + length]
        if not length or len(unit) < length:
            raise ValueError("a NAL unit's length is damaged")
        yield unit
        place += size + length


def _started(data: bytes) -> Iterator[bytes]:
    before, *parts = data.split(START_CODE)
    if before.strip(b"\0") or not parts:
        raise ValueError("a packet begins without a start code")
    for part in parts:
        # A unit never ends in zeros: they belong to the next start code, or pad.
        unit = part.rstrip(b"\0")
        if unit:
            yield unit
