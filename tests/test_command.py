"""`clipflow shorts` with a video file of the user, run against the whole local stack."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from deployments.local_stack import RunningStack
from tests.command.cli import run_clipflow
from tests.flows.warehouse import subtitles
from tests.made_media import make_source
from tests.programs import ROOT, eventually

pytestmark = [pytest.mark.slow]

SAMPLE = ROOT / "demo" / "sample" / "main.mp4"


def command(stack: RunningStack, folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.command", *map(str, arguments)],
        env={**os.environ, **stack.env, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A background shell ignores SIGINT, and child processes would inherit this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        text=True,
    )


def records(stack: RunningStack) -> list[dict[str, Any]]:
    table = stack.resource("dynamodb").Table("clipflow-records")
    return [item for item in table.scan()["Items"] if item["sk"] == "shorts"]


def test_a_user_gets_shorts_of_a_file(stack: RunningStack, tmp_path: Path) -> None:
    talk = make_source(tmp_path / "my talk, day 1.mp4", seconds=25, sound=("-c:a", "aac"))
    (tmp_path / "talk.srt").write_text(subtitles())
    options = ("--count", 2, "--seconds", 6, "--subtitles", "talk.srt", "--layout", "blur")
    running = command(stack, tmp_path, "shorts", talk.name, *options)
    output, _ = running.communicate(timeout=180)
    assert running.returncode == 0, output
    assert "render 1" in output
    assert "2 of 2 shorts made" in output
    for name in ("my talk, day 1-1.mp4", "my talk, day 1-2.mp4"):
        assert f"out/{name}" in output
        with av.open(str(tmp_path / "out" / name)) as container:
            assert container.streams.video[0].height == 1920
    # A second run uploads and renders nothing, and has the same result.
    again = command(stack, tmp_path, "shorts", talk.name, *options)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    # `open` shows the existing results page and does not create a second copy of it.
    [job] = json.loads(
        run_clipflow("status", "--count", 1, "--json", folder=tmp_path, env=stack.env).stdout
    )["jobs"]
    opened = run_clipflow("open", job["id"], folder=tmp_path, env={**stack.env, "BROWSER": "false"})
    assert opened.stdout.splitlines()[0] == (tmp_path / "out" / "my talk, day 1.html").as_uri()
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    files = {f"my talk, day 1-{n}.{kind}" for n in (1, 2) for kind in ("mp4", "jpg")}
    assert names == {*files, "my talk, day 1.html"}


def test_too_little_speech_is_reported_without_mentioning_the_bucket(
    stack: RunningStack, tmp_path: Path
) -> None:
    make_source(tmp_path / "talk.mp4", seconds=61, sound=("-c:a", "aac"))
    (tmp_path / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:06,000\nOne short remark.\n")
    running = command(stack, tmp_path, "shorts", "talk.mp4", "--subtitles", "talk.srt")
    output, _ = running.communicate(timeout=180)
    assert running.returncode == 1, output
    assert "makes a moment of about 60 s. Request shorter ones" in output
    assert "original" not in output


def test_a_file_that_is_not_a_video_is_rejected_before_upload(
    stack: RunningStack, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_text("no video\n" * 100)
    running = command(stack, tmp_path, "shorts", "notes.mp4")
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "notes.mp4 cannot be read" in output
    assert "Traceback" not in output


def test_ctrl_c_cancels_the_run(stack: RunningStack, tmp_path: Path) -> None:
    with command(stack, tmp_path, "shorts", SAMPLE, "--count", 3, "--seconds", 15) as running:
        assert running.stdout
        while "Set In Progress" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        output = running.stdout.read()
    assert running.returncode == 130, output
    assert "Cancelling" in output
    assert "Traceback" not in output
    [record] = [r for r in records(stack) if r["pk"].startswith("local#main-")]
    url = f"{stack.env['PREFECT_API_URL']}/flow_runs/{record['flowRunId']}"
    assert httpx.get(url).json()["state_type"] == "CANCELLED"
    eventually(lambda: record_of(stack, record)["status"] == "Generation Failed")
    assert record_of(stack, record)["processingError"]["code"] == "CANCELLED"
    assert not list((stack.settings.home / "scratch").glob("clipflow-*/sound*"))


def record_of(stack: RunningStack, record: dict[str, Any]) -> dict[str, Any]:
    [item] = [r for r in records(stack) if r["pk"] == record["pk"]]
    return item
