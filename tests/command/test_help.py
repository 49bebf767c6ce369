"""The help, the shell completion and the reference of `clipflow`, without a running stack."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deployments.command.__main__ import app
from tests.command.cli import run_clipflow
from tests.programs import ROOT

COMMANDS = ("shorts", "clips", "transcribe", "edit", "review", "status", "open")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids="-".join)
def test_help_fits_a_narrow_terminal_and_has_examples(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    ended = run_clipflow(*command, "--help", folder=tmp_path, env={"COLUMNS": "60"})
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= 60
    examples = lines[[line.strip() for line in lines].index("Examples") :]
    assert any(line.strip().startswith(" ".join(("clipflow", *command))) for line in examples)
    for code in ("0 all is made", "1 a job", "2 wrong usage", "3 stack", "130 Ctrl-C"):
        assert code in ended.stdout


def test_help_and_completion_import_no_heavy_module() -> None:
    heavy = {"prefect", "av", "cv2", "boto3", "numpy", "httpx"}
    code = f"import sys, deployments.command.__main__; print({heavy} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout.strip() == "set()", process.stderr


def test_completion_offers_the_commands(tmp_path: Path) -> None:
    completion = {
        "_CLIPFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": "clipflow ",
        "COMP_CWORD": "1",
    }
    ended = run_clipflow(folder=tmp_path, env=completion)
    assert set(COMMANDS) <= set(ended.stdout.split())


def test_completion_can_be_installed(tmp_path: Path) -> None:
    home = {
        "HOME": str(tmp_path),
        "SHELL": "/bin/bash",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    ended = run_clipflow("--install-completion", "bash", folder=tmp_path, env=home)
    assert ended.returncode == 0, ended.stderr
    assert "clipflow" in (tmp_path / ".bashrc").read_text()


def test_every_command_and_option_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "command.md").read_text()
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    assert set(commands) == set(COMMANDS)
    for name, command in commands.items():
        section = reference.partition(f"## `clipflow {name}")[2].partition("\n## ")[0]
        assert section, name
        for option in command.params:
            if option.param_type_name == "option" and option.name not in (
                "help",
                "as_json",
                "debug",
            ):
                assert f"`{option.opts[-1]}" in section, f"{name} {option.opts}"
    for option in ("`--json`", "`--debug`", "`--help`", "--install-completion"):
        assert option in reference


@pytest.mark.parametrize("module", ["changes", "connect", "files", "output", "transcribe"])
def test_code_before_the_connection_does_not_import_prefect(module: str) -> None:
    """Prefect reads PREFECT_API_URL when it is imported, and `connect` sets it."""
    code = f"import sys, deployments.command.{module}; print('prefect' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout.strip() == "False", process.stderr
