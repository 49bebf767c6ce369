"""Faces are detected five times a second, and at least every quarter, in every codec."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from clipflow.media import ffmpeg
from clipflow.reframe.analysis import Film, analyze
from clipflow.reframe.faces import FaceDetector
from tests.clipflow.reframe.films import Shown, film

SECONDS = 2.5
# Each codec with the options that let its frames refer to frames as distant as it allows.
CODECS = {
    "hevc-open-groups": ("libx265", "-x265-params", "open-gop=1:bframes=8:keyint=60:log-level=0"),
    "hevc-one-reference": ("libx265", "-x265-params", "bframes=16:ref=1:keyint=250:log-level=0"),
    "h264-pyramid": ("libx264", "-bf", "16", "-x264-params", "b-pyramid=strict:open-gop=1"),
    "av1": ("libaom-av1", "-cpu-used", "8", "-crf", "40"),
    "vp8": ("libvpx", "-deadline", "realtime", "-cpu-used", "8"),
    "vp9": ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "intra-only": ("mjpeg", "-q:v", "4"),
    "mpeg2": ("mpeg2video", "-bf", "2", "-g", "60", "-q:v", "4"),
}


@pytest.mark.parametrize("begin", [0, 0.3])
@pytest.mark.parametrize("name", CODECS)
def test_a_face_is_detected_five_times_a_second(name: str, begin: float, tmp_path: Path) -> None:
    shown = [Shown(n / 30, 1, (200 + 2 * n, 110), 60) for n in range(round(30 * SECONDS))]
    made = film(tmp_path / "made.mp4", shown, (480, 272), {"preset": "ultrafast", "crf": "10"})
    source = tmp_path / "source.mkv"
    encoder, *options = CODECS[name]
    subprocess.run(
        [ffmpeg.executable(), "-v", "error", "-i", made, "-c:v", encoder, *options, source],
        check=True,
    )
    samples = analyze(Film(source, start=Fraction(str(begin))), FaceDetector()).samples
    times = [sample.time for sample in samples if sample.faces]
    assert len(times) >= 5 * (SECONDS - begin)
    gaps = [after - before for before, after in pairwise([0.0, *times, SECONDS - begin])]
    assert max(gaps) <= 0.25 + 1e-6


def test_a_stream_without_an_index_is_analysed_from_its_first_frame(tmp_path: Path) -> None:
    shown = [Shown(n / 30, int(n >= 55), (200, 110), 60) for n in range(75)]
    made = film(tmp_path / "made.mp4", shown, (480, 272), {"preset": "ultrafast", "crf": "10"})
    source = tmp_path / "source.ts"
    options = ("-c:v", "libx264", "-bf", "4", "-x264-params", "open-gop=1:keyint=50:scenecut=0")
    subprocess.run([ffmpeg.executable(), "-v", "error", "-i", made, *options, source], check=True)
    analysis = analyze(Film(source), FaceDetector())
    assert len(analysis.samples) >= 5 * SECONDS and analysis.samples[0].time < 0.1
    assert [round(start * 30 + 0.5) for start, _ in analysis.shots] == [0, 55]
