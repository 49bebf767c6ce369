"""Sources whose picture changes its size midway, as recordings of browsers and WebRTC do."""

import subprocess
from pathlib import Path

import pytest

from clipflow.domain.layouts import Layout
from clipflow.reframe.analysis import Film, analyze, decoded_frames
from clipflow.reframe.faces import FaceDetector
from tests.clipflow.jobs.cutting import Cutter
from tests.clipflow.jobs.studio import Studio
from tests.made_media import FFMPEG, frame_numbers, frame_times, make_source

VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-b:v", "1M")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-b:v", "1M")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0")
KINDS = [(VP8, "webm"), (VP9, "webm"), (H264, "ts")]
NAMES = ["VP8", "VP9", "H.264"]
SMALL, LARGE = (320, 180), (640, 360)
# Sizes with the aspect ratio of the lower pane of a stack.
HALF, WHOLE = (288, 256), (576, 512)


def resized(folder: Path, kind: tuple[tuple[str, ...], str], sizes: list[tuple[int, int]]) -> Path:
    """Two seconds in each of the sizes, joined without encoding; each part counts from 0."""
    picture, container = kind
    parts = [
        make_source(folder / f"{n}.{container}", size=size, seconds=2, picture=picture, sound=None)
        for n, size in enumerate(sizes)
    ]
    return joined(parts)


def joined(parts: list[Path]) -> Path:
    """The parts in one file, joined without encoding."""
    path = parts[0].with_stem("joined")
    listing = path.with_suffix(".txt")
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    command = [FFMPEG, "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", str(listing)]
    subprocess.run([*command, "-c", "copy", str(path)], check=True)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize("sizes", [[SMALL, LARGE], [LARGE, SMALL]], ids=["grows", "shrinks"])
def test_every_frame_is_cut_in_the_first_size(
    sizes: list[tuple[int, int]],
    kind: tuple[tuple[str, ...], str],
    cutter: Cutter,
    tmp_path: Path,
) -> None:
    head = cutter.put(resized(tmp_path, kind, sizes))
    for start, end, expected in (
        ("1", "3", [*range(25, 50), *range(25)]),
        ("2.2", "3", list(range(5, 25))),
    ):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == expected
        assert cutter.probe(head).coded_size == sizes[0]


@pytest.mark.slow
def test_a_short_shows_every_frame_of_a_source_that_shrinks(studio: Studio, tmp_path: Path) -> None:
    studio.put(resized(tmp_path, KINDS[0], [LARGE, SMALL]))
    for layout in (Layout.CROP, Layout.FIT):
        short = studio.make("1", "3", layout=layout, caption_style="none")
        assert len(frame_numbers(short)) == 50
    assert frame_numbers(short, (0, 656, 1080, 608)) == [*range(25, 50), *range(25)]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[HALF, WHOLE], [WHOLE, HALF]], ids=["grows", "shrinks"])
def test_a_background_that_changes_its_size_plays_throughout(
    sizes: list[tuple[int, int]], studio: Studio, tmp_path: Path
) -> None:
    background = resized(tmp_path, KINDS[0], sizes)
    studio.objects.upload(background, "below.webm", {})
    studio.put(make_source(tmp_path / "talk.mp4", seconds=4, sound=("-c:a", "aac")))
    short = studio.make("0", "4", layout="stack", background_video="below.webm",
                        caption_style="none")  # fmt: skip
    assert [round(time * 25) for time in frame_times(short)] == list(range(100))
    assert frame_numbers(short, (0, 960, 1080, 960)) == [*range(50), *range(50)]


@pytest.mark.parametrize("how", ["with its size", "without"])
def test_faces_are_looked_for_in_the_picture_that_a_short_shows(how: str, tmp_path: Path) -> None:
    """The second size has bars beside it: its right edge is not that of the picture."""
    wide, tall = (640, 360), (360, 640)
    bar = "drawbox=x=iw-20:w=20:h=ih:color=white:t=fill"
    parts = []
    for number, (width, height) in enumerate((wide, tall)):
        parts.append(tmp_path / f"{number}.ts")
        picture = ("-f", "lavfi", "-i", f"color=gray:s={width}x{height}:r=25:d=1", "-vf", bar)
        command = [FFMPEG, "-v", "error", *picture, "-c:v", "libx264", "-bf", "0", str(parts[-1])]
        subprocess.run(command, check=True)
    film = Film(joined(parts), wide if how == "with its size" else None)
    pictures = [film.scaled(frame, 0.5) for _, frame in decoded_frames(film)]
    assert {picture.shape for picture in pictures} == {(180, 320, 3)}
    # The white bar's middle, and nothing but black at the edges of the second size.
    assert (pictures[0][90, 312:318] > 200).all()
    last = pictures[-1][90, :, 0]
    assert (last[:105] < 20).all() and (last[215:] < 20).all() and (last[208:209] > 150).all()
    assert analyze(film, FaceDetector()).shots
