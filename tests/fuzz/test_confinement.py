"""Confinement: no address in a playlist or a chunk is opened, as a local server verifies."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from clipflow.domain.errors import ClipflowError, InvalidInputError, MediaRefusedError
from clipflow.media import ffmpeg
from clipflow.media.hls import Playlist, parse_playlist
from clipflow.media.probe import probe_source
from clipflow.media.source import FileSource, PlaylistSource
from tests.made_media import a_machine, make_source

KEY = "e/hls/index.m3u8"


class ForbiddenServer:
    """A server on loopback that must not be contacted; `received` is what connections sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        forbidden = self

        class Recorder(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(1)
                forbidden.received.append(self.request.recv(100))

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Recorder)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def was_not_contacted(self) -> bool:
        """Whether no connection was made before this one, which is handled after all others."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port))) as ours:
            ours.sendall(b"ours")
            ours.recv(1)
        return self.received == [b"ours"]


@pytest.fixture
def forbidden() -> Iterator[ForbiddenServer]:
    forbidden = ForbiddenServer()
    forbidden.server.daemon_threads = True
    threading.Thread(target=forbidden.server.serve_forever, args=(0.05,), daemon=True).start()
    yield forbidden
    forbidden.server.shutdown()
    forbidden.server.server_close()


def media(*lines: str) -> str:
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:8", *lines, "#EXT-X-ENDLIST", ""])


ELSEWHERE = (
    "http://{address}/latest/meta-data/",
    "HTTP://{address}/",
    "//{address}/x.ts",
    "tcp://{address}",
    "udp://{address}",
    "rtmp://{address}/a",
    "gopher://{address}/_x",
    "ftp://{address}/x",
    "crypto+http://{address}/",
    "crypto:http://{address}/",
    "async:http://{address}/",
    "cache:http://{address}/",
    "subfile,,start,0,end,9,,:http://{address}/",
    "concat:http://{address}/|b.ts",
    "concatf:http://{address}/",
    "tee:http://{address}/",
    "hls+http://{address}/",
    "data:video/mp2t;base64,AAAA",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "/etc/passwd",
    "../../../../etc/passwd",
    "%2Fetc/passwd",
    "%2e%2e/%2e%2e/secret.ts",
    "pipe:0",
    "fd:0",
    "unix:/tmp/x",
)


@pytest.mark.parametrize("uri", ELSEWHERE)
@pytest.mark.parametrize(
    "lines",
    [
        ("#EXTINF:8,", "{uri}"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="{uri}"', "#EXTINF:8,", "0.ts"),
        ('#EXT-X-MAP:URI="{uri}"', "#EXTINF:8,", "0.ts"),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1", "{uri}"),
    ],
    ids=["chunk", "key", "map", "variant"],
)
def test_a_playlist_that_refers_outside_its_folder_is_refused(
    uri: str, lines: tuple[str, ...]
) -> None:
    named = uri.format(address="169.254.169.254")
    with pytest.raises(InvalidInputError, match="not in its folder"):
        parse_playlist(media(*(line.format(uri=named) for line in lines)), KEY)


@pytest.mark.parametrize("between", ["\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
@pytest.mark.parametrize("tag", ["#EXTINF:8,title", "#EXT-X-KEY:METHOD=NONE,X=", "#note"])
def test_no_parser_sees_a_line_that_the_check_did_not_see(
    tag: str, between: str, store: tuple[Path, str], forbidden: ForbiddenServer
) -> None:
    hidden = f"{tag}{between}http://{forbidden.address}/x.ts"
    lines = ("#EXTINF:8,", "0.ts", hidden, *(() if "EXTINF" in tag else ("#EXTINF:8,",)), "1.ts")
    with pytest.raises(ClipflowError) as caught:
        _probe(media(*lines), store)
    # The store has neither chunk, so even a playlist that is accepted ends in an error.
    assert isinstance(caught.value, InvalidInputError) or between == "\r"
    assert forbidden.was_not_contacted()


def _probe(text: str, store: tuple[Path, str]) -> None:
    playlist = parse_playlist(text, KEY)
    assert isinstance(playlist, Playlist)
    probe_source(PlaylistSource(KEY, "", playlist, lambda uri: f"{store[1]}/{uri}"))


@pytest.mark.parametrize(
    "chunk",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\nhttp://{address}/x.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'http://{address}/x.ts'\n",
        "v=0\no=- 0 0 IN IP4 {host}\nc=IN IP4 {host}\nm=video {port} RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation>'
        "<BaseURL>http://{address}/</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "[playlist]\nFile1=http://{address}/\n",
    ],
    ids=["hls", "concat", "sdp", "dash", "pls"],
)
def test_a_chunk_or_a_source_that_is_a_playlist_itself_is_not_followed(
    chunk: str, store: tuple[Path, str], forbidden: ForbiddenServer
) -> None:
    host, port = forbidden.address.split(":")
    content = chunk.format(address=forbidden.address, host=host, port=port).encode()
    (store[0] / "0.ts").write_bytes(content)
    with pytest.raises(ClipflowError):
        _probe(media("#EXTINF:8,", "0.ts"), store)
    with pytest.raises(ClipflowError):
        probe_source(
            FileSource(
                f"{crc32(content)}.mp4", "", len(content), lambda start, end: content[start:end]
            )
        )
    assert forbidden.was_not_contacted()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_no_input_of_ffmpeg_may_refer_to_another(
    kind: str, tmp_path: Path, forbidden: ForbiddenServer
) -> None:
    film = make_source(tmp_path / "film.ts", size=(64, 48), seconds=1, sound=None)
    for named in (film, f"http://{forbidden.address}/x.ts"):
        text = {
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:1,\n{named}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile '{named}'\n",
        }[kind]
        listing = tmp_path / f"listing.{'m3u8' if kind == 'hls' else 'ffconcat'}"
        listing.write_text(text)
        for form in ((), ("-f", kind), ("-f", "mp4"), ("-f", "nut")):
            arguments = [*form, "-i", str(listing), "-f", "null", "-"]
            with pytest.raises(MediaRefusedError):
                ffmpeg.run(arguments, "reading a listing", a_machine(), 20)
    assert forbidden.was_not_contacted()


def test_every_input_is_confined() -> None:
    confined = ffmpeg.confine_inputs(["-f", "nut", "-i", "a", "-f", "lavfi", "-i", "b", "c"])
    assert [confined[n - 6 : n : 2] for n, word in enumerate(confined) if word == "-i"] == [
        ["-protocol_whitelist", "-format_whitelist", "-max_pixels"]
    ] * 2


@pytest.mark.slow
def test_an_output_that_exceeds_its_size_limit_is_an_error(tmp_path: Path) -> None:
    made = tmp_path / "made.nut"
    endless = ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25"]
    limit = 80 << 20
    with pytest.raises(MediaRefusedError, match=r"making noise: ffmpeg wrote more than 80 MiB"):
        ffmpeg.run(
            [*endless, "-c:v", "rawvideo", str(made)],
            "making noise",
            a_machine(),
            60,
            max_bytes=limit,
        )
    assert made.stat().st_size <= limit
