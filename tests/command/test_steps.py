"""The steps of a run: how they are read from Prefect, and displayed in a terminal and in a pipe."""

import io
from uuid import uuid4

import pytest
from prefect import flow, get_client, task
from prefect.artifacts import create_progress_artifact
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from deployments.command.follow import step_printer
from deployments.command.prefect_api import Step, steps_of
from tests.programs import PrefectServer, eventually


def step(name: str, state: StateType, progress: float | None = None) -> Step:
    """A step of a run of its own."""
    return Step(uuid4(), uuid4(), name, state, progress)


@task
def upload() -> None:
    """Do nothing."""


@task
def transcribe() -> None:
    create_progress_artifact(42.0, key="transcribe")


@flow
def child() -> None:
    transcribe()


@flow
def parent() -> None:
    upload()
    child()


@pytest.mark.slow
def test_steps_of_a_run_include_those_of_its_children_with_progress(
    prefect_server: PrefectServer,
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        run_id = parent(return_state=True).state_details.flow_run_id
        assert run_id
        with get_client(sync_client=True) as client:
            # Task runs reach the server as events, a moment after they ended.
            eventually(lambda: sum(s.is_over for s in steps_of(client, [run_id])) == 2)
            steps = steps_of(client, [run_id])
    assert [(s.name.rpartition("-")[0], s.progress) for s in steps] == [
        ("upload", None),
        ("transcribe", 42.0),
    ]
    assert all(s.run_id == run_id for s in steps)


def test_a_pipe_gets_a_plain_line_when_a_step_ends() -> None:
    console = Console(file=io.StringIO(), width=60)
    made, running = step("transcribe " * 10, StateType.COMPLETED), step("cut", StateType.RUNNING)
    failed = step("render 1", StateType.FAILED)
    with step_printer(console) as printer:
        printer.update([made, running], {})
        printer.update([made, running, failed], {})
    assert isinstance(console.file, io.StringIO)
    first, second = console.file.getvalue().splitlines()
    assert first.split(" s  ")[1] == f"✓ {made.name}"
    assert second.endswith("✗ render 1")


def test_a_narrow_terminal_gets_a_bar_for_steps_with_progress() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    running = [
        step("transcribe", StateType.RUNNING, 42),
        step("look for the finished clip " * 4, StateType.RUNNING),
    ]
    with step_printer(console) as printer:
        printer.update(running, {})
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().replace("\r", "\n").splitlines()
    bar = [line for line in lines if "transcribe" in line][-1]
    assert "━" in bar and "42%" in bar
    assert any("finished clip" in line and "…" in line and "━" not in line for line in lines)


def test_steps_of_several_runs_are_labelled_with_their_run() -> None:
    console = Console(file=io.StringIO())
    one = step("stitch", StateType.COMPLETED)
    with step_printer(console) as printer:
        printer.update([one], {one.run_id: "best-moments"})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().endswith("✓ best-moments: stitch\n")
