"""Error messages of `clipflow`, as text and as JSON, on a machine without a running stack."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

from deployments.command.output import Output
from tests.command.cli import CompletedCommand, run_clipflow
from tests.made_media import make_source
from tests.programs import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two seconds."""
    return make_source(
        tmp_path_factory.mktemp("talk") / "talk.mp4", seconds=2, sound=("-c:a", "aac")
    )


def only_stderr_line(ended: CompletedCommand) -> str:
    """The output to stderr, which must be exactly one line."""
    [line] = ended.stderr.splitlines()
    return line


def environment_without_stack(folder: Path) -> dict[str, str]:
    """Environment variables with a home and a port at which no stack runs."""
    return {"CLIPFLOW_PREFECT_PORT": str(free_port()), "CLIPFLOW_HOME": str(folder / "home")}


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    for command in (("shorts",), ("clips", "--cut", "0-1")):
        ended = run_clipflow(*command, "nope.mp4", folder=tmp_path)
        assert ended.returncode == 2
        assert "'nope.mp4' does not exist" in only_stderr_line(ended)
        assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cut", "5-2"), "ends before it starts"),
        (("--cut", "soon"), "is not START-END"),
        (("--cut", "1:99-2:00"), "is not a time"),
        ((), "Give VIDEO and --cut, or --tenant and"),
        (("--cut", "0-1", "--tenant", "t"), "Give VIDEO and --cut, or --tenant and"),
    ],
)
def test_invalid_clip_spans_are_a_usage_error(
    arguments: tuple[str, ...], message: str, talk: Path
) -> None:
    ended = run_clipflow("clips", talk.name, *arguments, folder=talk.parent)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shorts", "missing.mp4"), "'missing.mp4' does not exist"),
        (("shorts",), "Missing argument 'VIDEO'"),
        (("shorts", "talk.mp4", "--count", "0"), "equal to 1"),
        (("clips", "talk.mp4", "--cut", "5"), "is not START-END"),
        (("clips", "talk.mp4"), "Give VIDEO and --cut"),
        (("status", "--soon"), "No such option: --soon"),
        (("shrts",), "Did you mean 'shorts'?"),
    ],
)
def test_usage_errors_are_available_as_json(
    arguments: tuple[str, ...], message: str, talk: Path
) -> None:
    ended = run_clipflow(*arguments, "--json", folder=talk.parent)
    error = json.loads(ended.stdout)["error"]
    assert error["exit"] == ended.returncode == 2
    assert message in error["message"]
    assert re.fullmatch(r"See `clipflow( [a-z]+)? --help`\.", error["remedy"])
    assert only_stderr_line(ended) == f"{error['message']} {error['remedy']}"


@pytest.mark.parametrize("command", [("shorts",), ("clips", "--cut", "0-1")])
def test_file_errors_are_reported_before_a_stack_is_started(
    command: tuple[str, ...], talk: Path, tmp_path: Path
) -> None:
    (tmp_path / "talk.m3u8").write_text("#EXTM3U\n#EXTINF:2,\ntalk.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "notes.mp4").write_text("no video\n" * 100)
    os.mkfifo(tmp_path / "pipe.mp4")
    for arguments, code, message in (
        (("talk.m3u8",), 2, "talk.m3u8 is an HLS playlist"),
        (("notes.mp4",), 1, "notes.mp4 cannot be read"),
        (("pipe.mp4",), 2, "pipe.mp4 is a pipe or a device"),
        (("https://example.com/talk.mp4",), 2, "'https://example.com/talk.mp4' is an address"),
        ((".",), 2, "is a directory"),
        ((talk, "--out", "notes.mp4/out"), 2, "notes.mp4/out cannot be written: Not a directory."),
    ):
        ended = run_clipflow(
            *command, *arguments, folder=tmp_path, env=environment_without_stack(tmp_path)
        )
        assert (ended.returncode, ended.stdout) == (code, "")
        assert message in only_stderr_line(ended)


def test_an_invalid_result_name_is_reported_before_a_stack_is_started(
    talk: Path, tmp_path: Path
) -> None:
    long = tmp_path / f"{'語' * 83}.mp4"
    long.symlink_to(talk)
    ended = run_clipflow(
        "shorts",
        long.name,
        "--count",
        "10",
        folder=tmp_path,
        env=environment_without_stack(tmp_path),
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is too long for a file name: it has 256 bytes" in only_stderr_line(ended)


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    ended = run_clipflow(folder=tmp_path)
    assert ended.returncode == 2
    assert "Examples" in ended.stdout + ended.stderr


def test_without_a_stack_status_and_open_say_how_to_start_one(tmp_path: Path) -> None:
    for command in ("status", "open"):
        ended = run_clipflow(command, folder=tmp_path, env=environment_without_stack(tmp_path))
        assert ended.returncode == 3
        assert "`make up`" in only_stderr_line(ended)
        assert ended.stdout == ""


def test_errors_are_available_as_json(tmp_path: Path) -> None:
    ended = run_clipflow(
        "status", "--json", folder=tmp_path, env=environment_without_stack(tmp_path)
    )
    error = json.loads(ended.stdout)["error"]
    assert error["exit"] == ended.returncode == 3
    assert only_stderr_line(ended) == f"{error['message']} {error['remedy']}"


def test_an_unreachable_prefect_server_is_named_without_its_password(talk: Path) -> None:
    url = f"http://user:secret@127.0.0.1:{free_port()}/api"
    env = {"PREFECT_API_URL": url, "TABLE_NAME": "t", "BUCKET_NAME": "b"}
    for debug in ((), ("--debug",)):
        ended = run_clipflow("shorts", talk.name, *debug, folder=talk.parent, env=env)
        assert ended.returncode == 3
        assert "No Prefect server answers at http://127.0.0.1" in ended.stderr
        assert "secret" not in ended.stderr
        assert ("Traceback" in ended.stderr) == bool(debug)


def test_a_missing_setting_is_a_usage_error(talk: Path) -> None:
    env = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    ended = run_clipflow("clips", talk.name, "--cut", "0-1", folder=talk.parent, env=env)
    assert ended.returncode == 2
    assert "TABLE_NAME" in only_stderr_line(ended)


def test_a_local_stack_that_does_not_start_reports_why(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder is to be")
    ended = run_clipflow(
        "shorts", talk.name, folder=talk.parent, env=environment_without_stack(tmp_path)
    )
    assert ended.returncode == 3
    assert "does not come up" in only_stderr_line(ended)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        env = {"CLIPFLOW_HOME": str(tmp_path / "free"), "CLIPFLOW_AWS_PORT": str(port)}
        env |= {"CLIPFLOW_PREFECT_PORT": str(free_port())}
        ended = run_clipflow("shorts", talk.name, folder=talk.parent, env=env)
    assert ended.returncode == 3
    assert f"port {port} is taken" in only_stderr_line(ended)


def test_an_open_page_needs_no_stack(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "talk.html").write_text("<!doctype html>")
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    env = {**environment_without_stack(tmp_path), "BROWSER": f"{browser} %s"}
    for name in ((), ("talk",)):
        ended = run_clipflow("open", *name, folder=tmp_path, env=env)
        assert ended.returncode == 0, ended.stderr
        address = (out / "talk.html").as_uri()
        assert (tmp_path / "opened").read_text().strip() == address
        (tmp_path / "opened").unlink()
    ended = run_clipflow("open", folder=tmp_path, env={**env, "BROWSER": "false"})
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, address)
    assert "open the address yourself" in ended.stdout


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_keeps_names_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    env = {"PYTHONIOENCODING": encoding}
    ended = run_clipflow("shorts", "Gespräch ✓.mp4", "--json", folder=tmp_path, env=env)
    assert "'Gespräch ✓.mp4'" in json.loads(ended.stdout)["error"]["message"]


def test_json_keeps_a_name_that_is_not_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.document["file"] = os.fsdecode(b"talk \xff.mp4")
    output.write_document()
    assert json.loads(capsys.readouterr().out)["file"] == os.fsdecode(b"talk \xff.mp4")


def test_output_of_a_text_browser_is_not_in_the_json(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.html").write_text("<!doctype html>")
    env = {**environment_without_stack(tmp_path), "BROWSER": "echo seen %s"}
    ended = run_clipflow("open", "--json", folder=tmp_path, env=env)
    document = json.loads(ended.stdout)
    assert document["opened"] is True
    assert f"seen {document['address']}" in ended.stderr
