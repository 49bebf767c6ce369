"""What a command prints: lines and tables for a person, one JSON document for a program."""

import codecs
import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from typing import Any, TextIO

import typer
from rich import box
from rich.console import Console
from rich.table import Table
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


class Exit(IntEnum):
    """What the shell gets; 2 is also what typer gives for a wrong option, 130 what shells give."""

    MADE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class UnreachableError(TransientError):
    """The stack, AWS or Prefect does not answer, or does not come up."""


_DEFECT = "This is a defect in clipflow: run it again with --debug, which shows where."
_CHECK_AWS = "Check AWS_ENDPOINT_URL, BUCKET_NAME, TABLE_NAME, and that your keys may use them."
_CHECK_DISK = "Check that it may be read or written, and that the disk has room."
_CHECK_PREFECT = "Check PREFECT_API_URL and its credentials; what runs goes on there."


def told(error: BaseException) -> tuple[Exit, str, str]:
    """The exit code, what failed and what to do about it: each one line, without secrets."""
    code, message, remedy = _told(error)
    return code, one_line(message), one_line(remedy)


def one_line(text: str) -> str:
    """`text` on one line, bounded, without secrets."""
    return bounded_message(" ".join(text.split()))


def _told(error: BaseException) -> tuple[Exit, str, str]:
    # Here, because most calls of the command import neither.
    import httpx
    from pydantic import ValidationError

    from clipflow.domain.model import describe_errors

    match error:
        case KeyboardInterrupt():
            return Exit.INTERRUPTED, "Interrupted.", ""
        case StorageUnavailableError():
            return Exit.UNREACHABLE, error.message, _CHECK_AWS
        case UnreachableError():
            return Exit.UNREACHABLE, error.message, error.remedy
        case InvalidInputError():
            return Exit.USAGE, error.message, error.remedy
        case ClipflowError():
            return Exit.FAILED, error.message, error.remedy
        case ValidationError():
            return Exit.USAGE, f"Not valid: {describe_errors(error)}.", "Correct what it names."
        case httpx.HTTPStatusError():
            status = error.response.status_code
            return Exit.UNREACHABLE, f"Prefect answers HTTP {status}.", _CHECK_PREFECT
        case httpx.HTTPError():
            kind = type(error).__name__
            return Exit.UNREACHABLE, f"Prefect does not answer ({kind}).", _CHECK_PREFECT
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return Exit.FAILED, f"{name}{error.strerror or error}.", _CHECK_DISK
    return Exit.FAILED, f"{type(error).__name__}: {error}.", _DEFECT


class Answer:
    """Where a command's words go. With JSON all but the document go to stderr.

    Attributes:
        console: for progress; a terminal, or plain lines without colour.
        document: what `--json` prints at the end.
        code: the exit code so far.
    """

    def __init__(self, as_json: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            _never_refusing(stream)
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False)
        self.document: dict[str, Any] = {}
        self.code = Exit.MADE
        self._errors = Console(stderr=True, highlight=False)

    def say(self, text: str, style: str = "") -> None:
        """One line; a terminal wraps it, a pipe gets it as it is."""
        _print(self.console, text, style)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on a terminal; in a pipe a line per row, its cells apart by tabs, no headings."""
        if not self.console.is_terminal:
            for row in rows:
                self.say("\t".join(row))
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """While something takes its time: a line, and on a terminal a spinner with it."""
        if not self.console.is_terminal:
            self.say(text)
        shown = self.console.status(Text(text)) if self.console.is_terminal else nullcontext()
        with shown:
            yield

    def fail(self, code: Exit, message: str, remedy: str = "") -> None:
        """One line on stderr; the command ends with the first code that it was given."""
        line = one_line(f"{message} {remedy}")
        _print(self._errors, line, "red")
        if self.code == Exit.MADE:
            self.code = code
            self.document["error"] = {"message": message, "remedy": remedy, "exit": int(code)}

    def finish(self) -> None:
        """The document, where a program wants it."""
        if self.as_json:
            sys.stdout.write(_json({"error": None, **self.document}) + "\n")


# ClickException. Of the click that typer has taken in it exports only this child's child.
_WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[2]


class Program(TyperGroup):
    """The commands. Wrong usage, which typer finds before a command runs, is answered as all is."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Ends the process, as typer does; without arguments typer itself shows the help."""
        asked = sys.argv[1:] if args is None else list(args)
        if not asked:
            return super().main(args, *rest, **extra)
        try:
            code = super().main(args, *rest, **{**extra, "standalone_mode": False})
        except _WRONG_USAGE as error:
            answer = Answer("--json" in asked)
            answer.fail(Exit.USAGE, *_wrong_usage(error))
            answer.finish()
            code = answer.code
        sys.exit(code)


def _wrong_usage(error: Any) -> tuple[str, str]:
    """What is wrong and where it is told how it is right, of typer's own error."""
    message = one_line(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "clipflow"
    return message if message.endswith("?") else f"{message}.", f"`{command} --help` tells more."


@contextmanager
def answering(*, as_json: bool, debug: bool) -> Iterator[Answer]:
    """A command's whole life: whatever is raised in it becomes a line, a document and a code.

    Raises typer.Exit, unless all went well.
    """
    answer = Answer(as_json)
    try:
        yield answer
    except (typer.Exit, typer.BadParameter):
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the line says what it is
        if debug:
            sys.stderr.write(redact(traceback.format_exc()))
        answer.fail(*told(error))
    answer.finish()
    if answer.code != Exit.MADE:
        raise typer.Exit(answer.code)


def _json(document: dict[str, Any]) -> str:
    """JSON is UTF-8: where stdout is not, or a file's name cannot be, all is told in ASCII."""
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
        # Not by rich, which makes blanks of tabs.
        console.file.write(text + "\n")
        console.file.flush()


def _never_refusing(stream: TextIO) -> None:
    """A tick that the stream's encoding does not know must not end a run of hours."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
