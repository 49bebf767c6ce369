"""`clipflow shorts --edits` and `clipflow edit` with a running local stack."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clipflow.domain.clips import ClipStatus
from clipflow.domain.keys import ShortsKeys
from deployments.local_stack import RunningStack
from tests.command.cli import run_clipflow
from tests.flows.warehouse import subtitles
from tests.made_media import make_source
from tests.programs import eventually

pytestmark = [pytest.mark.slow]

OPTIONS = ("--count", 2, "--seconds", 6, "--aspect", "1:1", "--layout", "fit")


def test_shorts_are_edited_by_a_file_and_by_options(stack: RunningStack, tmp_path: Path) -> None:
    # The id of a video is derived from its content, so each test of this stack has another video.
    make_source(tmp_path / "talk.mp4", seconds=25, size=(336, 188), sound=("-c:a", "aac"))
    (tmp_path / "talk.srt").write_text(subtitles())
    (tmp_path / "bad.json").write_text('{"shorts": {"m1-2": {"title": 7}}}')
    (tmp_path / "edits.json").write_text('{"replacements": {"clip": "Zanzibar"}}')
    shorts = ("shorts", "talk.mp4", "--subtitles", "talk.srt", *OPTIONS, "--json")

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        ended = run_clipflow(*arguments, folder=tmp_path, env=stack.env)
        assert ended.returncode == code, ended.stderr
        return dict(json.loads(ended.stdout))

    error_document = run(*shorts, "--edits", "bad.json", code=2)["error"]
    assert "bad.json is not valid: shorts.m1-2.title" in error_document["message"]
    made = run(*shorts, "--edits", "edits.json")
    assert made["error"] is None
    name, prefix = made["name"], f"klippers_warehouse/local/{made['name']}"
    client = stack.client("s3")

    def text(key: str) -> str:
        body = client.get_object(Bucket="clipflow-media", Key=f"{prefix}/{key}")["Body"]
        return str(body.read().decode())

    texts = [text(f"important-segment-videos/segment_{n}.srt") for n in (1, 2)]
    assert "Zanzibar" in "".join(texts)
    assert not any(" clip " in srt for srt in texts)

    def video() -> tuple[str, object]:
        key = f"{prefix}/videos-cropped-stacked/segment_2_cropped_stacked.mp4"
        head = client.head_object(Bucket="clipflow-media", Key=key)
        return head["ETag"], head["LastModified"]

    before = video()
    edited = run("edit", name, "--title", "2=Another", "--refuse", 1, "--trim", "2=0,-1", "--json")
    assert [moment["decision"] for moment in edited["moments"]] == ["refused", None]
    assert edited["moments"][1]["title"] == "Another"
    assert edited["edits"]["replacements"] == {"clip": "Zanzibar"}
    assert (edited["stale"], edited["job"], edited["name"]) == ([], "edit", name)
    # Nothing is rendered before `--render` is given.
    assert video() == before
    rendered = run("edit", name, "--render", "--json")
    assert video() != before
    [short] = rendered["shorts"]
    assert short["file"] == "out/talk-2.mp4"
    assert (short["index"], short["title"]) == (2, "Another")
    assert short["end"] == edited["moments"][1]["end"] < made["shorts"][1]["end"]
    assert rendered["message"] == "1 of 2 shorts made, 1 refused."
    # An edit that is stored while another run is making the shorts is in the record, too.
    record = stack.resource("dynamodb").Table(stack.env["TABLE_NAME"])
    key = ShortsKeys("local", name, "klippers_warehouse").record
    with ThreadPoolExecutor() as others:
        other = others.submit(run, *shorts, "--force", "--out", "other")
        eventually(lambda: record.get_item(Key=key)["Item"]["status"] == ClipStatus.IN_PROGRESS)
        renamed = run("edit", name, "--title", "2=Third", "--render", "--json")
        assert [short["title"] for short in renamed["shorts"]] == ["Third"]
        assert other.result()["runId"] != renamed["runId"]
    assert (
        "There is no short 9"
        in run("edit", name, "--approve", 9, "--json", code=2)["error"]["message"]
    )
