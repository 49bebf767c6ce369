"""Files that were concatenated byte by byte, of formats whose readers stop after the first one.

MP4, MOV, WAV and AVI have one header for the whole file, so what follows the first file is ignored
by libavformat without an error. In other formats the clock of the packets starts again.
"""

from collections.abc import Callable

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


def has_second_header(source: Source) -> bool:
    """Whether another file of the same format follows the first one in `source`."""
    if isinstance(source, FileSource):
        return _follows_another(source.fetch, source.size)
    if isinstance(source, LocalSource) and source.path.is_file():
        with source.path.open("rb") as file:

            def read(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            return _follows_another(read, source.path.stat().st_size)
    return False


def _follows_another(read: _Read, size: int) -> bool:
    begin = read(0, min(size, _BOX_HEADER))
    if begin[:4] == b"RIFF":
        return _has_second_riff(read, size)
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
