"""Options that several commands share, the checks of their values, and the examples of `--help`."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from clipflow.domain.caption_styles import STYLE_NAMES


def existing_file(path: Path | None) -> Path | None:
    """Checks that a path is a readable file, as typer does, with a message of its own for URLs."""
    if path is None:
        return None
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not path.exists():
        # Path collapses the two slashes of a URL into one.
        address = re.sub(":/", "://", str(path), count=1)
        raise typer.BadParameter(f"{address!r} is an address: download the file first.")
    if not path.exists():
        raise typer.BadParameter(f"File {str(path)!r} does not exist.")
    if path.is_dir():
        raise typer.BadParameter(f"File {str(path)!r} is a directory.")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"File {str(path)!r} is not readable.")
    return path


def style_name_or_file(value: str) -> str:
    """Checks that a value is the name of a caption style, or a readable file."""
    if value not in STYLE_NAMES:
        path = Path(value)
        if path.suffix != ".json" and not path.exists():
            raise typer.BadParameter(
                f"{value!r} is neither a style.json nor one of {', '.join(STYLE_NAMES)}."
            )
        existing_file(path)
    return value


def existing_files(paths: list[Path]) -> list[Path]:
    for path in paths:
        existing_file(path)
    return paths


def _speaker_tracks(values: list[str]) -> list[str]:
    """Checks that each is NAME=NUMBER or NAME=FILE, that such a file can be read, and that there
    are two speakers."""
    for value in values:
        name, separator, track = value.partition("=")
        if not (name and separator and track):
            raise typer.BadParameter(f"{value!r} is not NAME=FILE or NAME=NUMBER.")
        if not track.isdecimal():
            existing_file(Path(track))
    names = {value.partition("=")[0] for value in values}
    if len(names) < len(values):
        raise typer.BadParameter("Each speaker has one track, and a name is given twice.")
    if len(names) == 1:
        raise typer.BadParameter("It is given for each speaker, and there are at least two.")
    return values


def named_tracks(values: list[str] | None) -> dict[str, int | Path]:
    """The number or the file of each speaker's audio track."""
    pairs = (value.partition("=") for value in values or [])
    return {name: int(track) if track.isdecimal() else Path(track) for name, _, track in pairs}


def selection(
    seconds: float | None,
    durations: str | None,
    part: str | None,
    topics: list[str] | None,
    instructions: str | None,
) -> dict[str, object]:
    """The fields of the config that say which moments to choose; absent without an option."""
    found: dict[str, object] = {
        "target_short_video_duration_in_seconds": seconds,
        "durations": _span("--durations", durations),
        "range": _span("--range", part),
        "topics": topics or None,
        "instructions": instructions,
    }
    return {name: value for name, value in found.items() if value is not None}


def _span(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    # Imported here, because help and completion do not need it.
    from clipflow.domain.timecode import parse_span

    try:
        return [float(time) for time in parse_span(text)]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to stdout, all else to stderr.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")]
Out = Annotated[
    Path, typer.Option(file_okay=False, metavar="FOLDER", help="The folder of the results.")
]
SpeakerTrack = Annotated[
    list[str] | None,
    typer.Option(
        callback=lambda values: _speaker_tracks(values or []),
        metavar="NAME=TRACK",
        help="A speaker's own audio: a file, or a track's number from 0. Repeat for each speaker.",
    ),
]
AudioTrack = Annotated[
    str | None,
    typer.Option(metavar="TRACK", help="The audio track: a number from 0, or a language."),
]
Language = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="The language: en, pt-BR; if unset, detected."),
]
Background = Annotated[
    Path | None,
    typer.Option(
        callback=existing_file,
        metavar="FILE",
        help="A video for the lower half of the layout stack.",
    ),
]
Subtitles = Annotated[
    Path | None,
    typer.Option(
        callback=existing_file,
        metavar="FILE",
        help="SRT, VTT or JSON to use instead of recognising speech.",
    ),
]
OfShort = Annotated[
    list[str] | None,
    typer.Option(metavar="N=TEXT", help="That of short N; empty restores the chosen one."),
]
Tighten = Annotated[
    bool, typer.Option("--tighten", help="Take filler words and long silences out.")
]
# Options of `clipflow shorts` that `selection` reads.
Durations = Annotated[
    str | None,
    typer.Option(metavar="N-N", help="The shortest and the longest, in seconds: 20-60."),
]
Part = Annotated[
    str | None,
    typer.Option("--range", metavar="SPAN", help="Only this part: 0:10:00-0:40:00."),
]
Topics = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="What to look for. Repeat it for more."),
]
Instructions = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What to choose, for a language model."),
]
# Options of `clipflow edit`.
EditHashtags = Annotated[
    list[str] | None,
    typer.Option(metavar="N=TAGS", help="Of short N, with spaces between them: 1='a b'."),
]
ReplaceText = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT=TEXT", help="Replace words everywhere: Jon=John."),
]
ReplaceWord = Annotated[
    list[str] | None,
    typer.Option(metavar="W=TEXT", help="Replace the word with the number W, from 0."),
]
EditTrim = Annotated[
    list[str] | None,
    typer.Option(metavar="N=S,E", help="Move short N's start and end: 1=0,-2.4 (seconds)."),
]
EditLayout = Annotated[
    list[str] | None,
    typer.Option(metavar="N=NAME", help="Short N's picture, as of `clipflow shorts`."),
]
EditCaptions = Annotated[
    list[str] | None,
    typer.Option(metavar="N=NAME", help="Short N's captions, as of `clipflow shorts`."),
]
EditFraming = Annotated[
    list[str] | None,
    typer.Option(metavar="N=S-E:WHO", help="Show person WHO, or the place X,Y, from S to E."),
]
EditTighten = Annotated[
    list[str] | None,
    typer.Option(metavar="N=on", help="Take fillers and silences out of short N, or off."),
]
EditRestore = Annotated[
    list[str] | None,
    typer.Option(metavar="N=ID", help="Put a filler or silence of short N back: 1=w17."),
]
EditRemove = Annotated[
    list[str] | None,
    typer.Option(metavar="N=ID", help="Take out again what --restore has put back."),
]
Numbers = Annotated[
    list[str] | None, typer.Option(metavar="N", help="Short N; repeat for other shorts.")
]
JobId = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help="The id that `clipflow status` shows, or the name of the clip or video.",
        show_default=False,
    ),
]

_EXITS = (
    "[bold]Exit codes[/]",
    "0 all is made; 1 a job or a part of it failed",
    "2 wrong usage; 3 stack, AWS or Prefect not reached",
    "130 Ctrl-C",
)


def examples(*commands: tuple[str, str]) -> str:
    """An epilog of example commands and exit codes, in lines that fit 60 columns."""
    lines = [f"[cyan]{command}[/]\n  [dim]{what}[/]" for command, what in commands]
    return "\n\n".join(["\n".join(["[bold]Examples[/]", *lines]), "\n".join(_EXITS)])


CLIPFLOW = examples(
    ("clipflow shorts talk.mp4 --count 5", "captioned vertical shorts"),
    ("clipflow clips talk.mp4 --cut 1:00-1:30", "one clip, exact to the frame"),
    ("clipflow transcribe talk.mp4", "subtitles, text, timed words"),
    ("clipflow status", "the last jobs, running and ended"),
    ("clipflow open", "the last results, in a browser"),
)
SHORTS = examples(
    ("clipflow shorts talk.mp4", "five shorts, about a minute each"),
    ("clipflow shorts talk.mp4 --count 3 --seconds 30", "three shorter ones"),
    ("clipflow shorts talk.mp4 --subtitles talk.srt", "with subtitles of your own"),
    ("clipflow shorts talk.mp4 --json | jq .shorts", "for a program"),
)
CLIPS = examples(
    ("clipflow clips talk.mp4 --cut 1:00-1:30", "one clip of one span"),
    (
        "clipflow clips talk.mp4 --cut 90-95 --cut 10-20.5",
        "two spans, joined in this order",
    ),
    ("clipflow clips --tenant t --episode e", "all due clips of an episode"),
)
TRANSCRIBE = examples(
    ("clipflow transcribe talk.mp4", "talk.srt, .vtt, .txt, .words.json"),
    ("clipflow transcribe *.mp3 --language de", "many, all in German"),
    ("clipflow transcribe talk.mp4 --json", "for a program"),
)
EDIT = examples(
    ("clipflow edit talk", "the shorts, their numbers and edits"),
    ('clipflow edit talk --title 2="Another"', "renders nothing"),
    ("clipflow edit talk --trim 1=0,-2.4 --render", "the first ends earlier"),
    ("clipflow edit talk --replace Jon=John --refuse 3", "both at once"),
)
REVIEW = examples(
    ("clipflow review", "the shorts of the newest video"),
    ("clipflow review talk --port 8080", "of this one, on this port"),
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
