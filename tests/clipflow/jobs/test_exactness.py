"""Exactness of cuts, verified by a segment's frames and samples, for many kinds of sources."""

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from clipflow.domain.errors import InvalidInputError, MediaInterruptedError, MediaRefusedError
from clipflow.media.output_format import common_format
from tests.clipflow.jobs.cutting import Cutter
from tests.clipflow.jobs.reading import run
from tests.made_media import (
    FFMPEG,
    clicks,
    copy_rotated,
    flashes,
    frame_numbers,
    frame_times,
    frames_in,
    furthest_apart,
    make_hls,
    make_source,
    samples,
)

NTSC = Fraction(30000, 1001)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-bf", "3")
OPEN_GOP = (*H264, "-x264-params", "open-gop=1:keyint=48:min-keyint=48:scenecut=0:b-adapt=0")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60")
VP8 = ("-c:v", "libvpx", "-cpu-used", "4", "-auto-alt-ref", "1", "-lag-in-frames", "16")
FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=60")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-g", "12", "-bf", "2")

SOURCES: dict[str, dict[str, Any]] = {
    "plain.mp4": {"sound": ("-c:a", "aac")},
    "faststart.mp4": {"sound": ("-c:a", "aac"), "output": ("-movflags", "+faststart")},
    "fragmented.mp4": {"sound": ("-c:a", "aac"), "output": FRAGMENTS},
    "ntsc.mp4": {"rate": NTSC, "sound": ("-c:a", "aac"), "sample_rate": 44100, "channels": 2},
    "film.mkv": {"rate": Fraction(24000, 1001)},
    "open-gop.mp4": {"picture": OPEN_GOP, "sound": None},
    "open-gop.ts": {"picture": OPEN_GOP, "sound": ("-c:a", "aac")},
    "hevc.mp4": {"picture": HEVC, "sound": ("-c:a", "aac")},
    "pcm.mov": {"sound": ("-c:a", "pcm_s16le"), "rate": 50},
    "mp3.mkv": {"sound": ("-c:a", "libmp3lame")},
    "vp9.webm": {"picture": VP9, "sound": ("-c:a", "libopus")},
    "vp8.webm": {"picture": VP8, "sound": ("-c:a", "libvorbis")},
    "broadcast.ts": {"sound": ("-c:a", "aac")},
    "program.mpg": {"picture": MPEG2, "sound": ("-c:a", "mp2")},
    "studio.mxf": {"picture": MPEG2, "sound": ("-c:a", "pcm_s16le")},
    "silent.mp4": {"sound": None},
}  # fmt: skip
SPANS = [("10", "12.5"), ("3.01", "5.23"), ("0", "1"), ("7.777", "7.9")]


@pytest.mark.parametrize("name", SOURCES)
def test_a_segment_holds_its_spans_frames_at_their_times(
    name: str, cutter: Cutter, tmp_path: Path
) -> None:
    made = SOURCES[name]
    rate = made.get("rate", 25)
    head = cutter.put(make_source(tmp_path / name, seconds=14, **made))
    for start, end in SPANS:
        segment = cutter.cut(head, start, end)
        wanted = frames_in(start, end, rate)
        assert frame_numbers(segment) == wanted
        # Matroska rounds times to milliseconds.
        for time, number in zip(frame_times(segment), wanted, strict=True):
            assert abs(time - (number / Fraction(rate) - Fraction(start))) < Fraction(1, 900)
    clip, _ = cutter.stitch()
    assert frame_numbers(clip) == [n for span in SPANS for n in frames_in(*span, rate)]


@pytest.mark.parametrize(
    ("name", "sample_rate"), [("s.mp4", 48000), ("s.mov", 44100), ("s.mkv", 48000)]
)
def test_the_sound_begins_and_ends_with_the_span_to_the_sample(
    name: str, sample_rate: int, cutter: Cutter, tmp_path: Path
) -> None:
    codec = ("-c:a", "pcm_s16le") if name.endswith("mov") else ("-c:a", "flac", "-strict", "-2")
    source = make_source(tmp_path / name, seconds=14, sound=codec, sample_rate=sample_rate)
    head = cutter.put(source)
    for start, end in SPANS:
        rate, sound = samples(cutter.cut(head, start, end))
        first = round(Fraction(start) * rate)
        assert rate == sample_rate
        assert 0 <= len(sound) - (Fraction(end) - Fraction(start)) * rate < 1
        assert list(sound[:100]) == [n % 65536 - 32768 for n in range(first, first + 100)]
        last = first + len(sound) - 1
        assert sound[-1] == last % 65536 - 32768


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("aac.mp4", {"sound": ("-c:a", "aac")}),
        ("aac.ts", {"sound": ("-c:a", "aac")}),
        ("vorbis.mkv", {"sound": ("-c:a", "libvorbis")}),
        ("fast.mp4", {"sound": ("-c:a", "aac"), "rate": 60, "sample_rate": 44100}),
    ],
)
def test_sound_and_picture_stay_together_over_many_joins(
    name: str, made: dict[str, Any], cutter: Cutter, tmp_path: Path
) -> None:
    head = cutter.put(make_source(tmp_path / name, seconds=14, clicks=True, **made))
    # No duration is a whole number of frames or samples, and each span has a click in its middle.
    spans = [(f"{n % 12 + 0.503:.3f}", f"{n % 12 + 1.6017:.4f}") for n in range(23)]
    clip = cutter.clip_of(head, spans)
    click_times, flash_times = clicks(clip), flashes(clip)
    assert len(click_times) == len(flash_times) == 23
    apart = [abs(c - f) for c, f in zip(click_times, flash_times, strict=True)]
    assert max(apart) < Fraction(1, 1000)
    lengths = [Fraction(end) - Fraction(start) for start, end in spans]
    expected = [sum(lengths[:n]) + Fraction("0.497") for n in range(23)]
    assert max(abs(f - e) for f, e in zip(flash_times, expected, strict=True)) < Fraction(1, 1000)
    with av.open(str(clip)) as container:
        sound = container.streams.audio[0]
        assert abs((sound.duration or 0) - sum(lengths, Fraction(0)) * sound.rate) <= 1


def test_sound_that_begins_late_stays_late(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "late.mkv", seconds=10, clicks=True, sound_offset=0.4)
    head = cutter.put(source)
    for start in ("0", "4.5"):
        segment = cutter.cut(head, start, str(float(start) + 3))
        late = [h - s for h, s in zip(clicks(segment), flashes(segment), strict=True)]
        assert all(abs(lag - Fraction("0.4")) < Fraction(1, 1000) for lag in late)
        assert len(late) == 3


def test_sound_that_a_container_stores_later_than_its_picture_is_not_lost(
    cutter: Cutter, tmp_path: Path
) -> None:
    # A transport stream stores a packet of up to 0.7 s of sound when it is full, so sound from
    # before the keyframe at 2 s comes after it.
    path = tmp_path / "s.ts"
    tone = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25", "-f", "lavfi", "-i", "sine=f=50")
    picture = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0")
    run(*tone, "-t", "4", *picture, "-c:a", "aac", "-b:a", "16k", str(path))
    rate, sound = samples(cutter.cut(cutter.put(path), "0.5", "1.99"))
    loud = [place for place, value in enumerate(sound) if abs(value) > 500]
    assert len(sound) - loud[-1] < rate // 50


def test_a_gap_in_the_sound_is_silent_and_shifts_nothing(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "gap.mkv",
        seconds=10,
        clicks=True,
        output=("-af", "aselect='not(between(t,3.2,5.8))'"),
    )
    segment = cutter.cut(cutter.put(source), "1.5", "8.5")
    assert [round(float(h), 3) for h in clicks(segment)] == [0.5, 1.5, 4.5, 5.5, 6.5]


def test_tracks_of_different_size_rate_and_sound_make_one_clip(
    cutter: Cutter, tmp_path: Path
) -> None:
    audible: dict[str, Any] = {"seconds": 6, "clicks": True, "sound": ("-c:a", "aac")}
    other: dict[str, Any] = {"sample_rate": 44100, "channels": 2}
    wide = cutter.put(make_source(tmp_path / "wide.mp4", size=(640, 360), **audible))
    tall = cutter.put(
        make_source(tmp_path / "tall.mkv", size=(200, 320), rate=NTSC, seconds=6, sound=None)
    )
    small = cutter.put(make_source(tmp_path / "small.ts", rate=60, **audible, **other))
    target = common_format([cutter.probe(head) for head in (wide, tall, small)])
    assert (target.resolution, target.sample_rate, target.layout) == ("640x360", 48000, "stereo")
    parts = [(small, "1.5", "3.5"), (tall, "2", "3"), (wide, "3.5", "5.25")]
    for head, start, end in parts:
        cutter.cut(head, start, end, target)
    clip, made = cutter.stitch()
    assert made.duration == Fraction("4.75")
    regions = [(0, 0, 640, 360), (207, 0, 226, 360), (0, 0, 640, 360)]
    rates: list[Fraction | int] = [60, NTSC, 25]
    counts = [len(frames_in(s, e, r)) for (_, s, e), r in zip(parts, rates, strict=True)]
    times = frame_times(clip)
    assert len(times) == sum(counts)
    begin = 0
    for region, count, (_, start, end), rate in zip(regions, counts, parts, rates, strict=True):
        shown = frame_numbers(clip, region)[begin : begin + count]
        assert shown == frames_in(start, end, rate)
        begin += count
    assert [round(float(time), 3) for time in clicks(clip)] == [0.5, 1.5, 3.5, 4.5]
    assert [round(float(time), 3) for time in flashes(clip)] == [0.5, 1.5, 2.002, 3.5, 4.5]
    decode = [FFMPEG, "-v", "error", "-xerror", "-i", str(clip), "-f", "null", "-"]
    subprocess.run(decode, check=True)


def test_a_variable_frame_rate_keeps_its_times(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "variable.mp4",
        seconds=8,
        filters=("-vf", "select='not(mod(n,7))+not(mod(n,5))'", "-fps_mode", "passthrough"),
        sound=("-c:a", "aac"),
    )
    segment = cutter.cut(cutter.put(source), "2.02", "6")
    wanted = [n for n in frames_in("2.02", "6", 25) if n % 7 == 0 or n % 5 == 0]
    assert frame_numbers(segment) == wanted
    assert frame_times(segment) == [Fraction(n, 25) - Fraction("2.02") for n in wanted]


def test_a_phones_rotation_is_applied(cutter: Cutter, tmp_path: Path) -> None:
    upright = make_source(tmp_path / "upright.mp4", size=(200, 320), seconds=2, sound=None)
    sideways, phone = tmp_path / "sideways.mp4", tmp_path / "phone.mp4"
    run = [FFMPEG, "-v", "error", "-y"]
    subprocess.run([*run, "-i", str(upright), "-vf", "transpose=cclock", str(sideways)], check=True)
    copy_rotated(sideways, phone, -90)
    head = cutter.put(phone)
    assert (cutter.probe(head).width, cutter.probe(head).height) == (200, 320)
    assert frame_numbers(cutter.cut(head, "1", "1.2")) == [25, 26, 27, 28, 29]


def test_hdr_stays_hdr(cutter: Cutter, tmp_path: Path) -> None:
    tags = ":colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    picture = (*HEVC[:-1], HEVC[-1] + tags)
    source = make_source(tmp_path / "hdr.mp4", seconds=2, sound=None, picture=picture)
    segment = cutter.cut(cutter.put(source), "0.5", "1")
    with av.open(str(segment)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace)) == (
            9,
            16,
            9,
        )


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_an_hls_playlist_is_cut_across_its_chunks(
    kind: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=20, clicks=True, sound=("-c:a", "aac"))
    playlist, chunks = make_hls(source, tmp_path, kind)
    for chunk in chunks:
        cutter.put(chunk)
    head = cutter.put(playlist)
    for start, end in [("7.5", "12.54"), ("0.04", "1.5"), ("15.96", "19.9")]:
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == frames_in(start, end, 25)
        assert furthest_apart(segment) < Fraction(1, 1000)


def test_a_cut_late_in_a_source_reads_only_its_window(cutter: Cutter, tmp_path: Path) -> None:
    noise = ("-vf", "noise=alls=40:allf=t")
    source = make_source(tmp_path / "long.mp4", seconds=60, sound=("-c:a", "aac"), filters=noise)
    head = cutter.put(source)
    cutter.cut(head, "50", "52")
    assert (tmp_path / "window.nut").stat().st_size < source.stat().st_size / 8


def test_a_span_without_a_frame_is_refused(cutter: Cutter, tmp_path: Path) -> None:
    head = cutter.put(make_source(tmp_path / "s.mp4", seconds=2, sound=None))
    with pytest.raises(InvalidInputError, match="no frame lies in"):
        cutter.cut(head, "1.001", "1.002")


def test_a_file_that_is_not_a_video_is_refused(cutter: Cutter, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    with pytest.raises(MediaRefusedError, match=r"text\.mp4 cannot be read"):
        cutter.probe(cutter.put(tmp_path / "text.mp4"))


def test_damaged_frames_are_not_accepted(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=8, sound=None)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None]
    for position, size in spans[75:110]:
        data[position + 4 : position + size] = bytes(size - 4)
    source.write_bytes(data)
    with pytest.raises(MediaRefusedError, match="damaged"):
        cutter.cut(cutter.put(source), "2", "5")


def test_a_truncated_source_is_not_accepted(cutter: Cutter, tmp_path: Path) -> None:
    front = ("-movflags", "+faststart")
    source = make_source(tmp_path / "s.mp4", seconds=12, sound=("-c:a", "aac"), output=front)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(
        (MediaInterruptedError, MediaRefusedError), match=r"before the end of|cannot be read"
    ):
        cutter.cut(cutter.put(source), "2", "11")


def test_a_very_low_frame_rate_is_cut(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "slides.mp4", rate=Fraction(1, 5), seconds=20, sound=None)
    segment = cutter.cut(cutter.put(source), "4", "20")
    # The first slide is shown from 0 to 5 s.
    assert frame_numbers(segment) == [0, 1, 2, 3]
    assert frame_times(segment) == [0, 1, 6, 11]
