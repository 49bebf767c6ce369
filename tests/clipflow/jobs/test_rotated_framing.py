"""Shorts of sources with a display matrix: the face is upright, whole, and in its own crop."""

import subprocess
from pathlib import Path

import pytest

from clipflow.domain.layouts import Layout
from clipflow.reframe.faces import FaceDetector
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.jobs.test_layouts import people, pictures, whole_faces, words
from tests.clipflow.reframe.films import film
from tests.made_media import FFMPEG, copy_rotated

pytestmark = pytest.mark.slow

# The filter that a display matrix of so many degrees, counter-clockwise, undoes.
ROTATED = {90: "transpose=clock", 180: "hflip,vflip", -90: "transpose=cclock"}


@pytest.mark.parametrize(
    ("degrees", "size"), [(90, (720, 1280)), (180, (1280, 720)), (-90, (720, 1280))]
)
def test_a_rotated_talk_is_framed_as_it_is_seen(
    degrees: int, size: tuple[int, int], studio: Studio, tmp_path: Path
) -> None:
    # Far from the middle, so that a crop in unrotated coordinates would miss the face.
    place = 0.3 * size[0], 0.35 * size[1]
    shown = [people(n / 30, 0, place) for n in range(60)]
    upright = film(tmp_path / "upright.mp4", shown, size)
    coded, source = tmp_path / "coded.mp4", tmp_path / "source.mp4"
    run = [FFMPEG, "-v", "error", "-i", str(upright), "-vf", ROTATED[degrees], str(coded)]
    subprocess.run(run, check=True)
    studio.put(copy_rotated(coded, source, degrees), words(0, 2))
    short = studio.make("0", "2", caption_style="none")
    assert studio.framing
    assert [span.layout for span in studio.framing.layouts] == [Layout.CROP]
    assert studio.framing.speaker_in_frame == 1
    detector = FaceDetector()
    for picture in pictures(short)[::10]:
        [face] = whole_faces(picture, detector)
        if size[0] > size[1]:
            # A landscape's crop is as narrow as the short, with the face in its middle.
            assert abs(face.x - 540) < 150
        else:
            assert abs(face.x - 0.3 * 1080) < 60 and abs(face.y - 0.35 * 1920) < 60
