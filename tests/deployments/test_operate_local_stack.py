"""The commands behind `make` on the local stack."""

import re
from typing import Any

import pytest

from deployments.local_stack import RunningStack
from tests.deployments.test_operate import run_command, run_refused_verb, run_verb
from tests.programs import eventually

pytestmark = pytest.mark.slow


def test_a_local_stack_is_operated_with_the_same_commands(stack: RunningStack) -> None:
    # As in a shell on a machine where `make up` runs: no variable names AWS or Prefect.
    env = stack.settings.as_environment()
    arguments = {"TENANT_ID": "tenant-1", "EPISODE_ID": "episode-of-operate"}
    event = make(env, "run-clips", **arguments)
    assert re.search(r"Event [0-9a-f-]{36}", event)

    started = make(env, "run-shorts", USER_ID="user-1", VIDEO_ID="video-of-operate")
    run = re.search(rf"Run (\S+): {stack.settings.prefect_url}/runs/flow-run/\1", started)
    assert run, started
    # The video does not exist, so the run is short. The name of the run of mark-failed that follows
    # contains this run's id, too.
    line = f"generate-shorts/video-of-operate  {run[1]}"
    eventually(lambda: "ReadConfigFailed" in line_with(run_verb(env, "runs"), line))
    assert "begin-clip-generation" in run_verb(env, "runs")
    assert "shorts_config.json" in run_verb(env, "logs", "--run", run[1])
    assert "shorts_config.json" in run_verb(env, "logs", "--run", "video-of-operate")
    assert "prefect" in run_verb(env, "logs")

    status_output = run_verb(env, "status")
    assert "clipflow-data  CREATE_COMPLETE" in status_output
    assert re.search(
        r"clipflow-orchestrate  process, ready, [1-9]\d* workers online", status_output
    )
    assert re.search(r"clipflow-events-dlq  \d+ waiting, 0 in flight", status_output)
    assert "failed" in status_output


def test_an_invalid_id_is_rejected_before_an_event_is_sent(stack: RunningStack) -> None:
    env = {**stack.settings.as_environment(), "TENANT_ID": "a/b", "EPISODE_ID": "e"}
    assert "tenantId: an identifier is 1 to 128" in run_refused_verb(env, "run-clips")
    assert "There is no run nobody" in run_refused_verb(
        stack.settings.as_environment(), "logs", "--run", "nobody"
    )


def make(env: dict[str, str], target: str, **arguments: str) -> str:
    """The output of `make`, without its installation step, as this environment is installed."""
    given = [f"{name}={value}" for name, value in arguments.items()]
    process = run_command(env, "make", "--old-file=.venv/.installed", target, *given)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def line_with(output: str, word: str) -> Any:
    """The first line of the output that contains `word`."""
    return next(line for line in output.splitlines() if word in line)
