"""How far ffmpeg is, as it tells by itself."""

from fractions import Fraction
from pathlib import Path

import pytest

from clipflow.domain.errors import MediaRefusedError
from clipflow.media import ffmpeg
from clipflow.media.ffmpeg import seconds_written
from clipflow.telemetry.progress import reporting_to

# Two minutes of noise, which the fastest machine encodes for longer than between two reports.
NOISE = ["-f", "lavfi", "-i", "nullsrc=s=320x180:d=120,geq=random(1)*255:128:128"]
SECONDS = Fraction(120)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"frame=1\nout_time_us=1500000\nprogress=continue\n", 1.5),
        (b"out_time_us=1500000\nout_time_us=2000000\nprogress=end\n", 2.0),
        (b"out_time_us=N/A\nprogress=continue\n", None),
        (b"xout_time_us=1\n", None),
        (b"", None),
    ],
)
def test_the_last_report_counts(said: bytes, seconds: float | None) -> None:
    assert seconds_written(said) == seconds


@pytest.mark.slow
def test_ffmpeg_is_heard_while_it_works(tmp_path: Path) -> None:
    told: list[float] = []
    out = str(tmp_path / "out.mp4")
    with reporting_to(told.append):
        ffmpeg.run([*NOISE, "-preset", "ultrafast", out], "making noise", 120, 1 << 30, SECONDS)
    assert len(told) > 1 and told == sorted(told)
    assert 0 <= told[0] < told[-1] <= 1


def test_a_run_that_nobody_listens_to_tells_nothing(tmp_path: Path) -> None:
    told: list[float] = []
    out = str(tmp_path / "out.wav")
    made = ["-f", "lavfi", "-i", "sine=d=1", out]
    ffmpeg.run(made, "making a tone", 20, lasting=Fraction(1))
    with reporting_to(told.append):
        ffmpeg.run(made, "making a tone", 20)
        with pytest.raises(MediaRefusedError):
            ffmpeg.run(["-f", "nut", "-i", out, out], "reading a tone", 20, lasting=Fraction(1))
    assert not told
