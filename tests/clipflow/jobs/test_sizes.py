"""Sources whose picture changes its size midway, as recordings of browsers and WebRTC do."""

import subprocess
from pathlib import Path

import pytest

from clipflow.domain.layouts import Layout
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
    listing, path = folder / "list.txt", folder / f"joined.{container}"
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
