"""`clipflow shorts talk.mp4`: upload it, make its shorts, bring them here."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from clipflow.domain.errors import ClipflowError
from clipflow.domain.model import faults
from clipflow.domain.shorts import CaptionStyle, Layout, ShortsConfig
from deployments.command.product import product
from deployments.local_stack import StackError

console = Console()
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
# As a shell says that a command was ended by Ctrl-C.
_INTERRUPTED = 130


@app.callback()
def clipflow() -> None:
    """The good minutes out of a long video."""


@app.command()
def shorts(
    video: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The long video.")],
    count: Annotated[int, typer.Option(min=1, max=200, help="How many, at most.")] = 5,
    seconds: Annotated[float, typer.Option(min=5, max=600, help="How long each, about.")] = 60,
    layout: Annotated[Layout, typer.Option(help="What fills the picture.")] = Layout.STACK,
    captions: Annotated[CaptionStyle, typer.Option(help="How speech is shown.")] = (
        CaptionStyle.KARAOKE
    ),
    language: Annotated[str | None, typer.Option(help="Spoken; detected where possible.")] = None,
    background: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Plays below, in a stack.")
    ] = None,
    subtitles: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="SRT: nothing need be heard.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where they go.")] = Path("out"),
    force: Annotated[bool, typer.Option(help="Also make what is made already.")] = False,
) -> None:
    """Make captioned vertical shorts of a long video's best moments."""
    wanted = {
        "segment_count": count,
        "target_short_video_duration_in_seconds": seconds,
        "layout": layout,
        "caption_style": captions,
        "language": language,
    }
    try:
        config = ShortsConfig.read(wanted, "what is asked for")
        with product(console):
            _make(video, config, background, subtitles, out, force)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except ValidationError as error:
        _give_up(faults(error))
    except (ClipflowError, StackError) as error:
        _give_up(str(error))


def _make(
    path: Path,
    config: ShortsConfig,
    background: Path | None,
    subtitles: Path | None,
    out: Path,
    force: bool,
) -> None:
    # Here, because Prefect reads the environment when it is imported, and `product` sets it.
    from deployments.command.following import follow
    from deployments.command.video import Video

    video = Video.of(path)
    console.print(f"Uploading {path.name} as {video.keys.label}")
    video.put(config, background, subtitles)
    state = follow(video.keys, force, console)
    made = video.fetch(out)
    table = Table("file", "moment", "score", "title")
    for file, short in made:
        moment = f"{short['start']} – {short['end']}"
        table.add_row(str(file), moment, f"{float(short['score']):.0f}", short["title"])
    if made:
        console.print(table)
    if not state.is_completed():
        _give_up(f"{state.name}: {state.message}")
    console.print(state.message)


def _give_up(why: str) -> None:
    console.print(why, style="red", markup=False)
    raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
