"""HLS playlists: which chunks hold a span, and where each of them is.

Only what lies beside the playlist in its own bucket is read: a URI with a scheme, an absolute path
or one that leaves the playlist's folder is refused.
"""

import posixpath
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import unquote, urlsplit

import m3u8

from clipflow.domain.errors import InvalidInput

# A playlist of a day in two-second chunks is below this.
LARGEST_PLAYLIST_BYTES = 8 << 20


@dataclass(frozen=True)
class Playlist:
    """A media playlist at `key`, its chunks in order, with the second at which each begins."""

    key: str
    content: m3u8.M3U8
    starts: tuple[Fraction, ...]

    @property
    def duration(self) -> Fraction:
        """Seconds, as the playlist declares them."""
        return self.starts[-1] + _seconds(self.content.segments[-1])

    def around(self, start: Fraction, end: Fraction) -> "Playlist":
        """The chunks that hold `start ≤ t < end`, and one more at either side."""
        before = sum(1 for begins in self.starts if begins <= start) - 1
        after = sum(1 for begins in self.starts if begins < end)
        span = slice(max(0, before - 1), after + 1)
        content = deepcopy(self.content)
        # The number of a chunk is its default decryption vector, so it must not change.
        content.media_sequence = (self.content.media_sequence or 0) + span.start
        content.segments[:] = content.segments[span]
        return Playlist(self.key, content, self.starts[span])

    def text(self, address: Callable[[str], str]) -> str:
        """The playlist with each URI replaced by its address."""
        content = deepcopy(self.content)
        chunks = list(content.segments)
        # Chunks share their initialisation section and key: each is replaced once.
        parts = [*chunks, *(c.init_section for c in chunks), *(c.key for c in chunks)]
        for part in {id(part): part for part in parts if part and part.uri}.values():
            part.uri = address(part.uri or "")
        content.is_endlist = True
        return str(content.dumps())


def parse(text: str, key: str) -> Playlist | str:
    """The media playlist in `text`, or, of a master playlist, the key of its best variant.

    Raises InvalidInput where it is neither, or holds what cannot be cut exactly.
    """
    try:
        content = m3u8.loads(text)
    except (ValueError, AttributeError, KeyError, IndexError) as error:
        raise InvalidInput(f"{key} is not an HLS playlist: {error}.") from None
    if content.is_variant:
        return _best_variant(content, key)
    if not text.lstrip("\ufeff").startswith("#EXTM3U") or not content.segments:
        raise InvalidInput(f"{key} is not an HLS playlist with chunks.")
    if not content.is_endlist:
        raise InvalidInput(f"{key} is still being recorded.", "Wait until it ends.")
    if any(chunk.discontinuity for chunk in content.segments[1:]):
        raise InvalidInput(
            f"{key} has a discontinuity, so times in it are not one time line.",
            "Remux it into one file first.",
        )
    starts, total = [], Fraction(0)
    for chunk in content.segments:
        starts.append(total)
        total += _seconds(chunk)
    return Playlist(key, _with_absolute_ranges(content), tuple(starts))


def beside(key: str, uri: str) -> str:
    """The key of what the playlist at `key` calls `uri`; InvalidInput if it lies elsewhere."""
    address = urlsplit(uri)
    folder = posixpath.dirname(key)
    resolved = posixpath.normpath(posixpath.join(folder, unquote(address.path)))
    if (
        address.scheme
        or address.netloc
        or not address.path
        or address.path.startswith("/")
        or not resolved.startswith(f"{folder}/" if folder else "")
        or resolved.startswith(("../", "/"))
    ):
        raise InvalidInput(f"{key} names {uri[:80]!r}, which is not beside it.")
    return resolved


def _best_variant(content: m3u8.M3U8, key: str) -> str:
    best = max(content.playlists, key=lambda variant: variant.stream_info.bandwidth or 0)
    if any(media.type == "AUDIO" and media.uri for media in best.media):
        raise InvalidInput(
            f"{key} keeps its sound in playlists of its own.",
            "Name a playlist whose chunks hold both picture and sound.",
        )
    return beside(key, best.uri or "")


def _seconds(chunk: m3u8.Segment) -> Fraction:
    return Fraction(str(chunk.duration or 0))


def _with_absolute_ranges(content: m3u8.M3U8) -> m3u8.M3U8:
    """Each byte range with its offset, which a playlist may leave out after the range before."""
    offset = 0
    for chunk in content.segments:
        if chunk.byterange:
            length, _, given = chunk.byterange.partition("@")
            offset = int(given) if given else offset
            chunk.byterange = f"{length}@{offset}"
            offset += int(length)
    return content
