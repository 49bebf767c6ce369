"""Sources with a periodic intra refresh instead of keyframes, as screen recorders write them."""

from pathlib import Path

import pytest

from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import frame_numbers, frames_in, make_source

REFRESHED = ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "intra-refresh=1:keyint=50")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_cut_begins_with_a_completely_refreshed_picture(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    source = make_source(
        tmp_path / f"s.{suffix}",
        size=(1280, 720),
        seconds=6,
        picture=REFRESHED,
        sound=("-c:a", "aac"),
        filters=("-vf", "noise=alls=8:allf=t"),
    )
    head = cutter.put(source)
    for start, end in (("0", "1"), ("3", "4.5"), ("5.02", "6")):
        assert frame_numbers(cutter.cut(head, start, end)) == frames_in(start, end, 25)
