"""The options that many commands have, the examples in each one's help, and the exit codes."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="One JSON document to stdout, all else to stderr.")
]
Debug = Annotated[bool, typer.Option("--debug", help="With an error, where it came from.")]
Out = Annotated[Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where results go.")]
JobId = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help="As `clipflow status` shows it, or the clip's or video's name.",
        show_default=False,
    ),
]

_EXITS = (
    "[bold]Exit codes[/]",
    "0 all is made; 1 a job or a part of it failed",
    "2 wrong usage; 3 stack, AWS or Prefect not reached",
    "130 Ctrl-C",
)


def examples(*told: tuple[str, str]) -> str:
    """An epilog of commands, each with what it does, in lines that fit 60 columns."""
    lines = [f"[cyan]{command}[/]\n  [dim]{what}[/]" for command, what in told]
    return "\n\n".join(["\n".join(["[bold]Examples[/]", *lines]), "\n".join(_EXITS)])


CLIPFLOW = examples(
    ("clipflow shorts talk.mp4 --count 5", "captioned vertical shorts"),
    ("clipflow clips talk.mp4 --cut 1:00-1:30", "one clip, exact to the frame"),
    ("clipflow status", "what is and was made"),
    ("clipflow open", "the last results, in a browser"),
)
SHORTS = examples(
    ("clipflow shorts talk.mp4", "five shorts, about a minute each"),
    ("clipflow shorts talk.mp4 --count 3 --seconds 30", "three shorter ones"),
    ("clipflow shorts talk.mp4 --subtitles talk.srt", "nothing need be heard"),
    ("clipflow shorts talk.mp4 --json | jq .shorts", "for a program"),
)
CLIPS = examples(
    ("clipflow clips talk.mp4 --cut 1:00-1:30", "one clip of one span"),
    (
        "clipflow clips talk.mp4 --cut 90-95 --cut 10-20.5",
        "two spans, joined in this order",
    ),
    ("clipflow clips --tenant t --episode e", "all that are due of an episode"),
)
STATUS = examples(
    ("clipflow status", "the last jobs"),
    ("clipflow status 1f3c9a70", "one job's history"),
    ("clipflow status --json | jq .jobs", "for a program"),
)
OPEN = examples(
    ("clipflow open", "the newest page in out/"),
    ("clipflow open talk", "the page out/talk.html"),
    ("clipflow open 1f3c9a70 --run", "a run in the Prefect UI"),
)
