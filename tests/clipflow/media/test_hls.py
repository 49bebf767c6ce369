"""Parsing HLS playlists: selection of chunks, master playlists, and refused input."""

from fractions import Fraction

import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.media.hls import Playlist, parse_playlist, resolve_uri

HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:8\n"


def media(chunks: int = 10, extra: str = "", end: str = "#EXT-X-ENDLIST\n") -> str:
    body = "".join(f"#EXTINF:8.0,\n{n}.ts\n" for n in range(chunks))
    return f"{HEAD}{extra}{body}{end}"


def read(text: str) -> Playlist:
    playlist = parse_playlist(text, "e/hls/index.m3u8")
    assert isinstance(playlist, Playlist)
    return playlist


def chunk_uris(playlist: Playlist) -> list[str]:
    return [line for line in playlist.text(str).splitlines() if line.endswith(".ts")]


@pytest.mark.parametrize(
    ("start", "end", "chunks"),
    [(20, 30, "1234"), (0, 1, "01"), (16, 24, "123"), (79, 80, "89"), (0, 80, "0123456789")],
)
def test_only_the_chunks_around_a_span_are_listed(start: int, end: int, chunks: str) -> None:
    part = read(media()).around(Fraction(start), Fraction(end))
    assert chunk_uris(part) == [f"{n}.ts" for n in chunks]


def test_the_chunks_of_a_part_keep_their_sequence_numbers_and_keys() -> None:
    text = media(extra='#EXT-X-KEY:METHOD=AES-128,URI="k.bin"\n')
    part = read(text).around(Fraction(40), Fraction(41)).text(lambda uri: f"https://s3/{uri}?q")
    assert "#EXT-X-MEDIA-SEQUENCE:4" in part
    assert part.count('URI="https://s3/k.bin?q"') == 1
    assert "https://s3/5.ts?q" in part


def test_byte_ranges_without_an_offset_get_one() -> None:
    ranges = ("100@0", "50")
    chunks = "".join(f"#EXTINF:8,\n#EXT-X-BYTERANGE:{part}\na.ts\n" for part in ranges)
    text = f"{HEAD}{chunks}#EXT-X-ENDLIST\n"
    assert "50@100" in read(text).text(str)


AUDIO_ONLY = '#EXT-X-STREAM-INF:BANDWIDTH=96000,CODECS="mp4a.40.2"\naudio.m3u8\n'


@pytest.mark.parametrize(
    "picture",
    [
        'BANDWIDTH=90000,RESOLUTION=320x180,CODECS="avc1.42c01e,mp4a.40.2"',
        'BANDWIDTH=90000,CODECS="hvc1.1.6.L93.B0, mp4a.40.2"',
        "BANDWIDTH=90000,RESOLUTION=320x180",
        "BANDWIDTH=90000",
    ],
)
def test_an_audio_only_variant_is_not_chosen(picture: str) -> None:
    video = f"#EXT-X-STREAM-INF:{picture}\nlow.m3u8\n"
    for text in (AUDIO_ONLY + video, video + AUDIO_ONLY):
        assert parse_playlist(f"#EXTM3U\n{text}", "e/hls/index.m3u8") == "e/hls/low.m3u8"


def test_a_variant_that_contains_its_sound_is_preferred() -> None:
    media = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en"'
    text = f'#EXTM3U\n{media},URI="en.m3u8"\n'
    apart = '#EXT-X-STREAM-INF:BANDWIDTH=900,RESOLUTION=2x2,AUDIO="a"\nhigh.m3u8\n'
    whole = "#EXT-X-STREAM-INF:BANDWIDTH=100,RESOLUTION=2x2\nlow.m3u8\n"
    assert parse_playlist(text + apart + whole, "e/i.m3u8") == "e/low.m3u8"
    with pytest.raises(InvalidInputError, match="sound in separate playlists"):
        parse_playlist(text + apart, "e/i.m3u8")
    # A rendition without a URI is contained in the chunks.
    assert parse_playlist(f"#EXTM3U\n{media}\n{apart}", "e/i.m3u8") == "e/high.m3u8"


@pytest.mark.parametrize(
    ("queries", "ranges"),
    [
        (["start=0&end=9399", "start=9400&end=18799"], ["9400@0", "9400@9400"]),
        (["start=0&end=9400", "start=9400&end=18800"], ["9400@0", "9400@9400"]),
        (["start=0", "start=9400"], ["9400@0", f"{1 << 40}@9400"]),
        (["range=0-9399", "range=9400-18799"], ["9400@0", "9400@9400"]),
        (["byterange=9400@0", "byterange=9400@9400"], ["9400@0", "9400@9400"]),
        (["offset=0&length=9400", "offset=9400&length=9400"], ["9400@0", "9400@9400"]),
    ],
)
def test_offsets_in_the_queries_of_chunks_are_byte_ranges(
    queries: list[str], ranges: list[str]
) -> None:
    chunks = "".join(f"#EXTINF:2,\nall.ts?{query}\n" for query in queries)
    text = read(f"{HEAD}{chunks}#EXT-X-ENDLIST\n").text(str)
    assert [f"#EXT-X-BYTERANGE:{part}" in text for part in ranges] == [True, True]


def test_other_queries_of_one_object_are_refused_and_of_several_ignored() -> None:
    for queries in (("start=0", "start=2"), ("v=1", "v=2"), ("start=9400", "start=0")):
        chunks = "".join(f"#EXTINF:2,\nall.ts?{query}\n" for query in queries)
        with pytest.raises(InvalidInputError, match="without their byte ranges"):
            read(f"{HEAD}{chunks}#EXT-X-ENDLIST\n")
    chunks = "".join(f"#EXTINF:2,\n{n}.ts?v={n}&start={n}\n" for n in range(3))
    assert "BYTERANGE" not in read(f"{HEAD}{chunks}#EXT-X-ENDLIST\n").text(str)
    header = '#EXT-X-MAP:URI="all.mp4?start=0&end=699"\n'
    chunks = "".join(f"#EXTINF:2,\nall.mp4?start={n}&end={n + 9999}\n" for n in (700, 10_700))
    text = read(f"{HEAD}{header}{chunks}#EXT-X-ENDLIST\n").text(str)
    assert 'BYTERANGE="700@0"' in text
    assert "#EXT-X-BYTERANGE:10000@10700" in text


@pytest.mark.parametrize(
    "chunks",
    [
        ["all.ts", "all.ts"],
        ["all.ts?v=1", "./all.ts?v=1"],
        ["all%2Ets", "all.ts?v=1"],
        ["all.ts\n#EXT-X-BYTERANGE:9400@0", "all.ts"],
    ],
)
def test_an_object_that_is_named_twice_without_byte_ranges_is_refused(chunks: list[str]) -> None:
    lines = []
    for chunk in chunks:
        uri, _, tag = chunk.partition("\n")
        lines += ["#EXTINF:2,", *([tag] if tag else []), uri]
    with pytest.raises(InvalidInputError, match="without their byte ranges"):
        read("\n".join([HEAD, *lines, "#EXT-X-ENDLIST", ""]))


def test_a_first_chunk_without_an_offset_begins_with_its_object() -> None:
    chunks = "".join(f"#EXTINF:2,\n{uri}\n" for uri in ("all.ts", "./all.ts?start=9400"))
    text = read(f"{HEAD}{chunks}#EXT-X-ENDLIST\n").text(str)
    assert "#EXT-X-BYTERANGE:9400@0" in text


def test_a_master_playlist_is_resolved_to_its_best_variant() -> None:
    text = (
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlow/i.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=900\nhigh/i.m3u8\n"
    )
    assert parse_playlist(text, "e/hls/index.m3u8") == "e/hls/high/i.m3u8"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an HLS playlist"),
        ("hello", "not an HLS playlist"),
        (media(end=""), "still being recorded"),
        (media().replace("5.ts", "5.ts\n#EXT-X-DISCONTINUITY"), "discontinuity"),
    ],
)  # fmt: skip
def test_a_playlist_that_cannot_be_cut_exactly_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        parse_playlist(text, "e/hls/index.m3u8")


@pytest.mark.parametrize(
    "uri",
    ["../secret.ts", "/etc/passwd", "file:///etc/passwd", "https://example.com/a.ts", "//h/a.ts",
     "a/../../b.ts", "%2e%2e/x.ts", "concat:a|b", "", "?q"],
)  # fmt: skip
def test_a_uri_outside_the_playlists_folder_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="not in its folder"):
        resolve_uri("e/hls/index.m3u8", uri)


def test_a_uri_in_the_playlists_folder_is_resolved() -> None:
    assert resolve_uri("e/hls/index.m3u8", "a%20b/0.ts?v=1") == "e/hls/a b/0.ts"
    assert resolve_uri("index.m3u8", "0.ts") == "0.ts"
