"""The benchmarks: a run of the smallest one, and the functions that measure."""

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

from benchmarks.measure import Cost, Finding, cost, median_cost
from benchmarks.reading import packet_bytes
from benchmarks.rendering import similarity
from benchmarks.report import as_json
from benchmarks.warehouse import warehouse
from clipflow.media.ffmpeg import executable
from clipflow.media.isolation import isolated
from clipflow.media.window import Span
from tests.made_media import make_source
from tests.programs import ROOT


@pytest.mark.slow
def test_the_smallest_run_reports_its_findings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "drift"]
    folders = ["--folder", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [found] = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert found["name"] == "drift/ten-joins-ms" and found["ratio"] <= found["target"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bytes_are_counted_as_they_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(250)) * 1000)
    with warehouse(tmp_path / "objects") as bucket:
        bucket.link(source, "a/source")
        head = bucket.objects.head("a/source")
        assert head and head.size == 250_000
        answer = httpx.get(bucket.objects.url("a/source"), headers={"Range": "bytes=1000-1999"})
        assert answer.status_code == 206 and answer.content == bytes(range(250)) * 4
        assert bucket.bytes_read("a/source") == 1000
        assert bucket.bytes_read("a/source") == 0


@pytest.mark.slow
def test_a_multipart_upload_is_downloaded_unchanged(tmp_path: Path) -> None:
    path, back = tmp_path / "large", tmp_path / "back"
    path.write_bytes(bytes(range(256)) * (80 << 10))
    with warehouse(tmp_path / "objects") as bucket:
        bucket.objects.upload(path, "large", {"made-from": "this"})
        head = bucket.objects.head("large")
        assert head and head.metadata == {"made-from": "this"}
        bucket.objects.download("large", back)
    assert back.read_bytes() == path.read_bytes()


def test_packets_of_adjacent_spans_add_up(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mp4", seconds=8, sound=("-c:a", "aac"))
    halves = [Span(Fraction(0), Fraction(4)), Span(Fraction(4), Fraction(8))]
    both = packet_bytes(source, Span(Fraction(0), Fraction(8)))
    assert sum(packet_bytes(source, half) for half in halves) == both
    assert source.stat().st_size * 0.8 < both < source.stat().st_size


@pytest.mark.slow
def test_a_video_is_identical_to_a_copy_with_another_time_base(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mp4", seconds=2, rate=30, sound=None)
    other = tmp_path / "other.mp4"
    copy = [executable(), "-v", "error", "-i", str(source), "-c", "copy"]
    subprocess.run([*copy, "-video_track_timescale", "90000", str(other)], check=True)
    assert similarity(other, source).ssim == 1


def test_cpu_time_of_child_processes_is_counted() -> None:
    busy = "sum(range(4_000_000))"
    assert cost(lambda: subprocess.run([sys.executable, "-c", busy], check=True)).cpu > 0.02


def _work(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_time_of_isolated_calls_is_counted() -> None:
    assert cost(lambda: isolated("source", _work, 0.3)).cpu >= 0.3


def test_medians_of_cpu_and_wall_time_are_independent() -> None:
    assert median_cost([Cost(1, 9), Cost(2, 7), Cost(5, 8)]) == Cost(2, 8)


def test_a_lower_cost_at_a_lower_quality_misses_the_target() -> None:
    finding = Finding("render/vs-four-encodes", 0.1, 0.2, "ours", holds=False)
    assert finding.missed
    assert json.loads(as_json([finding]))[0]["detail"] == "ours (at a lower quality)"
