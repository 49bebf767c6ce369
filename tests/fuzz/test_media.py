"""Fuzzing of probing and cutting with damaged media: each is cut or refused in time."""

import struct
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from clipflow.domain.errors import ClipflowError
from clipflow.jobs.segment import span_within
from clipflow.media.encode import count_frames
from clipflow.media.fetching import fetch_window
from clipflow.media.hls import Playlist, parse_playlist
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_source
from clipflow.media.smart_cut import smart_cut
from clipflow.media.source import FileSource, PlaylistSource, Source
from clipflow.media.window import Span
from tests.made_media import a_machine, make_source

pytestmark = pytest.mark.slow

# Damaged sources of each kind, and seconds that ffmpeg may take for any one step.
EACH, DEADLINE = 40, 10
MACHINE = replace(a_machine(), ffmpeg_timeout=DEADLINE)
KINDS = ("mp4", "mkv", "ts", "webm", "m3u8")
ENCODERS = {
    "webm": (("-c:v", "libvpx", "-deadline", "realtime", "-g", "10"), ("-c:a", "libopus")),
    "ts": (("-c:v", "libx264", "-preset", "ultrafast", "-g", "5"), ("-c:a", "aac")),
}
FRAGMENTED = ("-movflags", "+faststart")


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Undamaged media in each container: one second of 64x48 pixels at 10 frames a second."""
    folder = tmp_path_factory.mktemp("bases")
    made = {}
    for suffix in ("mp4", "mkv", "ts", "webm"):
        picture, sound = ENCODERS.get(suffix, (ENCODERS["ts"][0], ("-c:a", "aac")))
        path = make_source(
            folder / f"base.{suffix}",
            size=(64, 48),
            rate=10,
            seconds=1,
            picture=picture,
            sound=sound,
            output=FRAGMENTED if suffix == "mp4" else (),
        )
        made[suffix] = path.read_bytes()
    return made


def damaged(data: bytes, chance: Random) -> bytes:
    """`data` with random damage such as flipped bits or wrong sizes, mostly in its header."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        reach = min(len(result), chance.choice((64, 1500, len(data))))
        at = chance.randrange(max(1, reach - 8))
        match chance.choice(("flip", "flip", "size", "size", "zero", "cut", "double", "text")):
            case "flip":
                result[at] ^= 1 << chance.randrange(8)
            case "size":
                wrong_size = chance.choice(
                    (0, 1, 7, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32))
                )
                result[at : at + 4] = struct.pack(">I", wrong_size)
            case "zero":
                result[at : at + 32] = bytes(len(result[at : at + 32]))
            case "cut":
                del result[chance.randrange(len(result)) :]
                result += b"\0" * 16
            case "double":
                result[at:at] = result[at : at + chance.randrange(400)]
            case "text":
                result[at : at + 20] = b"file:///etc/passwd\0\0"
    return bytes(result)


def opened(kind: str, content: bytes, store: tuple[Path, str]) -> Source:
    if kind != "m3u8":
        # A unique name, because index blocks are cached by name.
        name = f"damaged-{crc32(content)}.{kind}"
        return FileSource(name, "", len(content), lambda start, end: content[start:end])
    (store[0] / "0.ts").write_bytes(content)
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n#EXT-X-ENDLIST\n"
    playlist = parse_playlist(text, "e/index.m3u8")
    assert isinstance(playlist, Playlist)
    return PlaylistSource("e/index.m3u8", "", playlist, lambda uri: f"{store[1]}/{uri}")


def cut(source: Source, folder: Path) -> int:
    """Cut a span as the clip job does, and return the number of frames."""
    probe = probe_source(source)
    span = span_within(Span(Fraction(1, 5), Fraction(7, 10)), probe)
    target = common_format([probe])
    window = fetch_window(source, probe, span, folder / "window.nut")
    smart_cut(window, probe, target, folder / "segment.mp4", MACHINE)
    return count_frames(folder / "segment.mp4")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_media_is_cut_or_refused(
    kind: str, undamaged: dict[str, bytes], tmp_path: Path, store: tuple[Path, str]
) -> None:
    base = undamaged["ts" if kind == "m3u8" else kind]
    assert cut(opened(kind, base, store), tmp_path) == 5
    outcomes: Counter[str] = Counter()
    for seed in range(EACH):
        began = time.monotonic()
        try:
            cut(opened(kind, damaged(base, Random(f"{kind} {seed}")), store), tmp_path)
            outcomes["cut"] += 1
        except ClipflowError as error:
            outcomes[type(error).__name__] += 1
        except BaseException as error:
            error.add_note(f"damaged(base, Random('{kind} {seed}'))")
            raise
        assert time.monotonic() - began < 6 * DEADLINE
    # Damage that never has an effect, or is always fatal, would test little.
    assert 0 < outcomes["cut"] < EACH
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name != "store"]
