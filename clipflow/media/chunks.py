"""The chunks of an HLS media playlist, and the lines that name them (RFC 8216, 4.3.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Part:
    """A URI, and the bytes of it that are meant, as `length@offset`; all of them without."""

    uri: str
    bytes: str = ""


@dataclass(frozen=True)
class Key:
    """HLS's method, where its key is, and its initialisation vector in hexadecimal, if given."""

    method: str
    uri: str
    vector: str = ""


@dataclass(frozen=True)
class Chunk:
    """One chunk, its length in seconds as declared, and what it needs to be read."""

    media: Part
    seconds: Fraction
    header: Part | None = None
    key: Key | None = None

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
