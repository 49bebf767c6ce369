"""The make targets for developers, the hooks, and the tests that `.ci/run` retries."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.programs import ROOT


def test_most_tests_are_fast_and_need_no_server() -> None:
    makefile = (ROOT / "Makefile").read_text()
    fast = next(line for line in makefile.splitlines() if line.startswith("FAST = "))
    expression = fast.removeprefix('FAST = -m "').removesuffix('"')
    assert "not services" in expression and "not faults" in expression
    commands = _make("--dry-run", "test-fast")
    assert f'-m "{expression}"' in commands


def test_the_hooks_run_what_make_lint_runs() -> None:
    lint = _make("--dry-run", "lint")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert len(hooks) == 5
    for hook in hooks:
        assert hook["language"] == "system"
        assert hook["entry"].removesuffix(" --force-exclude") in lint
    assert "pre-commit install" in _make("--dry-run", "hooks")


@pytest.mark.slow
def test_coverage_is_measured_for_the_tests_that_are_named(tmp_path: Path) -> None:
    named = "COVERED=--numprocesses 0 -p no:cacheprovider tests/clipflow/domain"
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")}
    printed = _make("coverage", named, environment=environment)
    measured = {line.split()[0]: line.split()[-1] for line in printed.splitlines() if "%" in line}
    assert measured["flows/generate_clip.py"] == "0%"
    assert int(measured["clipflow/domain/timecode.py"].removesuffix("%")) > 80


@pytest.mark.parametrize("earlier", [[], ["tests/test_a.py::test_x"]])
def test_a_test_retried_in_two_runs_fails_the_second_run(
    tmp_path: Path, earlier: list[str]
) -> None:
    failed = tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    failed.parent.mkdir(parents=True)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "retried.py", tmp_path / ".ci")
    record = tmp_path / "clipflow" / "retried.txt"
    record.parent.mkdir()
    record.write_text("".join(f"2026-01-01T00:00:00+00:00 {test}\n" for test in earlier))

    assert _retried(tmp_path, "begin") == (0, "")
    assert _retried(tmp_path, "report") == (0, "")
    failed.write_text(json.dumps({"tests/test_a.py::test_x": True}))
    assert _retried(tmp_path, "record") == (0, "")
    code, printed = _retried(tmp_path, "report")
    assert code == len(earlier)
    assert "tests/test_a.py::test_x" in printed and str(record) in printed
    assert "tests/test_a.py::test_x" in record.read_text().splitlines()[-1]


def _make(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def _retried(folder: Path, command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(folder / ".ci" / "retried.py"), command],
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
