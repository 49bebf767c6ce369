"""The output of a command: lines and tables for a person, one JSON document for a program."""

import codecs
import json
import os
import sys
import traceback
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from typing import Any, TextIO

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperGroup

from clipflow.domain.errors import (
    ClipflowError,
    InvalidInputError,
    StorageUnavailableError,
    TransientError,
    bounded_message,
    redact,
)

_DEFECT = "This is a defect in clipflow: run it again with --debug, which shows the traceback."
_CHECK_AWS = "Check AWS_ENDPOINT_URL, BUCKET_NAME, TABLE_NAME, and that your keys may use them."
_CHECK_DISK = "Check that it may be read or written, and that the disk has room."
_CHECK_PREFECT = "Check PREFECT_API_URL and its credentials. Runs that were started continue there."


_BAR_WIDTH = 16


class ExitCode(IntEnum):
    """The command's exit codes. As is usual, 2 means wrong usage and 130 means Ctrl-C."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class UnreachableError(TransientError):
    """The local stack, AWS or Prefect does not answer or does not start."""


def progress_bars(console: Console) -> Progress:
    """Progress bars for a terminal: a spinner, the name, and a bar if progress is reported."""
    name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=name),
        _BarColumn(),
        TaskProgressColumn(),
        console=console,
        transient=True,
        expand=True,
    )


class _BarColumn(ProgressColumn):
    """A bar for steps that report their progress; other steps have only the spinner."""

    def render(self, task: Task) -> RenderableType:
        if task.total is None:
            return Text(" ")
        return ProgressBar(total=task.total, completed=task.completed, width=_BAR_WIDTH)


def step_line(seconds: float, label: str, *, is_made: bool) -> Text:
    """The line of a step that has ended, `seconds` after the beginning."""
    mark, style = ("✓", "green") if is_made else ("✗", "red")
    return Text.assemble(f"{seconds:6.1f} s  ", (mark, style), f" {label}")


class Output:
    """A command's output. With `--json`, everything except the document is written to stderr.

    Attributes:
        console: prints progress, without colour if it is not a terminal.
        document: the JSON document that `--json` prints at the end.
        code: the exit code so far.
    """

    def __init__(self, as_json: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            _replace_unencodable(stream)
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False)
        self.document: dict[str, Any] = {}
        self.code = ExitCode.OK
        self._errors = Console(stderr=True, highlight=False)

    def line(self, text: str, style: str = "") -> None:
        """Prints one line, which is wrapped only on a terminal."""
        _print(self.console, text, style)

    def step(self, line: Text) -> None:
        """Prints a `step_line`, never wrapped."""
        self.console.print(line, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table on a terminal; otherwise tab-separated lines without a header."""
        if not self.console.is_terminal:
            for row in rows:
                self.line("\t".join(row))
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    @contextmanager
    def spinner(self, text: str) -> Iterator[None]:
        """Shows `text` during a longer operation, with a spinner on a terminal."""
        if not self.console.is_terminal:
            self.line(text)
        status = self.console.status(Text(text)) if self.console.is_terminal else nullcontext()
        with status:
            yield

    def fail(self, code: ExitCode, message: str, remedy: str = "") -> None:
        """Prints one line on stderr; the first code given becomes the command's exit code."""
        _print(self._errors, one_line(f"{message} {remedy}"), "red")
        if self.code == ExitCode.OK:
            self.code = code
            self.document["error"] = {"message": message, "remedy": remedy, "exit": int(code)}

    def write_document(self) -> None:
        """Writes the JSON document to stdout if `--json` was given."""
        if self.as_json:
            sys.stdout.write(_to_json({"error": None, **self.document}) + "\n")


@contextmanager
def command_output(*, as_json: bool, debug: bool) -> Iterator[Output]:
    """Wraps a command's body: an exception becomes an error line, a JSON document and an exit code.

    Raises typer.Exit unless the command succeeded.
    """
    output = Output(as_json)
    try:
        yield output
    except (typer.Exit, typer.BadParameter):
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - format_error names it
        if debug:
            sys.stderr.write(redact(traceback.format_exc()))
        output.fail(*format_error(error))
    output.write_document()
    if output.code != ExitCode.OK:
        raise typer.Exit(output.code)


def open_address(address: str, output: Output) -> None:
    """Prints the address and opens it in a browser."""
    output.document["address"] = address
    output.line(address)
    with _stdout_to_stderr() if output.as_json else nullcontext():
        opened = webbrowser.open(address)
    output.document["opened"] = opened
    if not opened:
        output.line("No browser could be opened: open the address yourself.")


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Redirects stdout to stderr, so that a text browser's output is not mixed into the JSON."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


# ClickException. Typer bundles click and exports only this subclass of a subclass of it.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


class CommandGroup(TyperGroup):
    """The group of all commands. It reports wrong usage, which typer finds before a command runs,
    in the same way as every other error."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Runs a command and ends the process. Without arguments, typer shows the help."""
        arguments = sys.argv[1:] if args is None else list(args)
        if not arguments:
            return super().main(args, *rest, **extra)
        try:
            code = super().main(args, *rest, **{**extra, "standalone_mode": False})
        except _USAGE_ERROR as error:
            output = Output("--json" in arguments)
            output.fail(ExitCode.USAGE, *_format_usage_error(error))
            output.write_document()
            code = output.code
        sys.exit(code)


def _format_usage_error(error: Any) -> tuple[str, str]:
    """The message and the remedy of typer's own error."""
    message = one_line(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "clipflow"
    return message if message.endswith("?") else f"{message}.", f"See `{command} --help`."


def format_error(error: BaseException) -> tuple[ExitCode, str, str]:
    """The exit code, what failed and what to do about it; each text one line, without secrets."""
    code, message, remedy = _classify(error)
    return code, one_line(message), one_line(remedy)


def one_line(text: str) -> str:
    """`text` on one line, bounded, without secrets."""
    return bounded_message(" ".join(text.split()))


def _classify(error: BaseException) -> tuple[ExitCode, str, str]:
    # Imported here, because most calls of the command need neither.
    import httpx
    from pydantic import ValidationError

    from clipflow.domain.model import describe_errors

    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, "Interrupted.", ""
        case StorageUnavailableError():
            return ExitCode.UNREACHABLE, error.message, _CHECK_AWS
        case UnreachableError():
            return ExitCode.UNREACHABLE, error.message, error.remedy
        case InvalidInputError():
            return ExitCode.USAGE, error.message, error.remedy
        case ClipflowError():
            return ExitCode.FAILED, error.message, error.remedy
        case ValidationError():
            return ExitCode.USAGE, f"Not valid: {describe_errors(error)}.", "Correct these values."
        case httpx.HTTPStatusError():
            status = error.response.status_code
            return ExitCode.UNREACHABLE, f"Prefect answers HTTP {status}.", _CHECK_PREFECT
        case httpx.HTTPError():
            kind = type(error).__name__
            return ExitCode.UNREACHABLE, f"Prefect does not answer ({kind}).", _CHECK_PREFECT
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return ExitCode.FAILED, f"{name}{error.strerror or error}.", _CHECK_DISK
    return ExitCode.FAILED, f"{type(error).__name__}: {error}.", _DEFECT


def _to_json(document: dict[str, Any]) -> str:
    """The document as UTF-8 JSON, or as ASCII if stdout or a file's name is not Unicode."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        text.encode()
        unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    except UnicodeEncodeError:
        unicode = False
    return text if unicode else json.dumps(document, indent=2)


def _print(console: Console, text: str, style: str) -> None:
    if console.is_terminal:
        console.print(Text(text, style))
    else:
        # Written directly, because rich replaces tabs by spaces.
        console.file.write(text + "\n")
        console.file.flush()


def _replace_unencodable(stream: TextIO) -> None:
    """Replaces characters that the stream's encoding lacks, since they would end the command."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
