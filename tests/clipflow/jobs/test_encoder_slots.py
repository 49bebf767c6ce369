"""The number of encoders is bounded for the whole machine, across processes and after kills."""

import os
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from clipflow.machine import Machine, encoder_slot
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import FFMPEG, make_source

MAKES_TWO_SEGMENTS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from clipflow.jobs.segment import SegmentPlan, make_segment, open_source
from clipflow.machine import Machine
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_source
from clipflow.media.window import Span
from clipflow.storage.objects import object_store

key, scratch, ffmpeg, process = sys.argv[1:]
objects = object_store()
head = objects.head(key)
probe = probe_source(open_source(head, objects))
machine = Machine(Path(scratch), ffmpeg, encoders=2)

def make(number):
    span = Span(Fraction(number), Fraction(2 * number + 3))
    target = f"{key}.{process}.{number}.mp4"
    make_segment(SegmentPlan(target, head, probe, span, common_format([probe])), objects, machine)

with ThreadPoolExecutor(2) as threads:
    list(threads.map(make, range(2)))
"""
HOLDS_A_SLOT = """
import sys, time
from pathlib import Path
from clipflow.machine import Machine, encoder_slot
with encoder_slot(Machine(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def counted_ffmpeg(tmp_path: Path) -> tuple[Path, Path]:
    """An ffmpeg that logs its starts and ends, and the log."""
    log, path = tmp_path / "encoders.log", tmp_path / "ffmpeg"
    lines = f"echo 1 >> {log}\n'{FFMPEG}' \"$@\"\nstatus=$?\necho -1 >> {log}\nexit $status\n"
    path.write_text(f"#!/bin/sh\n{lines}")
    path.chmod(0o755)
    return path, log


@pytest.mark.slow
def test_four_processes_together_run_no_more_encoders_than_the_machine_allows(
    cutter: Cutter, tmp_path: Path, counted_ffmpeg: tuple[Path, Path]
) -> None:
    ffmpeg, log = counted_ffmpeg
    head = cutter.put(make_source(tmp_path / "s.mp4", seconds=6, sound=("-c:a", "aac")))
    scratch = tmp_path / "scratch"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKES_TWO_SEGMENTS, head.key, scratch, ffmpeg, str(number)],
            env=os.environ,
        )
        for number in range(4)
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    changes = [int(line) for line in log.read_text().split()]
    running = list(accumulate(changes))
    # Each of the eight segments takes several runs of ffmpeg, and both slots must be used.
    assert len(changes) >= 2 * 8
    assert max(running) == 2
    assert running[-1] == 0


@pytest.mark.timeout(60)
def test_a_slot_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS_A_SLOT, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with encoder_slot(Machine(tmp_path)):
        pass
