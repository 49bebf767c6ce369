"""HLS playlists (RFC 8216): which chunks hold a span, and where each of them is.

Only what lies beside the playlist in its own bucket is read: a URI with a scheme, an absolute path
or one that leaves the playlist's folder is refused. What is handed to libavformat is written anew
from what was parsed, so nothing reaches it that was not checked.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, isfinite
from urllib.parse import unquote, urlsplit

import m3u8

from clipflow.domain.errors import InvalidInputError


@dataclass(frozen=True)
class Resource:
    """A URI, and the bytes of it that are meant, as `length@offset`; all of them without."""

    uri: str
    bytes: str = ""


@dataclass(frozen=True)
class EncryptionKey:
    """HLS's method, where its key is, and its initialisation vector in hexadecimal, if given."""

    method: str
    uri: str
    vector: str = ""


@dataclass(frozen=True)
class Chunk:
    """One chunk, its length in seconds as declared, and what it needs to be read."""

    media: Resource
    seconds: Fraction
    header: Resource | None = None
    key: EncryptionKey | None = None

    @property
    def uris(self) -> list[str]:
        """Of all that is read for it."""
        return [part.uri for part in (self.media, self.header, self.key) if part]


def lines_of(chunk: Chunk, before: Chunk, address: Callable[[str], str]) -> list[str]:
    """A media playlist's lines for `chunk`, after those of `before`, URIs by their addresses."""
    lines = []
    if chunk.key != before.key:
        vector = f",IV={chunk.key.vector}" if chunk.key and chunk.key.vector else ""
        named = (
            f'{chunk.key.method},URI="{address(chunk.key.uri)}"{vector}' if chunk.key else "NONE"
        )
        lines.append(f"#EXT-X-KEY:METHOD={named}")
    if chunk.header and chunk.header != before.header:
        part = f',BYTERANGE="{chunk.header.bytes}"' if chunk.header.bytes else ""
        lines.append(f'#EXT-X-MAP:URI="{address(chunk.header.uri)}"{part}')
    lines.append(f"#EXTINF:{float(chunk.seconds):f},")
    if chunk.media.bytes:
        lines.append(f"#EXT-X-BYTERANGE:{chunk.media.bytes}")
    return [*lines, address(chunk.media.uri)]


# A playlist of a day in two-second chunks is below this.
LARGEST_PLAYLIST_BYTES = 8 << 20
# Characters; libavformat reads no more of a line than a quarter of this.
_LONGEST_LINE = 1 << 14
# Seconds of one chunk.
_LONGEST_CHUNK = 86_400
# Characters at which some readers end a line and others do not, so that they read two playlists.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_RANGE = re.compile(r"(\d{1,15})(?:@(\d{1,15}))?", re.ASCII)
_VECTOR = re.compile(r"0[xX][0-9a-fA-F]{1,32}", re.ASCII)


@dataclass(frozen=True)
class Playlist:
    """A media playlist at `key`, its chunks in order, with the second at which each begins.

    `number` is the first chunk's media sequence number.
    """

    key: str
    chunks: tuple[Chunk, ...]
    starts: tuple[Fraction, ...]
    number: int = 0

    @property
    def duration(self) -> Fraction:
        """Seconds, as the playlist declares them."""
        return self.starts[-1] + self.chunks[-1].seconds

    def around(self, start: Fraction, end: Fraction) -> "Playlist":
        """The chunks that hold `start ≤ t < end`, and one more at either side."""
        before = sum(1 for begins in self.starts if begins <= start) - 1
        after = sum(1 for begins in self.starts if begins < end)
        return self._part(slice(max(0, before - 1), after + 1))

    def only(self, number: int) -> "Playlist":
        """One chunk, by its number from 0."""
        return self._part(slice(number, number + 1))

    def _part(self, span: slice) -> "Playlist":
        # The number of a chunk is its default decryption vector, so it must not change.
        number = self.number + span.start
        return replace(self, chunks=self.chunks[span], starts=self.starts[span], number=number)

    def at_times(self, known: Mapping[int, Fraction]) -> "Playlist":
        """The same playlist with the true starts of some chunks, by number, in seconds.

        The chunks between are placed in proportion to their declared lengths.
        """
        declared, starts = self.starts, []
        places = sorted({0: Fraction(0), **known}.items())
        for number, start in enumerate(declared):
            before = max(place for place in places if place[0] <= number)
            after = next((place for place in places if place[0] > number), None)
            length = start - declared[before[0]]
            if after and declared[after[0]] > declared[before[0]]:
                scale = declared[after[0]] - declared[before[0]]
                length *= (after[1] - before[1]) / scale
            starts.append(before[1] + length)
        return replace(self, starts=tuple(starts))

    def text(self, address: Callable[[str], str]) -> str:
        """The playlist with each URI replaced by its address."""
        longest = max(chunk.seconds for chunk in self.chunks)
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{ceil(longest)}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{self.number}", "#EXT-X-PLAYLIST-TYPE:VOD"]
        before = Chunk(Resource(""), Fraction(0))
        for chunk in self.chunks:
            lines += lines_of(chunk, before, address)
            before = chunk
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def parse_playlist(text: str, key: str) -> Playlist | str:
    """The media playlist in `text`, or, of a master playlist, the key of its best variant.

    Raises InvalidInputError where it is neither, or holds what cannot be cut exactly.
    """
    _refuse_odd_text(text, key)
    try:
        content = m3u8.loads(text)
    except Exception as error:  # noqa: BLE001 - whatever a parser trips over, the text is at fault
        raise InvalidInputError(f"{key} is not an HLS playlist: {type(error).__name__}.") from None
    if content.is_variant:
        return _best_variant(content, key)
    if not text.lstrip("\ufeff").startswith("#EXTM3U") or not content.segments:
        raise InvalidInputError(f"{key} is not an HLS playlist with chunks.")
    if not content.is_endlist:
        raise InvalidInputError(f"{key} is still being recorded.", "Wait until it ends.")
    if any(chunk.discontinuity for chunk in content.segments[1:]):
        raise InvalidInputError(
            f"{key} has a discontinuity, so times in it are not one time line.",
            "Remux it into one file first.",
        )
    return _playlist(content, key)


def resolve_uri(key: str, uri: str) -> str:
    """The key of what the playlist at `key` calls `uri`; InvalidInputError if it lies elsewhere."""
    folder = posixpath.dirname(key)
    try:
        address = urlsplit(uri)
    except ValueError:
        raise InvalidInputError(f"{key} names {uri[:80]!r}, which is no address.") from None
    path = unquote(address.path)
    resolved = posixpath.normpath(posixpath.join(folder, path))
    if (
        address.scheme
        or address.netloc
        or not path
        # RFC 3986, 4.2: before a colon in the first part stands a scheme, whatever it looks like.
        or ":" in path.partition("/")[0]
        or path.startswith("/")
        or _CONTROLS.search(path)
        or not resolved.startswith(f"{folder}/" if folder else "")
        or resolved.startswith(("../", "/"))
        or resolved in (".", "..")
    ):
        raise InvalidInputError(f"{key} names {uri[:80]!r}, which is not beside it.")
    return resolved


def _refuse_odd_text(text: str, key: str) -> None:
    if found := _CONTROLS.search(text):
        raise InvalidInputError(f"{key} holds the control character U+{ord(found[0]):04X}.")
    if max(map(len, text.split("\n"))) > _LONGEST_LINE:
        raise InvalidInputError(f"{key} has a line of more than {_LONGEST_LINE} characters.")


def _best_variant(content: m3u8.M3U8, key: str) -> str:
    if not content.playlists:
        raise InvalidInputError(f"{key} is a master playlist that names no other.")
    best = max(content.playlists, key=lambda variant: variant.stream_info.bandwidth or 0)
    if any(media.type == "AUDIO" and media.uri for media in best.media):
        raise InvalidInputError(
            f"{key} keeps its sound in playlists of its own.",
            "Name a playlist whose chunks hold both picture and sound.",
        )
    return resolve_uri(key, best.uri or "")


def _playlist(content: m3u8.M3U8, key: str) -> Playlist:
    chunks: list[Chunk] = []
    starts, total, offset = [], Fraction(0), 0
    for place, segment in enumerate(content.segments):
        what = f"{key}: chunk {place}"
        media, offset = _part(segment.uri, segment.byterange, offset, what)
        header = segment.init_section
        chunk = Chunk(
            media,
            _seconds(segment.duration, what),
            _part(header.uri, header.byterange, 0, what)[0] if header else None,
            _key(segment.key, what),
        )
        for uri in chunk.uris:
            resolve_uri(key, uri)
        chunks.append(chunk)
        starts.append(total)
        total += chunk.seconds
    number = content.media_sequence or 0
    if not 0 <= number < 1 << 63:
        raise InvalidInputError(f"{key} has a media sequence number that cannot be.")
    return Playlist(key, tuple(chunks), tuple(starts), number)


def _seconds(given: float | None, what: str) -> Fraction:
    if given is None or not isfinite(given) or not 0 <= given <= _LONGEST_CHUNK:
        raise InvalidInputError(f"{what} lasts {given} seconds, which cannot be.")
    return Fraction(str(given))


def _part(uri: str | None, given: str | None, offset: int, what: str) -> tuple[Resource, int]:
    """A part and where it ends; a range without an offset begins after the one before."""
    if not given:
        return Resource(uri or ""), offset
    match = _RANGE.fullmatch(given)
    if not match:
        raise InvalidInputError(f"{what} has a byte range that is none.")
    offset = int(match[2]) if match[2] else offset
    return Resource(uri or "", f"{int(match[1])}@{offset}"), offset + int(match[1])


def _key(given: m3u8.Key | None, what: str) -> EncryptionKey | None:
    if given is None or given.method in (None, "NONE"):
        return None
    vector = given.iv or ""
    if given.method not in ("AES-128", "SAMPLE-AES") or (vector and not _VECTOR.fullmatch(vector)):
        raise InvalidInputError(
            f"{what} is encrypted in a way that cannot be read.", "Use AES-128 or SAMPLE-AES."
        )
    return EncryptionKey(given.method, given.uri or "", vector)
