"""`clipflow clips`, `status` and `open` with a running local stack, as text and as JSON."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import httpx
import pytest

from clipflow.domain.keys import ClipKeys
from deployments.local_stack import RunningStack
from tests.command.cli import CLIPFLOW, run_clipflow, run_in_terminal
from tests.made_media import frame_numbers, make_source
from tests.programs import eventually

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of eight seconds; its name and its folder's name have a space."""
    path = tmp_path_factory.mktemp("my talks") / "my talk.mp4"
    return make_source(path, seconds=8, sound=("-c:a", "aac"))


@pytest.fixture(scope="module")
def made(stack: RunningStack, talk: Path) -> dict[str, Any]:
    """The JSON of a clip that was made of two spans, the later one first."""
    ended = run_clipflow(
        *("clips", talk.name, "--cut", "00:05-00:06", "--cut", "1.52-2", "--json"),
        folder=talk.parent,
        env=stack.env,
    )
    assert ended.returncode == 0, ended.stderr
    assert "✓ extract 1" in ended.stderr
    document = json.loads(ended.stdout)
    assert document["error"] is None
    [clip] = document["clips"]
    return dict(clip)


def put_episode(stack: RunningStack, talk: Path, clips: Mapping[str, tuple[int, int]]) -> str:
    """Store an episode of tenant `t` as a detector writes it, with the span of each clip."""
    episode = f"episode-{uuid4().hex[:8]}"
    stack.client("s3").upload_file(str(talk), "clipflow-media", f"{episode}/tracks/main.mp4")
    table = stack.resource("dynamodb").Table("clipflow-records")
    for clip, (start, end) in clips.items():
        record = {"status": "detected", "segments": [{"startTime": start, "endTime": end}]}
        table.put_item(Item={**ClipKeys("t", episode, clip).record, **record})
    return episode


def test_a_clip_of_a_file_has_its_spans_in_the_order_given(
    made: dict[str, Any], talk: Path
) -> None:
    assert made["clipId"] == "my-talk-5-6_1.52-2"
    assert frame_numbers(talk.parent / made["file"]) == [*range(125, 150), *range(38, 50)]
    assert made["duration"] == "00:00:01"


def test_the_page_beside_a_clip_plays_that_clip(made: dict[str, Any], talk: Path) -> None:
    page = talk.parent / made["page"]
    sources = re.findall(r'<video[^>]* src="([^"]+)"', page.read_text())
    assert [page.parent / source for source in sources] == [talk.parent / made["file"]]


def test_status_lists_recent_jobs_one_per_line(
    made: dict[str, Any], stack: RunningStack, tmp_path: Path
) -> None:
    ended = run_clipflow("status", folder=tmp_path, env=stack.env)
    assert (ended.returncode, ended.stderr) == (0, "")
    [line] = [line for line in ended.stdout.splitlines() if made["clipId"] in line]
    id, job, _, state, steps, age, failure = line.split("\t")
    assert (job, state, failure) == ("clip", "Completed", "")
    assert made["runId"].startswith(id)
    done, of = map(int, steps.split("/"))
    assert done == of > 4
    assert re.fullmatch(r"\d+ (s|min)", age)


def test_status_of_one_job_shows_its_history(
    made: dict[str, Any], stack: RunningStack, tmp_path: Path
) -> None:
    for id in (made["runId"][:8], made["clipId"]):
        ended = run_clipflow("status", id, "--json", folder=tmp_path, env=stack.env)
        document = json.loads(ended.stdout)
        history = [entry["status"] for entry in document["history"]]
        assert history == ["Generation in Progress", "Generation Complete"]
        assert document["runId"] == made["runId"]
    ended = run_clipflow("status", "nobody", folder=tmp_path, env=stack.env)
    assert ended.returncode == 2
    assert ended.stderr == "There is no job nobody. `clipflow status` lists the last ones.\n"


def test_open_downloads_the_page_of_a_job_from_another_folder(
    made: dict[str, Any], stack: RunningStack, tmp_path: Path
) -> None:
    env = {**stack.env, "BROWSER": "false"}
    ended = run_clipflow("open", made["runId"][:8], "--json", folder=tmp_path, env=env)
    page = tmp_path / "out" / f"{made['clipId']}.html"
    assert json.loads(ended.stdout)["address"] == page.as_uri()
    with av.open(str(page.with_suffix(".mp4"))) as container:
        assert container.streams.video[0].frames == 37
    ended = run_clipflow("open", made["clipId"], "--run", folder=tmp_path, env=env)
    assert ended.stdout.splitlines()[0].endswith(f"/runs/flow-run/{made['runId']}")


def test_failed_clips_of_an_episode_are_named_and_others_downloaded(
    stack: RunningStack, talk: Path, tmp_path: Path
) -> None:
    good, bad = f"good-{uuid4().hex[:6]}", f"bad-{uuid4().hex[:6]}"
    episode = put_episode(stack, talk, {good: (0, 1), bad: (5, 60)})
    arguments = ("clips", "--tenant", "t", "--episode", episode)
    code, screen, document = run_in_terminal(
        *arguments, "--json", folder=tmp_path, env=stack.env, columns=60
    )
    document = json.loads(document)
    assert code == document["error"]["exit"] == 1
    clips = {clip["clipId"]: clip for clip in document["clips"]}
    assert (tmp_path / clips[good]["file"]).exists()
    assert "ends past" in clips[bad]["failure"]
    assert clips[bad]["file"] is None
    assert f"{good}: stitch" in screen
    assert "\x1b[" in screen
    assert "Traceback" not in screen
    [line] = document["error"]["message"].splitlines()
    assert line == f"{bad}: {clips[bad]['failure']}"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert line in " ".join(shown.split())
    ended = run_clipflow("status", bad, folder=tmp_path, env=stack.env)
    assert ended.stdout.splitlines()[-1] == clips[bad]["failure"]


def test_an_episode_without_due_clips_succeeds(stack: RunningStack, tmp_path: Path) -> None:
    arguments = ("clips", "--tenant", "t", "--episode", f"empty-{uuid4().hex[:6]}")
    ended = run_clipflow(*arguments, folder=tmp_path, env=stack.env)
    assert ended.returncode == 0
    assert "has no clip to make" in ended.stdout


def test_ctrl_c_cancels_a_clip_that_has_not_started(
    stack: RunningStack, talk: Path, tmp_path: Path
) -> None:
    name = f"never-{uuid4().hex[:6]}"
    command = [CLIPFLOW, "clips", str(talk), "--cut", "0-1", "--name", name]
    with subprocess.Popen(
        command,
        env={**os.environ, **stack.env},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        # A background shell ignores SIGINT, and child processes would inherit this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        assert running.stdout
        while "Requested" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        output = running.stdout.read()
    assert running.returncode == 130
    assert "Cancelling" in output

    def runs(flow: str) -> list[dict[str, Any]]:
        body = {"flows": {"name": {"any_": [flow]}}}
        address = f"{stack.env['PREFECT_API_URL']}/flow_runs/filter"
        return list(httpx.post(address, json=body, timeout=20).raise_for_status().json())

    def event_was_handled() -> bool:
        return any(
            run["state"]["type"] == "COMPLETED" and name in str(run["parameters"])
            for run in runs("begin-clip-generation")
        )

    # The run of the clip is cancelled, and its event, which is handled later, starts no other run.
    for _ in range(2):
        [run] = [run for run in runs("generate-clip") if run["name"] == name]
        assert run["state"]["name"] == "Cancelled"
        eventually(event_was_handled)
