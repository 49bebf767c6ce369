"""Slides: pictures that are shown for seconds, in containers that store their times or do not."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from clipflow.domain.errors import MediaRefusedError
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import (
    flashes,
    frame_numbers,
    frame_times,
    frames_in,
    furthest_apart,
    make_source,
)

# The frames that are shown until the next of them, of a minute at 25 frames a second.
SLIDES = (0, 1, 2, 3, 100, 250, 260, 261, 500, 501, 900, 1300, 1310, 1400)
SPANS = [
    ("0", "3"),
    ("5", "9"),
    ("9", "11"),
    ("12", "15"),
    ("19", "21"),
    ("30", "40"),
    ("37", "50"),
]
SPANS += [("50", "53"), ("52.5", "55"), ("55.9", "59")]
PCM, MP2, AAC = ("-c:a", "pcm_s16le"), ("-c:a", "mp2"), ("-c:a", "aac")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-bf")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "2", "-g", "5", "-bf")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "5", "-bf")


def slides(path: Path, picture: tuple[str, ...], sound: tuple[str, ...]) -> Path:
    selected = "+".join(f"eq(n,{number})" for number in SLIDES)
    filters = ("-vf", f"select='{selected}'", "-fps_mode", "passthrough")
    return make_source(path, seconds=60, picture=picture, sound=sound, filters=filters)


def shown(start: str, end: str) -> list[tuple[int, Fraction]]:
    """The numbers and times of the slides that a segment of the span shows."""
    begin, times = Fraction(start), {number: Fraction(number, 25) for number in SLIDES}
    inside = [(n, time - begin) for n, time in times.items() if begin <= time < Fraction(end)]
    if inside and inside[0][1] <= Fraction(1, 4):
        return inside
    return [(max(n for n, time in times.items() if time < begin), Fraction(0)), *inside]


def is_right(segment: Path, start: str, end: str) -> bool:
    wanted, times = shown(start, end), frame_times(segment)
    return [number for number, _ in wanted] == frame_numbers(segment) and all(
        abs(time - right) < Fraction(1, 50) for time, (_, right) in zip(times, wanted, strict=True)
    )


@pytest.mark.parametrize(
    ("suffix", "picture", "sound"),
    [
        ("avi", (*MPEG4, "0"), PCM),
        ("avi", ("-c:v", "mjpeg", "-q:v", "2"), PCM),
        ("avi", (*H264, "0"), PCM),
        ("nut", (*H264, "2"), PCM),
        ("mkv", (*H264, "2"), AAC),
        ("mp4", (*H264, "2"), AAC),
        ("ts", (*H264, "2"), AAC),
    ],
)
def test_slides_are_shown_at_their_times_also_after_a_seek(
    suffix: str, picture: tuple[str, ...], sound: tuple[str, ...], cutter: Cutter, tmp_path: Path
) -> None:
    head = cutter.put(slides(tmp_path / f"s.{suffix}", picture, sound))
    wrong = [
        (start, end)
        for start, end in SPANS
        if not is_right(cutter.cut(head, start, end), start, end)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("suffix", "picture", "sound"),
    [
        ("avi", (*MPEG4, "2"), PCM),
        ("avi", (*H264, "2"), PCM),
        ("mpg", (*MPEG2, "0"), MP2),
        ("mpg", (*MPEG2, "2"), MP2),
        ("mpg", (*H264, "0"), MP2),
        ("ogv", ("-c:v", "libtheora", "-q:v", "9", "-g", "5"), ("-c:a", "libvorbis")),
    ],
)
def test_slides_whose_times_are_not_stored_are_refused_and_never_wrong(
    suffix: str, picture: tuple[str, ...], sound: tuple[str, ...], cutter: Cutter, tmp_path: Path
) -> None:
    head = cutter.put(slides(tmp_path / f"s.{suffix}", picture, sound))
    wrong, refusals = [], []
    for start, end in SPANS:
        try:
            segment = cutter.cut(head, start, end)
        except MediaRefusedError as error:
            refusals.append(str(error))
            continue
        if not is_right(segment, start, end):
            wrong.append((start, end))
    assert wrong == []
    assert refusals
    assert all("does not store when its pictures are shown" in text for text in refusals)


def test_a_last_slide_of_a_program_stream_that_is_decoded_before_others_is_not_shown_early(
    cutter: Cutter, tmp_path: Path
) -> None:
    # The last frame is stored before the one that is shown before it, without a time.
    numbers = (0, 22, 33, 52, 53, 61, 172, 189, *range(244, 249), 325, *range(412, 418), 453, 458)
    selected = "+".join(f"eq(n,{number})" for number in (*numbers, 502, 720))
    source = make_source(
        tmp_path / "s.mpg",
        seconds=30,
        picture=("-c:v", "mpeg2video", "-q:v", "2", "-g", "6", "-bf", "2"),
        sound=MP2,
        filters=("-vf", f"select='{selected}'", "-fps_mode", "passthrough"),
    )
    head = cutter.put(source)
    for start, end in (("20.4", "21.6"), ("25", "27")):
        with pytest.raises(MediaRefusedError, match="does not store when its pictures are shown"):
            cutter.cut(head, start, end)


@pytest.mark.parametrize("noise", [0, 40])
@pytest.mark.parametrize(
    "picture",
    [
        ("mpeg2video", "-g", "15", "-bf", "0"),
        ("mpeg2video", "-g", "15", "-bf", "2"),
        ("mpeg2video", "-g", "1"),
        ("mpeg1video", "-g", "12", "-bf", "2"),
    ],
    ids=["0", "2", "intra", "MPEG-1"],
)
def test_pictures_of_a_program_stream_without_slides_have_their_times(
    picture: tuple[str, ...], noise: int, cutter: Cutter, tmp_path: Path
) -> None:
    # Small pictures have no times of their own, and some that have are given that of the next one.
    source = make_source(
        tmp_path / "s.mpg",
        seconds=12,
        picture=("-c:v", *picture, "-q:v", "2"),
        sound=MP2,
        filters=("-vf", f"noise=alls={noise}:allf=t"),
        output=("-f", "vob"),
    )
    head = cutter.put(source)
    spans = [("0", "1"), ("0.78", "1.92"), ("1.131", "2.414"), ("3.5", "5"), ("5.4", "5.9")]
    for start, end in [*spans, ("7.7", "9.1"), ("11", "12")]:
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, 25)


@pytest.mark.parametrize("suffix", ["avi", "mxf"])
@pytest.mark.parametrize(
    "options",
    [("-bf", "0"), ("-bf", "2"), ("-bf", "3", "-b_strategy", "0")],
    ids=["0", "2", "3"],
)
def test_h264_whose_container_stores_no_presentation_times_is_cut_exactly(
    options: tuple[str, ...], suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(
        tmp_path / f"s.{suffix}",
        seconds=12,
        picture=("-c:v", "libx264", "-preset", "medium", "-g", "50", *options),
        sound=PCM,
        clicks=True,
    )
    head = cutter.put(source)
    for start, end in (("0", "1"), ("5.04", "5.4"), ("5.4", "5.9"), ("7.3", "8.9"), ("11", "12")):
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, 25)
    segment = cutter.cut(head, "3.5", "6.5")
    assert flashes(segment) == [Fraction(1, 2), Fraction(3, 2), Fraction(5, 2)]
    assert furthest_apart(segment) < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("suffix", "frames_b", "message"),
    [
        ("avi", "0", "49 of 50 frames could be decoded"),
        ("avi", "2", "has a picture that cannot be decoded"),
        ("mxf", "2", "has a picture that cannot be decoded"),
    ],
)
def test_a_damaged_picture_of_h264_is_refused_as_such(
    suffix: str, frames_b: str, message: str, cutter: Cutter, tmp_path: Path
) -> None:
    # The places of the pictures are those in which a decoder returns them.
    source = make_source(
        tmp_path / f"s.{suffix}",
        seconds=12,
        picture=("-c:v", "libx264", "-preset", "medium", "-g", "50", "-bf", frames_b),
        sound=PCM,
    )
    with av.open(str(source)) as container:
        damaged = [bytes(packet) for packet in container.demux(video=0)][126]
    source.write_bytes(source.read_bytes().replace(damaged, b"\xff" * len(damaged)))
    head = cutter.put(source)
    assert frame_numbers(cutter.cut(head, "1", "2")) == list(range(25, 50))
    with pytest.raises(MediaRefusedError, match=message):
        cutter.cut(head, "4", "6")
    if suffix == "avi":
        assert frame_numbers(cutter.cut(head, "8", "9")) == list(range(200, 225))
        assert frame_numbers(cutter.cut(head, "0", "1")) == list(range(25))


@pytest.mark.parametrize("suffix", ["avi", "mxf"])
def test_a_container_whose_time_base_is_a_frame_of_ntsc_is_cut(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    # Times are shifted by seconds, which are not a whole number of such frames.
    rate = Fraction(30000, 1001)
    source = make_source(
        tmp_path / f"s.{suffix}",
        rate=rate,
        seconds=12,
        picture=("-c:v", "mpeg2video", "-q:v", "2", "-g", "15", "-bf", "2"),
        sound=PCM,
        clicks=True,
    )
    head = cutter.put(source)
    for start, end in (("0", "1"), ("5.04", "5.4"), ("7.3", "8.9"), ("10.5", "11.9")):
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, rate)
