"""The smallest run of the suite, and the correctness of its measurements."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

from benchmarks.measure import Cost, Finding, cost, middle
from benchmarks.reading import packet_bytes
from benchmarks.rendering import likeness
from benchmarks.report import as_json
from benchmarks.warehouse import warehouse
from clipflow.media.ffmpeg import executable
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
    with warehouse(tmp_path / "objects") as stock:
        stock.link(source, "a/source")
        head = stock.objects.head("a/source")
        assert head and head.size == 250_000
        answer = httpx.get(stock.objects.url("a/source"), headers={"Range": "bytes=1000-1999"})
        assert answer.status_code == 206 and answer.content == bytes(range(250)) * 4
        assert stock.bytes_read("a/source") == 1000
        assert stock.bytes_read("a/source") == 0


@pytest.mark.slow
def test_an_object_in_parts_comes_back_whole(tmp_path: Path) -> None:
    path, back = tmp_path / "large", tmp_path / "back"
    path.write_bytes(bytes(range(256)) * (80 << 10))
    with warehouse(tmp_path / "objects") as stock:
        stock.objects.upload(path, "large", {"made-from": "this"})
        head = stock.objects.head("large")
        assert head and head.metadata == {"made-from": "this"}
        stock.objects.download("large", back)
    assert back.read_bytes() == path.read_bytes()


def test_a_segment_owns_the_packets_shown_in_it(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mp4", seconds=8, sound=("-c:a", "aac"))
    halves = [Span(Fraction(0), Fraction(4)), Span(Fraction(4), Fraction(8))]
    both = packet_bytes(source, Span(Fraction(0), Fraction(8)))
    assert sum(packet_bytes(source, half) for half in halves) == both
    assert source.stat().st_size * 0.8 < both < source.stat().st_size


@pytest.mark.slow
def test_a_picture_equals_itself_in_any_time_base(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source.mp4", seconds=2, rate=30, sound=None)
    other = tmp_path / "other.mp4"
    copy = [executable(), "-v", "error", "-i", str(source), "-c", "copy"]
    subprocess.run([*copy, "-video_track_timescale", "90000", str(other)], check=True)
    assert likeness(other, source).ssim == 1


def test_cpu_time_of_child_processes_is_counted() -> None:
    busy = "sum(range(4_000_000))"
    assert cost(lambda: subprocess.run([sys.executable, "-c", busy], check=True)).processor > 0.02


def test_the_median_of_each_number_counts() -> None:
    assert middle([Cost(1, 9), Cost(2, 7), Cost(5, 8)]) == Cost(2, 8)


def test_a_smaller_number_at_a_lower_quality_misses_the_target() -> None:
    finding = Finding("render/vs-four-encodes", 0.1, 0.2, "ours", holds=False)
    assert finding.missed
    assert json.loads(as_json([finding]))[0]["detail"] == "ours (at a lower quality)"
