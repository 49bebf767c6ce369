"""Every command of the README and the guides works: it is run here, by CI or a test, or parsed."""

import inspect
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from botocore import xform_name
from botocore.session import get_session

import benchmarks.__main__ as benchmarking
import benchmarks.simulation.__main__ as simulating
from deployments.command.__main__ import app
from deployments.local_stack import RunningStack
from deployments.local_stack.stack_settings import StackSettings, client_environment
from docs import make_settings
from flows.generate_clip import generate_clip
from flows.generate_shorts import generate_shorts
from tests import guides
from tests.guides import Command
from tests.programs import ROOT, eventually

# Patterns of commands that run in CI or in the named test.
CI = ".ci/run"
OPERATED = "tests/deployments/test_operate"
ON_ONE_MACHINE = f"{OPERATED}_local_stack.py::test_a_local_stack_is_operated_with_the_same_commands"
ACCOUNT = f"{OPERATED}.py::test_an_account_is_deployed_inspected_and_destroyed"
STARTED = (
    "tests/deployments/test_local_stack.py::test_a_second_start_resumes_the_state_of_the_first"
)
IMAGES = "tests/infra/test_images.py::test_the_installed_image_passes_its_health_check"
RUN_BY = {
    r"make (demo|test|lint|whisperx)": CI,
    r"make coverage": (
        "tests/test_gate.py::test_coverage_is_measured_for_the_tests_that_are_named"
    ),
    r"make test-fast": ("tests/test_gate.py::test_most_tests_are_fast_and_need_no_server"),
    r"make hooks": "tests/test_gate.py::test_the_hooks_run_what_make_lint_runs",
    r"make test TESTS=tests/flows": "tests/flows/test_generate_clip.py",
    r"make test-faults": "tests/faults/test_flood.py",
    r"make bench BENCH=\"--only scale\"": (
        "tests/benchmarks/test_simulation.py"
        "::test_scale_is_a_topic_of_the_benchmarks_and_needs_no_media"
    ),
    r"([A-Z_]+=\S+ )?make up": STARTED,
    r"make (status|runs|logs|run-clips|run-shorts)( [A-Z_]+=\S+)*": ON_ONE_MACHINE,
    r"make (deploy|destroy)( [A-Z_]+=\S+)*": ACCOUNT,
    r"make (image|push|image push)": IMAGES,
    r"make base": (
        "tests/infra/test_images.py"
        "::test_images_are_built_on_the_digest_that_the_first_build_records"
    ),
    r"make image-whisperx BUILD=.*": IMAGES,
}
# Commands of other programs, which are not checked.
FOREIGN = (
    r"git pull",
    r"git checkout v1",
    r"docker push \S+",
    r"cp us-east-1-bundle.pem \S+",
    r"aws cloudformation deploy .*",
    r"aws ecr get-login-password \| docker login .*",
    r"aws s3 (cp|rb) .*",
)
_AWS = re.compile(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)([^|;)]*)")
_OPTION = re.compile(r"\s--([a-z-]+)")
_OF_EVERY_AWS_COMMAND = {"query", "output", "region"}
# The folder of installed commands, as the guides write it.
_BIN = ".venv/bin/"


def parses_as_clipflow(line: str) -> None:
    """Check that the `clipflow` command accepts the options and their values."""
    name, *arguments = line.split("#")[0].split()[1:]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    for file in (word for word in arguments if re.fullmatch(r"\w+\.(mp4|srt)", word)):
        Path(file).touch()
    command.make_context(name, arguments)


def parses_as_benchmark(line: str) -> None:
    """Check that the parser of the benchmarks accepts the arguments."""
    module = simulating if "benchmarks.simulation" in line else benchmarking
    module.arguments().parse_args(line.split()[3:])


def parses_as_aws(line: str) -> None:
    """Check each AWS operation and its options against the service models of the SDK."""
    for service, operation, rest in _AWS.findall(line):
        model = get_session().get_service_model(service)
        known = {xform_name(name, "-"): name for name in model.operation_names}
        shape = model.operation_model(known[operation]).input_shape
        members = {xform_name(member, "-") for member in shape.members} if shape else set()
        assert set(_OPTION.findall(rest)) - _OF_EVERY_AWS_COMMAND <= members, line


def parses_as_prefect(line: str) -> None:
    """Check the parameters of a clipflow deployment, or that Prefect has the subcommand."""
    start = re.match(r"prefect deployment run ([\w-]+)/clipflow (.*)", line)
    if start:
        flow = next(flow for flow in (generate_clip, generate_shorts) if flow.name == start[1])
        given = re.findall(r"--param (\w+)=", start[2])
        assert given and set(given) <= set(inspect.signature(flow).parameters)
        return
    found = re.search(r"prefect (work-pool) ([a-z-]+)", line)
    assert found, line
    output = subprocess.run(
        [sys.executable, "-m", "prefect", *found.groups(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found[2] in output.stdout


def parses_as_export(line: str) -> None:
    """Check that each variable is a setting of clipflow, AWS or Prefect."""
    page = make_settings.PAGE.read_text()
    for name in re.findall(r"\b([A-Z][A-Z_]+)=", line):
        assert f"`{name}`" in page or name.startswith(("AWS_", "PREFECT_API_")), name
    parses_as_aws(line)


def parses_as_pytest(line: str) -> None:
    """Check that pytest collects a test with these arguments."""
    found = subprocess.run(
        [sys.executable, *line.split()[1:], "--collect-only", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert found.returncode == 0, found.stdout


PARSED: dict[str, Callable[[str], None]] = {
    r"python -m pytest .*": parses_as_pytest,
    r"clipflow \w+ ?.*": parses_as_clipflow,
    r"python -m benchmarks.*": parses_as_benchmark,
    r"prefect .*": parses_as_prefect,
    r"for pool in [a-z ]+; do prefect .*; done": parses_as_prefect,
    r"export .*": parses_as_export,
    r"(ecr|out|own)\(\) \{ aws .*; \}": parses_as_aws,
    r"aws .*": parses_as_aws,
}


@pytest.mark.parametrize("command", guides.commands(), ids=lambda one: f"{one.guide}: {one.line}")
def test_a_command_of_a_guide_works(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command is run by CI or a test, or parsed; an unknown command fails."""
    line = command.line.replace(_BIN, "")
    if any(re.fullmatch(pattern, line) for pattern in FOREIGN):
        return
    for pattern, by in RUN_BY.items():
        if re.fullmatch(pattern, line):
            assert_runs(by, line)
            return
    parse = next((p for pattern, p in PARSED.items() if re.fullmatch(pattern, line)), None)
    assert parse, "No test runs this command: add it to RUN_BY or PARSED."
    monkeypatch.chdir(tmp_path)
    parse(line)


def assert_runs(by: str, line: str) -> None:
    """Check that the CI script or test that is named for the line exists."""
    file, _, test = by.partition("::")
    text = (ROOT / file).read_text()
    in_ci = f"\nstep {line}" in text or f"\nor_alone {line}" in text
    assert in_ci if by == CI else f"def {test or 'test_'}" in text
    targets = re.findall(r"\bmake ([a-z-]+)(?: ([a-z-]+))?", line)
    assert {target for pair in targets for target in pair if target} <= make_targets()


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.findall(r"^VERBS := (.*)", makefile, re.MULTILINE)
    return {*re.findall(r"^([a-z-]+):", makefile, re.MULTILINE), *" ".join(verbs).split()}


def test_the_guide_exports_the_environment_of_make_up() -> None:
    ours = client_environment(StackSettings.model_construct())
    exported = [c.line for c in guides.commands() if c.guide == "clips.md" and "export" in c.line]
    exported_values = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(exported)))
    assert "AWS_ENDPOINT_URL" in exported_values and "PREFECT_API_URL" in exported_values
    assert exported_values == {name: ours[name] for name in exported_values}


@pytest.mark.slow
def test_make_and_the_command_show_help() -> None:
    assert "make up" in output_of(["make", "--no-print-directory", "help"], {})
    assert "shorts" in output_of(installed("clipflow --help"), {})


@pytest.mark.slow
def test_the_guide_to_clips_makes_a_clip(stack: RunningStack) -> None:
    run_program("clips.md", stack)
    table = stack.resource("dynamodb").Table(stack.env["TABLE_NAME"])

    def record() -> dict[str, Any]:
        return dict(table.get_item(Key={"pk": "me#episode-1", "sk": "clip#one"})["Item"])

    eventually(lambda: record()["status"] == "Generation Complete")
    assert record()["durationSeconds"] == Decimal("2.9")
    first = record()["flowRunId"]
    [again] = [c.line for c in guides.commands() if "generate-clip/clipflow" in c.line]
    assert "Created flow run" in output_of(installed(again), stack.env)
    eventually(lambda: record()["flowRunId"] != first)
    shown = output_of(installed("clipflow status"), stack.env)
    assert re.search(r"\tone\t", shown)


@pytest.mark.slow
def test_the_guide_to_shorts_starts_a_run(stack: RunningStack) -> None:
    run_program("shorts.md", stack)
    [start] = [c.line for c in guides.commands() if "generate-shorts/clipflow" in c.line]
    assert "Created flow run" in output_of(installed(start), stack.env)
    listing = {
        "Bucket": stack.env["BUCKET_NAME"],
        "Prefix": "klippers_warehouse/me/talk-1/transcript/window",
    }
    # At this point the run has read its config. tests/test_command.py covers the rest of the run.
    eventually(lambda: stack.client("s3").list_objects_v2(**listing)["KeyCount"])
    table = stack.resource("dynamodb").Table(stack.env["TABLE_NAME"])
    record = table.get_item(Key={"pk": "me#talk-1", "sk": "shorts"})["Item"]
    run = f"{stack.env['PREFECT_API_URL']}/flow_runs/{record['flowRunId']}"
    assert httpx.post(f"{run}/set_state", json={"state": {"type": "CANCELLING"}}).is_success


def run_program(guide: str, stack: RunningStack) -> None:
    """Run the guide's Python program with the environment that the guide sets."""
    [program] = guides.blocks(ROOT / "docs" / guide, "python")
    output_of([sys.executable, "-c", program], stack.env)


def installed(line: str) -> list[str]:
    name, *arguments = line.replace(_BIN, "").split()
    return [str(Path(sysconfig.get_path("scripts"), name)), *arguments]


def output_of(command: list[str], env: dict[str, str]) -> str:
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
