"""Running ffmpeg: timeouts, errors, confinement to a process group, progress."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from clipflow.domain.errors import DeadlineExceededError, MediaInterruptedError, MediaRefusedError
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.ffmpeg import seconds_written
from clipflow.telemetry.progress import reporting_to
from tests.made_media import a_machine

# A function that writes a script to be run in place of ffmpeg.
FakeFfmpeg = Callable[[str], Machine]


@pytest.fixture
def fake_ffmpeg(tmp_path: Path) -> FakeFfmpeg:
    def write(script: str) -> Machine:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return Machine(tmp_path, str(path))

    return write


RUN = """
import sys
from pathlib import Path
from clipflow.machine import Machine
from clipflow.media import ffmpeg
ffmpeg.run([], "x", Machine(Path(sys.argv[1]), sys.argv[2]), 600)
"""


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]
    except FileNotFoundError:
        return False


def test_an_ffmpeg_that_hangs_is_killed_with_its_child_processes(
    fake_ffmpeg: FakeFfmpeg, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    machine = fake_ffmpeg(f"trap '' TERM; sleep 600 & echo $! > {child}; wait")
    with pytest.raises(DeadlineExceededError, match="cutting x: ffmpeg did not end within 1 s"):
        ffmpeg.run([], "cutting x", machine, timeout=1)
    pid = int(child.read_text())
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_error_holds_the_end_of_ffmpegs_own_output(fake_ffmpeg: FakeFfmpeg) -> None:
    machine = fake_ffmpeg("seq 1 100000 >&2; echo 'moov atom not found' >&2; exit 1")
    with pytest.raises(MediaRefusedError, match="moov atom not found") as caught:
        ffmpeg.run([], "cutting x", machine, timeout=10)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("script", ["kill -KILL $$", "exit 255"])
def test_an_ffmpeg_stopped_by_a_signal_raises_a_transient_error(
    fake_ffmpeg: FakeFfmpeg, script: str
) -> None:
    machine = fake_ffmpeg(script)
    with pytest.raises(MediaInterruptedError, match="another process stopped ffmpeg"):
        ffmpeg.run([], "cutting x", machine, timeout=10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_an_ffmpeg_that_crashes_is_a_refusal_of_its_source(fake_ffmpeg: FakeFfmpeg) -> None:
    with pytest.raises(MediaRefusedError, match=r"cutting x: ffmpeg crashed \(SIGSEGV\)"):
        ffmpeg.run([], "cutting x", fake_ffmpeg("kill -SEGV $$"), timeout=60)


def test_ffmpeg_dies_with_a_killed_parent(fake_ffmpeg: FakeFfmpeg, tmp_path: Path) -> None:
    child = tmp_path / "child"
    machine = fake_ffmpeg(f"echo $$ > {child}; exec sleep 600")
    parent = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), str(machine.ffmpeg)],
        env=os.environ,
    )
    deadline = time.monotonic() + 20
    while not (child.exists() and child.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(child.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_ffmpeg_that_is_too_old_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho ffmpeg version 4.4.2-0ubuntu\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "imageio_ffmpeg" in ffmpeg.executable()


# Two minutes of noise: even the fastest machine encodes them for longer than one progress interval.
NOISE = ["-f", "lavfi", "-i", "nullsrc=s=320x180:d=120,geq=random(1)*255:128:128"]
SECONDS = Fraction(120)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"frame=1\nout_time_us=1500000\nprogress=continue\n", 1.5),
        (b"out_time_us=1500000\nout_time_us=2000000\nprogress=end\n", 2.0),
        (b"out_time_us=N/A\nprogress=continue\n", None),
        (b"xout_time_us=1\n", None),
        (b"", None),
    ],
)
def test_progress_is_taken_from_the_last_report(text: bytes, seconds: float | None) -> None:
    assert seconds_written(text) == seconds


@pytest.mark.slow
def test_progress_is_reported_while_ffmpeg_works(tmp_path: Path) -> None:
    reports: list[float] = []
    out = str(tmp_path / "out.mp4")
    with reporting_to(reports.append):
        ffmpeg.run(
            [*NOISE, "-preset", "ultrafast", out],
            "making noise",
            a_machine(),
            120,
            max_bytes=1 << 30,
            duration=SECONDS,
        )
    assert len(reports) > 1 and reports == sorted(reports)
    assert 0 <= reports[0] < reports[-1] <= 1


def test_a_run_without_an_observer_reports_nothing(tmp_path: Path) -> None:
    reports: list[float] = []
    out = str(tmp_path / "out.wav")
    made = ["-f", "lavfi", "-i", "sine=d=1", out]
    ffmpeg.run(made, "making a tone", a_machine(), 20, duration=Fraction(1))
    with reporting_to(reports.append):
        ffmpeg.run(made, "making a tone", a_machine(), 20)
        with pytest.raises(MediaRefusedError):
            ffmpeg.run(
                ["-f", "nut", "-i", out, out],
                "reading a tone",
                a_machine(),
                20,
                duration=Fraction(1),
            )
    assert not reports
