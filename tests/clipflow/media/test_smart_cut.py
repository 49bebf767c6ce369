"""Smart cuts: packets are copied unchanged, and every frame has the time of a full encode."""

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.output_format import common_format
from tests.clipflow.jobs.conftest import cutter as cutter
from tests.clipflow.jobs.cutting import Cutter
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
GROUPS = ("-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-sc_threshold", "0")
PYRAMID = (*GROUPS, "-bf", "3", "-x264-params", "b-pyramid=normal:b-adapt=0")
SLICES = (*GROUPS, "-x264-params", "slices=4:ref=4")
OPEN = (*GROUPS, "-x264-params", "open-gop=1:b-adapt=0:bframes=3")
LONG = (*GROUPS, "-g", "125")
INTERLACED = (*GROUPS, "-flags", "+ildct+ilme", "-x264-params", "tff=1")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25")
AAC = ("-c:a", "aac")

COPIED: dict[str, dict[str, Any]] = {
    "closed.mp4": {"picture": GROUPS, "sound": AAC},
    "pyramid.mp4": {"picture": PYRAMID, "sound": AAC},
    "long.mp4": {"picture": LONG, "sound": AAC},
    "slices.mkv": {"picture": SLICES},
    "baseline.mp4": {"picture": (*GROUPS, "-profile:v", "baseline"), "sound": None},
    "ntsc.mp4": {"picture": PYRAMID, "rate": NTSC, "sound": AAC, "sound_offset": 0.4},
    "film.mkv": {"picture": PYRAMID, "rate": Fraction(24000, 1001)},
    "fast.mov": {"picture": PYRAMID, "rate": 60, "sound": ("-c:a", "pcm_s16le")},
    "broadcast.ts": {"picture": PYRAMID, "sound": AAC},
    "fragments.mp4": {
        "picture": PYRAMID,
        "sound": AAC,
        "output": ("-movflags", "+frag_keyframe+empty_moov"),
    },
}
ENCODED: dict[str, tuple[dict[str, Any], str]] = {
    "hevc.mp4": ({"picture": HEVC}, "is hevc"),
    "vp9.webm": ({"picture": VP9, "sound": ("-c:a", "libopus")}, "is vp9"),
    "deep.mp4": ({"picture": GROUPS, "output": ("-pix_fmt", "yuv420p10le")}, "yuv420p10"),
    "interlaced.mp4": ({"picture": INTERLACED}, "interlaced"),
    "full.mp4": ({"picture": GROUPS, "output": ("-color_range", "pc")}, "range"),
    "wide.mp4": ({"picture": GROUPS, "filters": ("-vf", "setsar=4/3")}, "square"),
    "open.mp4": ({"picture": OPEN}, "no whole closed group"),
}
# Between frames, on keyframes, from the start, to the end, one frame, and one frame from the end.
SPANS = [
    ("1.013", "11.7"),
    ("2", "10"),
    ("0", "6.5"),
    ("5.5", "12"),
    ("7.96", "8"),
    ("10", "11.97"),
]

pytestmark = pytest.mark.slow


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.pts is not None]


def decoder_messages(path: Path) -> str:
    """The messages of each ffmpeg while it decodes the whole file."""
    exact = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"]
    tail = ["-v", "warning", "-i", str(path), *exact, "-f", "null", "-"]
    messages = ""
    for program in {FFMPEG, imageio_ffmpeg.get_ffmpeg_exe()}:
        done = subprocess.run([program, *tail], capture_output=True, text=True, check=True)
        messages += done.stderr
    return messages


@pytest.mark.parametrize("name", COPIED)
def test_a_copied_segment_is_exact_and_decodes_without_messages(
    name: str, cutter: Cutter, tmp_path: Path
) -> None:
    made = COPIED[name]
    rate = made.get("rate", 25)
    source = make_source(tmp_path / name, seconds=12, **made)
    head, theirs = cutter.put(source), packets(source)
    for start, end in SPANS:
        segment = cutter.cut(head, start, end)
        wanted = [n for n in frames_in(start, end, rate) if n < int(12 * rate)]
        assert frame_numbers(segment) == wanted
        for time, number in zip(frame_times(segment), wanted, strict=True):
            assert abs(time - (number / Fraction(rate) - Fraction(start))) < Fraction(1, 900)
        assert decoder_messages(segment) == ""
        if not name.endswith(".ts"):
            ours = packets(segment)
            same = [place for place, data in enumerate(ours) if data in theirs]
            assert len(same) >= cutter.results[-1].copied
    ways = [cutting.way for cutting in cutter.results]
    assert ways[0] == "copied"
    assert ways.count("copied") >= 3
    clip, _ = cutter.stitch()
    listed = [n for span in SPANS for n in frames_in(*span, rate)]
    assert frame_numbers(clip) == [n for n in listed if n < int(12 * rate)]
    assert decoder_messages(clip) == ""


def test_only_the_edges_are_encoded(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=12, picture=PYRAMID, sound=AAC)
    head, theirs = cutter.put(source), packets(source)
    expected = {("1", "9.2"): 150, ("2", "10"): 200, ("4.04", "12"): 150, ("0", "12"): 300}
    for (start, end), copied in expected.items():
        ours = packets(cutter.cut(head, start, end))
        assert cutter.results[-1].copied == copied
        first = next(place for place, data in enumerate(ours) if data in theirs)
        begin = theirs.index(ours[first])
        assert ours[first : first + copied] == theirs[begin : begin + copied]


@pytest.mark.parametrize("name", ENCODED)
def test_a_source_that_cannot_be_copied_is_encoded_with_the_reason(
    name: str, cutter: Cutter, tmp_path: Path
) -> None:
    made, why = ENCODED[name]
    head = cutter.put(make_source(tmp_path / name, seconds=8, **{"sound": AAC, **made}))
    segment = cutter.cut(head, "1.5", "7")
    [cutting] = cutter.results
    assert cutting.way == "encoded"
    assert why in cutting.why
    assert cutting.label.startswith("encoded: ")
    assert frame_numbers(segment) == frames_in("1.5", "7", 25)


def test_a_clip_of_copied_and_encoded_segments_keeps_frames_and_sound(
    cutter: Cutter, tmp_path: Path
) -> None:
    made: dict[str, Any] = {"picture": PYRAMID, "sound": AAC, "clicks": True, "rate": 50}
    head = cutter.put(make_source(tmp_path / "s.mp4", seconds=14, **made))
    spans = [("0.503", "7.1017"), ("2.503", "3.0017"), ("4.203", "11.6033"), ("9.52", "10.0809")]
    spans *= 3
    clip = cutter.clip_of(head, spans)
    ways = [cutting.way for cutting in cutter.results]
    assert ways == ["copied", "encoded"] * 6
    assert frame_numbers(clip) == [n for span in spans for n in frames_in(*span, 50)]
    apart = [abs(h - s) for h, s in zip(clicks(clip), flashes(clip), strict=True)]
    assert len(apart) > 30
    assert max(apart) < Fraction(1, 1000)
    lengths = sum((Fraction(end) - Fraction(start) for start, end in spans), Fraction(0))
    rate, whole = samples(clip)
    assert abs(len(whole) - lengths * rate) < 1100
    assert decoder_messages(clip) == ""


def test_sources_of_the_same_encoder_share_one_format(cutter: Cutter, tmp_path: Path) -> None:
    made: dict[str, Any] = {"picture": PYRAMID, "sound": AAC, "seconds": 8}
    heads = [cutter.put(make_source(tmp_path / name, **made)) for name in ("a.mp4", "b.mkv")]
    other = cutter.put(make_source(tmp_path / "c.mp4", **{**made, "picture": SLICES}))
    target = common_format([cutter.probe(head) for head in heads])
    for head in heads:
        cutter.cut(head, "1", "7", target)
    assert [cutting.way for cutting in cutter.results] == ["copied", "copied"]
    assert frame_numbers(cutter.stitch()[0]) == frames_in("1", "7", 25) * 2
    mixed = common_format([cutter.probe(head) for head in (*heads, other)])
    assert "different parameter sets" in mixed.reencode_reason


def test_a_variable_frame_rate_keeps_its_times_when_copied(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "variable.mp4",
        seconds=16,
        picture=(*GROUPS, "-g", "20"),
        filters=("-vf", "select='not(mod(n,7))+not(mod(n,5))'", "-fps_mode", "passthrough"),
        sound=AAC,
    )
    segment = cutter.cut(cutter.put(source), "2.02", "14")
    wanted = [n for n in frames_in("2.02", "14", 25) if n % 7 == 0 or n % 5 == 0]
    assert cutter.results[0].way == "copied"
    assert frame_numbers(segment) == wanted
    assert frame_times(segment) == [Fraction(n, 25) - Fraction("2.02") for n in wanted]


def test_an_edit_list_is_applied(cutter: Cutter, tmp_path: Path) -> None:
    whole = make_source(tmp_path / "whole.mp4", seconds=14, picture=PYRAMID, sound=AAC, clicks=True)
    edited = tmp_path / "edited.mp4"
    trim = [FFMPEG, "-v", "error", "-ss", "1.2", "-i", str(whole), "-c", "copy"]
    subprocess.run([*trim, str(edited)], check=True)
    head = cutter.put(edited)
    [first, *_] = frame_numbers(edited)
    for start, end in [("0", "5"), ("1.5", "9.3"), ("6", "12.5")]:
        segment = cutter.cut(head, start, end)
        shown = [n - first for n in frame_numbers(segment)]
        assert shown == frames_in(start, end, 25)
        assert decoder_messages(segment) == ""
        assert furthest_apart(segment) < Fraction(1, 500)
    assert [cutting.way for cutting in cutter.results] == ["copied"] * 3


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_an_hls_playlist_is_copied_across_its_chunks(
    kind: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=14, picture=PYRAMID, sound=AAC, clicks=True)
    playlist, chunks = make_hls(source, tmp_path, kind)
    for chunk in chunks:
        cutter.put(chunk)
    segment = cutter.cut(cutter.put(playlist), "1.5", "12.54")
    assert cutter.results[0].way == "copied"
    assert frame_numbers(segment) == frames_in("1.5", "12.54", 25)
    assert furthest_apart(segment) < Fraction(1, 1000)
    assert decoder_messages(segment) == ""


def outcome_of(cutter: Cutter, source: Path) -> str:
    """The label of a cut from within one group of pictures to within another."""
    try:
        cutter.cut(cutter.put(source), "1.5", "10.5")
    except MediaRefusedError as refusal:
        return str(refusal)
    return cutter.results[-1].label


def test_a_damaged_middle_is_not_copied(cutter: Cutter, tmp_path: Path) -> None:
    noise = ("-vf", "noise=alls=60:allf=t")
    source = make_source(tmp_path / "s.mp4", seconds=12, picture=GROUPS, sound=None, filters=noise)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.pos is not None]
    # The headers of the pictures are intact, so that only decoding finds the damage.
    for position, size in spans[120:124]:
        data[position + 60 : position + size - 20] = b"\x5a" * (size - 80)
    source.write_bytes(data)
    outcome = outcome_of(cutter, source)
    assert "damaged" in outcome or "checking the copy" in outcome


def test_a_source_whose_parameter_sets_change_is_not_copied(cutter: Cutter, tmp_path: Path) -> None:
    made: dict[str, Any] = {"seconds": 6, "sound": None}
    for name, picture in (("a.ts", PYRAMID), ("b.ts", SLICES)):
        make_source(tmp_path / name, picture=picture, **made)
    (tmp_path / "list.txt").write_text("file a.ts\nfile b.ts\n")
    joined = tmp_path / "joined.ts"
    join = ["-f", "concat", "-i", str(tmp_path / "list.txt"), "-c", "copy", str(joined)]
    subprocess.run([FFMPEG, "-v", "error", *join], check=True)
    head = cutter.put(joined)
    segment = cutter.cut(head, "1.5", "9.5")
    assert "changes its parameter sets" in cutter.results[0].why
    assert frame_numbers(segment) == [*range(38, 150), *range(88)]
    cutter.cut(head, "1.5", "5.5")
    assert cutter.results[1].way == "copied"


def test_a_rotated_picture_is_not_copied(cutter: Cutter, tmp_path: Path) -> None:
    sideways, phone = tmp_path / "sideways.mp4", tmp_path / "phone.mp4"
    make_source(sideways, seconds=6, picture=GROUPS, sound=None)
    copy_rotated(sideways, phone, -90)
    cutter.cut(cutter.put(phone), "1", "5")
    assert "turned by" in cutter.results[0].label


def test_a_span_with_lost_packets_is_not_copied(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=12, picture=GROUPS, sound=None)
    lossy = tmp_path / "lossy.mkv"
    with av.open(str(source)) as given, av.open(str(lossy), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux(video=0) if p.pts is not None):
            if number != 100:
                packet.stream = stream
                output.mux(packet)
    assert "of 224 frames could be decoded. The source is damaged" in outcome_of(cutter, lossy)
