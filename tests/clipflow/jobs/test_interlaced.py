"""Interlaced sources: every frame is present, and none combines fields of two times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clipflow.jobs.cutting import Cutter
from tests.clipflow.jobs.field_pictures import HEIGHT, WIDTH, write_field_pictures
from tests.clipflow.jobs.reading import run
from tests.clipflow.jobs.studio import Studio
from tests.made_media import frame_numbers, frame_times, frames_in

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-flags", "+ildct+ilme")
MPEG2 = ("-c:v", "mpeg2video", "-b:v", "4M", "-g", "12", "-flags", "+ildct+ilme")
PRORES = ("-c:v", "prores_ks", "-flags", "+ildct")


def interlaced(path: Path, codec: tuple[str, ...], first: str = "top") -> Path:
    """Write two seconds of a moving picture, with 50 fields a second."""
    moving = "testsrc2=s=320x240:r=50:d=2,scroll=h=0.02"
    fields = f"tinterlace=interleave_{first},format=yuv420p"
    field_order = ("-field_order", "tt" if first == "top" else "bb")
    run("-f", "lavfi", "-i", moving, "-f", "lavfi", "-i", "sine=d=2", "-vf", fields,
        *codec, *field_order, "-c:a", "mp2", str(path))  # fmt: skip
    return path


def combing(path: Path) -> list[float]:
    """How much each frame's rows differ from the mean of the rows above and below.

    Where two fields of a moving picture are interleaved, every row differs from both neighbours.
    """
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            rows = frame.to_ndarray(format="gray").astype(int)
            found.append(float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean()) / 2)
    return found


def assert_is_deinterlaced(path: Path) -> None:
    found = combing(path)
    assert len(found) == 30
    assert max(found) < 4


@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [
        ("mbaff.mp4", X264, "top"),
        ("mbaff.ts", X264, "bottom"),
        ("mpeg2.ts", MPEG2, "top"),
        ("mpeg2.mpg", MPEG2, "top"),
        ("mpeg2.mkv", MPEG2, "bottom"),
        ("prores.mov", PRORES, "top"),
    ],
)
def test_a_clip_is_deinterlaced(
    name: str, codec: tuple[str, ...], first: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = interlaced(tmp_path / name, codec, first)
    assert min(combing(source)) > 12
    assert_is_deinterlaced(cutter.cut(cutter.put(source), "0.4", "1.6"))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("undeclared.mkv", ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0")),
        ("jpeg.mov", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")),
        ("huff.mkv", ("-c:v", "huffyuv", "-pix_fmt", "yuv422p")),
        ("ffv1.mkv", ("-c:v", "ffv1")),
        ("raw.mov", ("-c:v", "rawvideo", "-pix_fmt", "uyvy422")),
    ],
)
@pytest.mark.parametrize("first", ["top", "bottom"])
def test_a_clip_is_deinterlaced_if_only_the_container_declares_interlacing(
    first: str, name: str, codec: tuple[str, ...], cutter: Cutter, tmp_path: Path
) -> None:
    source = interlaced(tmp_path / name, codec, first)
    assert min(combing(source)) > 12
    head = cutter.put(source)
    assert_is_deinterlaced(cutter.cut(head, "0.4", "1.6"))
    assert cutter.probe(head).field_order == f"{first[0]}ff"


def test_a_short_is_deinterlaced(studio: Studio, tmp_path: Path) -> None:
    studio.put(interlaced(tmp_path / "s.mp4", X264))
    assert_is_deinterlaced(studio.make("0.4", "1.6", layout="fit"))


def field_pictures(path: Path, frames: int) -> Path:
    """A source with a packet for each field, 50 fields a second."""
    fields = write_field_pictures(path.with_suffix(".h264"), frames)
    with av.open(str(fields)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux(video=0) if p.size):
            packet.stream, packet.time_base = stream, Fraction(1, 50)
            packet.pts = packet.dts = number
            packet.duration = 1
            made.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4", "avi"])
def test_field_pictures_are_counted_as_frames(suffix: str, cutter: Cutter, tmp_path: Path) -> None:
    head = cutter.put(field_pictures(tmp_path / f"s.{suffix}", 80))
    # A span may end between the two fields of a frame.
    for start, end in (("0", "1"), ("0.5", "2.29"), ("2.01", "3.16")):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment, (0, 0, WIDTH, HEIGHT)) == frames_in(start, end, 25)


def test_a_short_of_field_pictures_has_all_of_its_frames(studio: Studio, tmp_path: Path) -> None:
    studio.put(field_pictures(tmp_path / "s.mp4", 80))
    short = studio.make("0.5", "2.29", layout="fit", aspect="16:9")
    assert len(frame_times(short)) == len(frames_in("0.5", "2.29", 25))
