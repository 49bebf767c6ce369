"""Parsing HLS playlists (RFC 8216) and selecting the chunks of a span.

Only objects in the playlist's own folder and below are read: a URI that has a scheme, is an
absolute path or leaves that folder is refused. libavformat gets a new playlist, written from the
parsed one, so that it sees nothing that was not checked.
"""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, isfinite
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import m3u8

from clipflow.domain.errors import InvalidInputError


@dataclass(frozen=True)
class Resource:
    """A URI and a byte range in it as `length@offset`; empty for all bytes."""

    uri: str
    bytes: str = ""


@dataclass(frozen=True)
class EncryptionKey:
    """The encryption method, the key's URI, and the initialisation vector in hexadecimal."""

    method: str
    uri: str
    vector: str = ""


@dataclass(frozen=True)
class Chunk:
    """One chunk, its declared duration in seconds, and the header and key to read it."""

    media: Resource
    seconds: Fraction
    header: Resource | None = None
    key: EncryptionKey | None = None

    @property
    def uris(self) -> list[str]:
        """The URIs of the chunk, its header and its key."""
        return [part.uri for part in (self.media, self.header, self.key) if part]


def lines_of(chunk: Chunk, before: Chunk, address: Callable[[str], str]) -> list[str]:
    """The playlist lines for `chunk` that follow those of `before`, with URIs as addresses."""
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


# Bytes: a playlist of a day in two-second chunks is smaller.
LARGEST_PLAYLIST_BYTES = 8 << 20
# Characters in a line; libavformat reads only a quarter of this.
_MAX_LINE = 1 << 14
# The duration of a chunk that RFC 8216bis and Apple recommend, in seconds.
_USUAL_SECONDS = 6
# The longest duration that a chunk may declare, in seconds.
_MAX_CHUNK_SECONDS = 86_400
# Characters that end a line for some parsers only, so that two parsers would see different lines.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_RANGE = re.compile(r"(\d{1,15})(?:@(\d{1,15}))?", re.ASCII)
_OFFSET = re.compile(r"\d{1,15}", re.ASCII)
_VECTOR = re.compile(r"0[xX][0-9a-fA-F]{1,32}", re.ASCII)


@dataclass(frozen=True)
class Playlist:
    """The media playlist at `key`: its chunks in order, and the start of each in seconds.

    `number` is the first chunk's media sequence number.
    """

    key: str
    chunks: tuple[Chunk, ...]
    starts: tuple[Fraction, ...]
    number: int = 0

    @property
    def duration(self) -> Fraction:
        """The total duration in seconds that the playlist declares."""
        return self.starts[-1] + self.chunks[-1].seconds

    def around(self, start: Fraction, end: Fraction) -> "Playlist":
        """A playlist of the chunks that hold `start ≤ t < end`, and one more on each side."""
        # Of chunks that declare no length, and so begin at the same time, it begins with the first.
        before = self.starts.index(max(begins for begins in self.starts if begins <= start))
        after = sum(1 for begins in self.starts if begins < end)
        return self._part(slice(max(0, before - 1), after + 1))

    def only(self, number: int) -> "Playlist":
        """A playlist of one chunk, by its index from 0."""
        return self._part(slice(number, number + 1))

    def _part(self, span: slice) -> "Playlist":
        # A chunk's sequence number is its default initialisation vector, so it must not change.
        number = self.number + span.start
        return replace(self, chunks=self.chunks[span], starts=self.starts[span], number=number)

    def at_times(self, known_starts: Mapping[int, Fraction]) -> "Playlist":
        """The same playlist with the actual starts of some chunks, by index, in seconds.

        The chunks between them are placed in proportion to their declared durations.
        """
        declared, starts = self.starts, []
        places = sorted({0: Fraction(0), **known_starts}.items())
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
    """The media playlist in `text`, or the key of the best variant if it is a master playlist.

    Raises InvalidInputError if it is neither, or cannot be cut exactly.
    """
    _check_text(text, key)
    try:
        content = m3u8.loads(text)
    except Exception as error:  # noqa: BLE001 - any error of the parser means invalid text
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
    """The key that `uri` refers to in the playlist at `key`.

    Raises InvalidInputError if it is not in the playlist's folder or below.
    """
    folder = posixpath.dirname(key)
    try:
        address = urlsplit(uri)
    except ValueError:
        raise InvalidInputError(f"{key} names {uri[:80]!r}, which is not a valid URI.") from None
    path = unquote(address.path)
    resolved = posixpath.normpath(posixpath.join(folder, path))
    if (
        address.scheme
        or address.netloc
        or not path
        # RFC 3986, 4.2: what precedes a colon in the first path segment is a scheme.
        or ":" in path.partition("/")[0]
        or path.startswith("/")
        or _CONTROLS.search(path)
        or not resolved.startswith(f"{folder}/" if folder else "")
        or resolved.startswith(("../", "/"))
        or resolved in (".", "..")
    ):
        raise InvalidInputError(f"{key} names {uri[:80]!r}, which is not in its folder.")
    return resolved


def _check_text(text: str, key: str) -> None:
    if found := _CONTROLS.search(text):
        raise InvalidInputError(f"{key} contains the control character U+{ord(found[0]):04X}.")
    if max(map(len, text.split("\n"))) > _MAX_LINE:
        raise InvalidInputError(f"{key} has a line of more than {_MAX_LINE} characters.")


def _best_variant(content: m3u8.M3U8, key: str) -> str:
    if not content.playlists:
        raise InvalidInputError(f"{key} is a master playlist without variants.")
    best = max(content.playlists, key=_variant_rank)
    renditions = [media for media in best.media if media.type == "AUDIO"]
    # A rendition without a URI is in the variant's own chunks (RFC 8216, 4.3.4.1).
    if renditions and all(media.uri for media in renditions):
        raise InvalidInputError(
            f"{key} has its sound in separate playlists.",
            "Use a playlist whose chunks have both picture and sound.",
        )
    return resolve_uri(key, best.uri or "")


# The beginnings of the names of video codecs in CODECS (RFC 6381).
_VIDEO_CODECS = ("avc", "hev", "hvc", "dvh", "dva", "vp0", "vp8", "vp9", "av0", "mp4v", "vvc")


def _variant_rank(variant: m3u8.Playlist) -> tuple[int, bool, int]:
    """The rank of a variant: higher with a picture, with the sound in it, and with more bits."""
    info = variant.stream_info
    codecs = [codec.strip().lower() for codec in (info.codecs or "").split(",") if codec.strip()]
    if info.resolution or any(codec.startswith(_VIDEO_CODECS) for codec in codecs):
        picture = 2
    else:
        # A variant with only audio codecs has no picture; without codecs it is unknown.
        picture = 0 if codecs else 1
    renditions = [media for media in variant.media if media.type == "AUDIO"]
    has_sound = not renditions or not all(media.uri for media in renditions)
    return picture, has_sound, info.bandwidth or 0


def _playlist(content: m3u8.M3U8, key: str) -> Playlist:
    chunks: list[Chunk] = []
    starts, total, offset = [], Fraction(0), 0
    in_queries = _ranges_in_queries(content.segments, key)
    undeclared = _undeclared_seconds(content)
    for place, segment in enumerate(content.segments):
        what = f"{key}: chunk {place}"
        declared = segment.byterange or in_queries.get(place)
        media, offset = _part(segment.uri, declared, offset, what)
        header = segment.init_section
        chunk = Chunk(
            media,
            _seconds(segment.duration, what) or undeclared,
            _header(header, what) if header else None,
            _key(segment.key, what),
        )
        for uri in chunk.uris:
            resolve_uri(key, uri)
        chunks.append(chunk)
        starts.append(total)
        total += chunk.seconds
    number = content.media_sequence or 0
    if not 0 <= number < 1 << 63:
        raise InvalidInputError(f"{key} has an invalid media sequence number.")
    return Playlist(key, tuple(chunks), tuple(starts), number)


def _undeclared_seconds(content: m3u8.M3U8) -> Fraction:
    """The estimated length of each chunk in a playlist that declares 0 for all of them."""
    if any(segment.duration for segment in content.segments):
        return Fraction(0)
    return Fraction(content.target_duration or _USUAL_SECONDS)


def _seconds(given: float | None, what: str) -> Fraction:
    if given is None or not isfinite(given) or not 0 <= given <= _MAX_CHUNK_SECONDS:
        raise InvalidInputError(f"{what} lasts {given} seconds, which is not a valid duration.")
    return Fraction(str(given))


def _part(uri: str | None, given: str | None, offset: int, what: str) -> tuple[Resource, int]:
    """A resource and the end of its byte range; one without an offset follows the one before."""
    if not given:
        return Resource(uri or ""), offset
    match = _RANGE.fullmatch(given)
    if not match:
        raise InvalidInputError(f"{what} has an invalid byte range.")
    offset = int(match[2]) if match[2] else offset
    return Resource(uri or "", f"{int(match[1])}@{offset}"), offset + int(match[1])


def _header(given: Any, what: str) -> Resource:
    start, end = _offsets_in_query(given.uri or "")
    in_query = None if start is None or end is None else f"{end - start + 1}@{start}"
    return _part(given.uri, given.byterange or in_query, 0, what)[0]


# Any video has more bytes per second. With fewer, the numbers in a query are seconds, not bytes.
_MIN_BYTES_PER_SECOND = 1000
# The length in bytes of a last chunk of which only the start is given: up to the object's end.
_TO_THE_END = 1 << 40


def _ranges_in_queries(segments: Sequence[Any], key: str) -> dict[int, str]:
    """The byte ranges in the queries of chunks' URIs, such as `all.ts?start=0&end=99`.

    Some servers read chunks from one file this way; a bucket has only the file. Returns the ranges
    as `length@offset`, by the index of the chunk. Raises InvalidInputError if several chunks are in
    one object and their URIs have no valid ranges.
    """
    groups: dict[str, list[int]] = {}
    declared = set()
    for place, segment in enumerate(segments):
        name = resolve_uri(key, segment.uri or "")
        if segment.byterange:
            declared.add(name)
        else:
            groups.setdefault(name, []).append(place)
    found: dict[int, str] = {}
    for name, places in groups.items():
        if name in declared:
            raise _unclear_offsets(key)
        if len(places) == 1:
            continue
        offsets = [_offsets_in_query(segments[place].uri) for place in places]
        if "?" not in segments[places[0]].uri:
            # The first chunk begins where its object does.
            offsets[0] = 0, None
        starts = [start for start, _ in offsets if start is not None]
        seconds = sum(segments[place].duration or 0 for place in places[:-1])
        if len(starts) < len(places) or sorted(set(starts)) != starts:
            raise _unclear_offsets(key)
        if starts[-1] - starts[0] < _MIN_BYTES_PER_SECOND * seconds:
            raise _unclear_offsets(key)
        ends = [end for _, end in offsets]
        # The end is that of the last byte, unless the next chunk begins with that very byte.
        is_last = not any(e == s for e, s in zip(ends[:-1], starts[1:], strict=True))
        for number, place in enumerate(places):
            end = ends[number]
            if end is not None:
                length = end - starts[number] + is_last
            elif number + 1 < len(places):
                length = starts[number + 1] - starts[number]
            else:
                length = _TO_THE_END
            if length <= 0:
                raise _unclear_offsets(key)
            found[place] = f"{length}@{starts[number]}"
    return found


def _offsets_in_query(uri: str) -> tuple[int | None, int | None]:
    """The first and the last byte in a URI's query.

    They are `start` and `end`, `offset` and `length`, `range=first-last` or `range=length@offset`.
    """
    fields = {name.lower(): value for name, value in parse_qsl(uri.partition("?")[2])}
    both = next((fields[name] for name in ("range", "byterange", "bytes") if name in fields), "")
    if match := _RANGE.fullmatch(both):
        length, first, last = match[1], match[2] or "", ""
    else:
        first, _, last = both.removeprefix("bytes=").partition("-")
        length = next((fields[name] for name in ("length", "size") if name in fields), "")
    start = _offset(fields.get("start", fields.get("offset", first)))
    end, count = _offset(fields.get("end", last)), _offset(length)
    if end is None and start is not None and count:
        end = start + count - 1
    return start, end


def _offset(text: str) -> int | None:
    return int(text) if _OFFSET.fullmatch(text) else None


def _unclear_offsets(key: str) -> InvalidInputError:
    return InvalidInputError(
        f"{key} has several chunks in one object without their byte ranges.",
        "Add EXT-X-BYTERANGE to each chunk.",
    )


def _key(given: m3u8.Key | None, what: str) -> EncryptionKey | None:
    if given is None or given.method in (None, "NONE"):
        return None
    vector = given.iv or ""
    if given.method not in ("AES-128", "SAMPLE-AES") or (vector and not _VECTOR.fullmatch(vector)):
        raise InvalidInputError(
            f"{what} is encrypted in a way that cannot be read.", "Use AES-128 or SAMPLE-AES."
        )
    return EncryptionKey(given.method, given.uri or "", vector)
