"""Files that were concatenated byte by byte, which are refused rather than read in part.

MP4, MOV, MXF, WAV, AVI, FLV, AIFF, TTA, CAF, W64 and ASF have one header for the whole file, so
what follows the first file is ignored by libavformat without an error. The same applies to Ogg with
two streams. In WavPack it is an error. In most other formats the clock of the packets starts again;
MP3, AAC and AC-3 have none, and are read to their end. libavformat reads Ogg joined with itself as
one file with the duration of a part.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import islice
from struct import unpack_from
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.source import FileSource, LocalSource, Source

# Returns the bytes from the first to before the second position, fewer at the end of the file.
_Read = Callable[[int, int], bytes]

# A box's size and type, and its 64-bit size (ISO/IEC 14496-12, 4.2).
_BOX_HEADER = 16
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp")
# Bytes of a RIFF chunk's header with the form of its content: `RIFF`, the size, `WAVE`.
_RIFF_HEADER = 12
# A file has a few boxes or chunks of RIFF; an AVI has one for each gigabyte.
_MOST = 1000
# The first bytes of formats whose length is known only once they have been read: FLV, AIFF, RF64,
# TTA, ASF, CAF, W64, Ogg, and WavPack's block with the first sample. The bytes behind the last
# packet in which they would be those of another file.
_BEGINNINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"FLV\x01",
        rb"FORM",
        rb"RF64",
        rb"TTA1",
        rb"0&\xb2u\x8ef\xcf\x11",
        rb"caff\x00\x01",
        rb"riff\.\x91\xcf\x11",
        rb"OggS\x00\x02",
        rb"wvpk.{6}\x00.{5}\x00{4}",
    )
)
_BEGINNING_BYTES = 20
_BEHIND = 1 << 16
# The key of the pack with which the header partition of an MXF begins, and a pack's size at most.
_MXF_HEADER = bytes.fromhex("060e2b34020501010d0102010102")
_PARTITION_BYTES = 1 << 10


# Formats whose files still play after they are concatenated byte by byte, and the positions, as
# parts of the file's size, at which the clock is checked. The last recording may be short, so the
# end is checked too.
STREAM_FORMATS = ("mpegts", "mpeg", "nut")
_CHECKED_POSITIONS = (*(Fraction(place, 8) for place in range(1, 8)), Fraction(1))
# Bytes at the end of a file that contain the start of at least one picture.
_LAST_BYTES = 1 << 18
# Packets that are searched for one with a time.
_MAX_PACKETS = 3000
# Seconds by which times may go back within one recording, because the container rounds them.
CLOCK_TOLERANCE = 1


_SECOND_HEADER = "a second header follows the first recording"


def several_recordings(
    name: str, evidence: str = "its timestamps start again"
) -> MediaRefusedError:
    """The error for a file that is several files, by default one whose clock restarts within it."""
    return MediaRefusedError(
        f"{name} contains several joined recordings: {evidence}.",
        "Join them with ffmpeg's concat demuxer, which gives them one clock.",
    )


def check_clock(container: InputContainer, picture: VideoStream, source: FileSource) -> None:
    """Raises MediaRefusedError if the file consists of several recordings with separate clocks.

    A player shows the recordings one after another, but the same time then occurs in several of
    them, and libavformat reports the duration of one as that of the file.
    """
    latest: int | None = None
    for place in _CHECKED_POSITIONS:
        offset = max(0, min(int(place * source.size), source.size - _LAST_BYTES))
        container.seek(offset, unsupported_byte_offset=True)
        found = (p.dts for p in islice(container.demux(picture), _MAX_PACKETS) if p.dts is not None)
        # In NUT, no picture may be found from there on.
        with suppress(av.error.InvalidDataError):
            # The last recording may be so short that it is in the last bytes as a whole.
            for dts in found if place == 1 else islice(found, 1):
                if latest is not None and (latest - dts) * _base(picture) > CLOCK_TOLERANCE:
                    raise several_recordings(source.name)
                latest = dts


def _base(stream: VideoStream) -> Fraction:
    return Fraction(stream.time_base or 0)


# The header of an Ogg page (RFC 3533, 6): flags, position, and the serial number of its stream.
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])(.{8})(.{4})", re.DOTALL)
_BEGINS_STREAM = 2
# Bytes with at least two pages.
_OGG_BYTES = 1 << 17


def check_pages(source: FileSource) -> None:
    """Raises MediaRefusedError if an Ogg file consists of several recordings.

    All streams of a recording begin before any other page (RFC 3533, 4), and the position in each
    grows.
    """
    read_until, latest, has_begun = 0, dict[bytes, int](), False
    for place in (Fraction(0), *_CHECKED_POSITIONS):
        offset = max(read_until, min(int(place * source.size), source.size - _OGG_BYTES))
        if offset >= source.size:
            return
        read_until = min(source.size, offset + _OGG_BYTES)
        for page in _OGG_PAGE.finditer(source.fetch(offset, read_until)):
            serial, position = page[3], int.from_bytes(page[2], "little", signed=True)
            begins_stream = bool(page[1][0] & _BEGINS_STREAM)
            is_another = has_begun if begins_stream else serial not in latest
            # The position of a page on which no packet ends is -1.
            if is_another or 0 <= position < latest.get(serial, 0):
                raise several_recordings(source.name)
            has_begun = has_begun or not begins_stream
            latest[serial] = max(position, latest.get(serial, 0))


def check_header(source: Source) -> None:
    """Raises MediaRefusedError if another file follows, found by the headers of all parts."""
    with _bytes_of(source) as (read, size):
        if _follows_another(read, size):
            raise several_recordings(source.name, _SECOND_HEADER)


def check_end(source: Source, end: int) -> None:
    """Raises MediaRefusedError if another file begins behind byte `end`, the last demuxed one."""
    with _bytes_of(source) as (read, size):
        begin = read(0, min(size, _BEGINNING_BYTES))
        beginning = next((pattern for pattern in _BEGINNINGS if pattern.match(begin)), None)
        if beginning is None or size - end < 1:
            return
        if beginning.search(read(end, min(size, end + _BEHIND))):
            raise several_recordings(source.name, _SECOND_HEADER)


@contextmanager
def naming_joined_files(source: Source) -> Iterator[None]:
    """Replaces an error of media by that of several recordings if another file follows.

    libavformat may find the end of an MXF that is joined with another kind to be invalid.
    """
    try:
        yield
    except MediaRefusedError:
        check_header(source)
        raise


@contextmanager
def _bytes_of(source: Source) -> Iterator[tuple[_Read, int]]:
    """A function that reads the bytes of `source`, and their number; none of a playlist."""
    if isinstance(source, FileSource):
        yield source.fetch, source.size
    elif isinstance(source, LocalSource) and source.path.is_file():
        with source.path.open("rb") as file:

            def read(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            yield read, source.path.stat().st_size
    else:
        yield lambda _start, _end: b"", 0


def _follows_another(read: _Read, size: int) -> bool:
    begin = read(0, min(size, _BOX_HEADER))
    if begin[:4] == b"RIFF":
        return _has_second_riff(read, size)
    if begin.startswith(_MXF_HEADER):
        return _has_second_partitions(read, size)
    return begin[4:8] in _BOXES and _has_second_movie(read, size)


def _has_second_riff(read: _Read, size: int) -> bool:
    """Whether a second RIFF file follows; an AVI goes on in chunks of the form `AVIX`."""
    first, at = b"", 0
    for _ in range(_MOST):
        if size - at < _RIFF_HEADER:
            return False
        header = read(at, at + _RIFF_HEADER)
        if header[:4] != b"RIFF":
            return False
        form, length = header[8:12], int.from_bytes(header[4:8], "little")
        if first and form == first:
            return True
        first = first or form
        # The size of a file that was written to a pipe is unknown; a chunk's end is even.
        at += 8 + length + length % 2
    return False


def _has_second_partitions(read: _Read, size: int) -> bool:
    """Whether a second header partition of MXF follows the footer partition that the first names.

    The fields are those of SMPTE ST 377-1, 7.1. A file that was written to a pipe has no footer.
    """
    footer = _partition(read, 0, size).footer
    if not 0 < footer < size:
        return False
    end = _partition(read, footer, size).end
    return _MXF_HEADER in read(min(end, size), min(end + _BEHIND, size))


class _Partition(NamedTuple):
    """Where the footer partition of a partition's file is, and where the partition ends."""

    footer: int
    end: int


def _partition(read: _Read, at: int, size: int) -> _Partition:
    pack = read(at, min(size, at + _PARTITION_BYTES))
    # The length of the pack: one byte, or the number of bytes that have it.
    width = pack[16] & 0x7F if len(pack) > 16 and pack[16] & 0x80 else 0
    begin = 17 + width
    if len(pack) < begin + 48:
        return _Partition(0, at)
    length = int.from_bytes(pack[17:begin], "big") if width else pack[16]
    footer, header_bytes, index_bytes = unpack_from(">3Q", pack, begin + 24)
    return _Partition(footer, at + begin + length + header_bytes + index_bytes)


def _has_second_movie(read: _Read, size: int) -> bool:
    """Whether a second `moov` follows the first one at the top level.

    The search ends at the first fragment: the times in fragments show a second recording.
    """
    movies, at = 0, 0
    for _ in range(_MOST):
        if size - at < 8:
            return False
        header = read(at, min(size, at + _BOX_HEADER))
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        movies += kind == b"moov"
        if movies > 1:
            return True
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if kind == b"moof" or length < 8:
            return False
        at += length
    return False
