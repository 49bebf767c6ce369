"""Sources whose containers declare other times than their packets have."""

import re
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import av
import pytest

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.probe import probe_sound
from clipflow.media.source import LocalSource
from clipflow.speech import audio
from clipflow.storage.objects import ObjectHead
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import (
    clicks,
    flashes,
    frame_numbers,
    frame_times,
    frames_in,
    furthest_apart,
    make_hls,
    make_source,
)


def put_hls(
    cutter: Cutter, folder: Path, source: Path, seconds: str = "2", options: Sequence[str] = ()
) -> ObjectHead:
    """Store the HLS chunks of `source` and a playlist that declares whole seconds for them."""
    playlist, chunks = make_hls(source, folder, "mpegts", seconds, options)
    text = re.sub(
        r"#EXTINF:([\d.]+)", lambda m: f"#EXTINF:{ceil(float(m[1]))}", playlist.read_text()
    )
    playlist.write_text(text)
    for chunk in chunks:
        cutter.put(chunk)
    return cutter.put(playlist)


# Keyframes every 1.92 s, as AWS's own templates write them.
SHORT_GROUPS = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "48", "-keyint_min", "48")


@pytest.mark.parametrize(
    ("start", "end"), [("50", "52"), ("100", "102"), ("0.3", "3"), ("130", "134")]
)
def test_hls_is_cut_by_the_times_in_its_chunks(
    start: str, end: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(
        tmp_path / "s.ts", seconds=140, picture=SHORT_GROUPS, sound=("-c:a", "aac"), clicks=True
    )
    head = put_hls(cutter, tmp_path, source, "1.92")
    probe = cutter.probe(head)
    # 73 chunks of 1.92 s, declared as 2 s each.
    assert probe.duration and abs(probe.duration - 140) < Fraction(1, 10)
    segment = cutter.cut(head, start, end)
    assert frame_numbers(segment) == frames_in(start, end, 25)
    assert furthest_apart(segment) < Fraction(1, 1000)


@pytest.mark.parametrize("count", [0, 1, 2], ids=["all", "first", "first two"])
def test_hls_that_declares_no_lengths_is_cut(count: int, cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.ts", seconds=8, sound=("-c:a", "aac"))
    playlist, chunks = make_hls(source, tmp_path, "mpegts", "2")
    text = re.sub(r"#EXTINF:[\d.]+", "#EXTINF:0", playlist.read_text(), count=count)
    playlist.write_text(text)
    for chunk in chunks:
        cutter.put(chunk)
    segment = cutter.cut(cutter.put(playlist), "4.5", "6.3")
    assert frame_numbers(segment) == frames_in("4.5", "6.3", 25)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_two_frames_with_the_same_time_are_both_kept(
    codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    # Some muxers write them at the border of two chunks.
    picture = ("-c:v", codec, "-g", "10", "-bf", "0", "-q:v", "2")
    whole = make_source(tmp_path / "whole.mp4", seconds=3, picture=picture, sound=None)
    path = tmp_path / "s.mp4"
    with av.open(str(whole)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in given.demux(video=0) if p.pts is not None):
            if number == 35:
                packet.pts = (packet.pts or 0) + (packet.duration or 0)
            packet.stream = stream
            output.mux(packet)
    head = cutter.put(path)
    assert frame_numbers(cutter.cut(head, "1", "2")) == list(range(25, 50))
    clip = cutter.stitch()[0]
    assert frame_numbers(clip) == list(range(25, 50))
    times = frame_times(clip)
    assert [(a, b) for a, b in pairwise(times) if not a < b] == []


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_chunk_of_fmp4_that_begins_at_the_time_of_the_last_frame_keeps_both(
    codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    options = ("-x265-params", "log-level=error:bframes=2") if codec == "libx265" else ()
    picture = ("-c:v", codec, "-preset", "ultrafast", "-g", "50", "-bf", "2", *options)
    source = make_source(tmp_path / "s.mp4", seconds=6, picture=picture, sound=("-c:a", "aac"))
    playlist, chunks = make_hls(source, tmp_path, "fmp4", "2")
    # The second chunk begins a frame early, by the time in its first `tfdt` (64 bits).
    chunk = bytearray(chunks[1].read_bytes())
    place = chunk.index(b"tfdt") + 8
    time = int.from_bytes(chunk[place : place + 8], "big")
    chunk[place : place + 8] = (time * 49 // 50).to_bytes(8, "big")
    chunks[1].write_bytes(chunk)
    for path in chunks:
        cutter.put(path)
    head = cutter.put(playlist)
    assert frame_numbers(cutter.cut(head, "1", "3")) == list(range(25, 76))
    assert frame_numbers(cutter.cut(head, "3", "5")) == list(range(76, 125))
    clip = cutter.stitch()[0]
    assert frame_numbers(clip) == list(range(25, 125))
    assert [(a, b) for a, b in pairwise(frame_times(clip)) if not a < b] == []


@pytest.mark.parametrize("has_ends", [True, False])
def test_hls_whose_chunks_are_offsets_in_one_object_is_cut(
    has_ends: bool, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "s.ts", seconds=12, sound=("-c:a", "aac"), clicks=True)
    playlist, chunks = make_hls(source, tmp_path, "mpegts", "2")
    text, start, whole = playlist.read_text(), 0, tmp_path / "all.ts"
    with whole.open("wb") as file:
        for chunk in chunks:
            file.write(chunk.read_bytes())
            end = file.tell()
            query = f"start={start}&end={end - 1}" if has_ends else f"start={start}"
            text, start = text.replace(chunk.name, f"all.ts?{query}"), end
    playlist.write_text(text)
    cutter.put(whole)
    segment = cutter.cut(cutter.put(playlist), "3.2", "11.5")
    assert frame_numbers(segment) == frames_in("3.2", "11.5", 25)
    assert len(clicks(segment)) == len(flashes(segment)) == 8


def test_hls_is_cut_past_the_wrap_of_its_clock(cutter: Cutter, tmp_path: Path) -> None:
    # The 33-bit clock of a transport stream wraps around after 95443.7 s.
    source = make_source(tmp_path / "s.ts", seconds=220, sound=("-c:a", "aac"), clicks=True)
    head = put_hls(cutter, tmp_path, source, options=("-output_ts_offset", "95330"))
    for start, end in (("10", "12"), ("112", "115"), ("200", "203")):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == frames_in(start, end, 25)
        assert furthest_apart(segment) < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("selected", "suffix"),
    [("lt(t,10)", "ts"), ("lt(t,10)+gt(t,25)", "ts"), ("lt(t,10)", "mkv"), ("lt(t,10)", "flv")],
    ids=["stops", "pauses", "mkv", "flv"],
)
def test_video_that_ends_before_its_audio_keeps_its_last_frames(
    selected: str, suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(
        tmp_path / f"s.{suffix}",
        seconds=30,
        sound=("-c:a", "aac"),
        filters=("-vf", f"select='{selected}'", "-fps_mode", "passthrough"),
    )
    assert frame_numbers(cutter.cut(cutter.put(source), "8", "10")) == list(range(200, 250))


def test_pictures_from_before_a_pause_may_follow_the_keyframe_that_ends_it(
    cutter: Cutter, tmp_path: Path
) -> None:
    # After a seek in Matroska, the decoding times of these pictures had to be before those times.
    source = make_source(
        tmp_path / "s.mkv",
        rate=30,
        seconds=12,
        picture=("-c:v", "libx265", "-preset", "ultrafast", "-g", "60", "-x265-params",
                 "log-level=error:min-keyint=60:bframes=2"),
        sound=("-c:a", "aac"),
        filters=("-vf", "select='lt(t,4)+gt(t,9)'", "-fps_mode", "passthrough"),
    )  # fmt: skip
    head = cutter.put(source)
    for start, end in (("2", "4"), ("10", "11")):
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, 30)
    assert frame_numbers(cutter.cut(head, "3.5", "10")) == [*range(105, 120), *range(271, 300)]


def test_frames_without_times_are_refused_and_not_left_out(cutter: Cutter, tmp_path: Path) -> None:
    # ffmpeg stores several small pictures of H.264 in one packet of a program stream.
    source = make_source(tmp_path / "s.mpg", seconds=6, sound=("-c:a", "mp2"))
    with pytest.raises(MediaRefusedError, match=r"frames without presentation times\. Re-encode"):
        cutter.cut(cutter.put(source), "2", "4")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_small_frames_of_h264_without_b_frames_have_their_times_in_a_program_stream(
    codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    options = ("-x265-params", "log-level=error:bframes=0") if codec == "libx265" else ()
    picture = ("-c:v", codec, "-preset", "ultrafast", "-g", "50", "-bf", "0", *options)
    source = make_source(tmp_path / "s.mpg", seconds=8, picture=picture, sound=("-c:a", "mp2"))
    head = cutter.put(source)
    for start, end in (("0", "1"), ("2", "4"), ("5.1", "5.7"), ("7", "8")):
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, 25)


@pytest.mark.parametrize("suffix", ["ts", "mpg", "ogv", "nut"])
@pytest.mark.parametrize("noise", ["40", "0"], ids=["large", "small"])
@pytest.mark.parametrize("seconds", [(10, 10), (20, 3), (3, 3)])
def test_concatenated_recordings_are_refused_with_the_reason(
    suffix: str, noise: str, seconds: tuple[int, int], cutter: Cutter, tmp_path: Path
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "ts": {"sound": ("-c:a", "aac")},
        "mpg": {"picture": ("-c:v", "mpeg2video", "-b:v", "1M"), "sound": ("-c:a", "mp2")},
        "ogv": {"picture": ("-c:v", "libtheora"), "sound": ("-c:a", "libvorbis")},
        "nut": {"sound": ("-c:a", "pcm_s16le")},
    }
    joined = tmp_path / f"joined.{suffix}"
    for number, length in enumerate(seconds):
        path = tmp_path / f"{number}.{suffix}"
        filters = ("-vf", f"noise=alls={noise}:allf=t")
        make_source(path, seconds=length, filters=filters, clicks=True, **kinds[suffix])
        # A single recording is accepted.
        assert cutter.probe(cutter.put(path)).duration
        with joined.open("ab") as file:
            file.write(path.read_bytes())
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        cutter.probe(cutter.put(joined))


def test_a_cut_across_the_end_of_a_short_first_recording_is_refused(
    cutter: Cutter, tmp_path: Path
) -> None:
    # The first recording is so short that no check of the file's timestamps falls into it.
    joined = tmp_path / "joined.ts"
    for number, length in enumerate((3, 60)):
        path = make_source(tmp_path / f"{number}.ts", seconds=length, sound=("-c:a", "aac"))
        with joined.open("ab") as file:
            file.write(path.read_bytes())
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        cutter.cut(cutter.put(joined), "1", "6")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_recordings_that_are_joined_with_one_clock_are_cut_with_the_frames_of_both(
    codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    options = ("-x265-params", "log-level=error:bframes=2") if codec == "libx265" else ()
    picture = ("-c:v", codec, "-preset", "ultrafast", "-g", "25", "-bf", "2", *options)
    joined = tmp_path / "joined.ts"
    for number in range(2):
        path = make_source(
            tmp_path / f"{number}.ts",
            seconds=4,
            picture=picture,
            sound=("-c:a", "aac"),
            # The second begins two frames before the first ends, since frames are reordered.
            output=("-output_ts_offset", str(number * 4 - number * 0.08)),
        )
        with joined.open("ab") as file:
            file.write(path.read_bytes())
    segment = cutter.cut(cutter.put(joined), "3", "5")
    numbers = frame_numbers(segment)
    assert numbers == [*range(75, 100), *range(len(numbers) - 25)]
    assert 27 <= len(numbers) - 25 <= 29
    assert [(a, b) for a, b in pairwise(frame_times(segment)) if not a < b] == []


@pytest.mark.parametrize("suffix", ["ogv", "wmv", "flv", "mov", "avi"])
def test_a_cut_across_the_end_of_the_only_recording_that_is_read_is_refused(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    # Of these files, libavformat reads only the first recording, and the end was silent.
    kinds: dict[str, dict[str, Any]] = {
        "ogv": {"picture": ("-c:v", "libtheora"), "sound": ("-c:a", "libvorbis")},
        "wmv": {"picture": ("-c:v", "wmv2"), "sound": ("-c:a", "wmav2")},
        "avi": {"picture": ("-c:v", "mpeg4"), "sound": ("-c:a", "pcm_s16le")},
    }
    codecs = kinds.get(suffix, {"sound": ("-c:a", "aac")})
    parts = [make_source(tmp_path / f"{n}.{suffix}", seconds=2, **codecs) for n in range(2)]
    part, joined = parts[0], tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(path.read_bytes() for path in parts))
    assert len(frame_numbers(cutter.cut(cutter.put(part), "1", "2.7"))) == 25
    head = cutter.put(joined)
    spans = [("1", "2.7"), ("2.2", "3.4")]
    with suppress(MediaRefusedError):
        # An end up to a second past the declared one is set back to that.
        if duration := cutter.probe(head).duration:
            spans.append(("1", str(duration)))
    for start, end in spans:
        with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
            cutter.cut(head, start, end)


@pytest.mark.parametrize("seconds", [0.2, 1, 3])
def test_a_small_ogg_file_is_one_recording(seconds: float, cutter: Cutter, tmp_path: Path) -> None:
    # The checked parts of such a file overlap, so that its pages may be seen twice.
    codecs = ("-c:v", "libtheora"), ("-c:a", "libvorbis")
    path = make_source(
        tmp_path / "s.ogv", seconds=seconds, picture=codecs[0], sound=codecs[1], clicks=True
    )
    assert path.stat().st_size < 1 << 17
    segment = cutter.cut(cutter.put(path), "0", str(seconds))
    assert frame_numbers(segment) == list(range(int(25 * seconds)))


def test_a_recording_that_is_joined_with_itself_is_refused_also_as_ogg(
    cutter: Cutter, tmp_path: Path
) -> None:
    # libavformat takes both parts for one stream, because they have the same serial numbers.
    noise = ("-vf", "noise=alls=40:allf=t")
    codecs = ("-c:v", "libtheora", "-q:v", "8", "-g", "25"), ("-c:a", "libvorbis")
    part = make_source(
        tmp_path / "s.ogv", seconds=6, filters=noise, picture=codecs[0], sound=codecs[1]
    )
    assert cutter.probe(cutter.put(part)).duration
    joined = tmp_path / "joined.ogv"
    joined.write_bytes(2 * part.read_bytes())
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        cutter.probe(cutter.put(joined))


@pytest.mark.parametrize("rate", [25, 30])
def test_a_recording_that_is_joined_with_another_is_refused_also_as_mxf(
    rate: int, cutter: Cutter, tmp_path: Path
) -> None:
    # libavformat reads the index of the second part, and refuses one of another kind.
    picture = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "15", "-bf", "2")
    parts = [
        make_source(
            tmp_path / f"{n}.mxf", seconds=4, picture=picture, sound=("-c:a", "pcm_s16le"), rate=r
        )
        for n, r in enumerate((25, rate))
    ]
    assert frame_numbers(cutter.cut(cutter.put(parts[0]), "3", "4")) == list(range(75, 100))
    joined = tmp_path / "joined.mxf"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        cutter.probe(cutter.put(joined))
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        audio.extract(LocalSource(joined), probe_sound(LocalSource(joined)), tmp_path / "sound")


def test_a_program_stream_whose_clock_goes_back_a_little_is_refused_as_joined(
    cutter: Cutter, tmp_path: Path
) -> None:
    # This made libavformat's muxer abort, which was reported as a crash of the decoder.
    joined = tmp_path / "joined.mpg"
    picture = ("-c:v", "mpeg2video", "-b:v", "1M", "-g", "25")
    for number in range(2):
        # The second part begins half a second before the end of the first.
        offset = ("-output_ts_offset", str(number * 4.5))
        path = make_source(
            tmp_path / f"{number}.mpg",
            seconds=5,
            picture=picture,
            sound=("-c:a", "mp2"),
            output=offset,
        )
        with joined.open("ab") as file:
            file.write(path.read_bytes())
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        cutter.cut(cutter.put(joined), "4", "6")


def test_a_stream_past_the_wrap_of_its_clock_is_one_recording(
    cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(
        tmp_path / "s.ts",
        seconds=220,
        sound=("-c:a", "aac"),
        output=("-output_ts_offset", "95330"),
    )
    head = cutter.put(source)
    assert frame_numbers(cutter.cut(head, "200", "202")) == frames_in("200", "202", 25)
