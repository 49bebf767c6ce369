"""The good minutes out of a long video: shorts, clips, and how far they are."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clipflow.domain.shorts import CaptionStyle, Layout
from deployments.command import options
from deployments.command.answer import Program, answering
from deployments.command.options import Debug, JobId, Json, Out

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    help=__doc__,
    epilog=options.CLIPFLOW,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
OUT = Path("out")


# What a command needs is imported in it: help and completion must not wait for Prefect and PyAV.
# Prefect, besides, reads the environment when it is imported, and `product` sets it first.


@app.command(epilog=options.SHORTS)
def shorts(
    video: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, metavar="VIDEO", help="The long video."),
    ],
    count: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="How many, at most.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=5, max=600, metavar="N", help="How long each, about.")
    ] = 60,
    layout: Annotated[
        Layout, typer.Option(metavar="NAME", help=f"The picture: {', '.join(Layout)}.")
    ] = Layout.STACK,
    captions: Annotated[
        CaptionStyle, typer.Option(metavar="NAME", help=f"Speech: {', '.join(CaptionStyle)}.")
    ] = CaptionStyle.KARAOKE,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Spoken: en; detected where possible.")
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Plays below, in a stack."),
    ] = None,
    subtitles: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE", help="SRT: nothing need be heard."
        ),
    ] = None,
    out: Out = OUT,
    force: Annotated[bool, typer.Option("--force", help="Also make what is made already.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make captioned vertical shorts of a long video's best moments."""
    with answering(as_json=as_json, debug=debug) as answer:
        from clipflow.domain.shorts import ShortsConfig
        from deployments.command.product import product

        wanted = {
            "segment_count": count,
            "target_short_video_duration_in_seconds": seconds,
            "layout": layout,
            "caption_style": captions,
            "language": language,
        }
        config = ShortsConfig.read(wanted, "what is asked for")
        with product(answer, may_start=True):
            from deployments.command.shorts import make_shorts

            make_shorts(video, config, background, subtitles, out, force, answer)


@app.command(epilog=options.CLIPS)
def clips(
    video: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, metavar="VIDEO", help="The video to cut from."),
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(metavar="SPAN", help="START-END: 0:01:00-0:01:30 or 60-90. Again for more."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The clip's; unset, it tells the file and the times."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Of an episode that is there.")
    ] = None,
    episode: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose due clips are to be made.")
    ] = None,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="Leave the clips in the bucket.")
    ] = False,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut a clip out of a video, or make the clips that an episode is due."""
    of_file = video is not None and bool(cut) and not (tenant or episode)
    of_episode = bool(tenant and episode) and not (video or cut or name)
    if not (of_file or of_episode):
        raise typer.BadParameter("Give VIDEO and --cut, or --tenant and --episode.")
    with answering(as_json=as_json, debug=debug) as answer:
        from deployments.command.cuts import parse_cut

        try:
            cuts = [parse_cut(text) for text in cut or []]
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cut") from None
        from deployments.command.product import product

        with product(answer, may_start=video is not None):
            from deployments.command.clips import clips_of_episode, clips_of_file

            folder = None if no_fetch else out
            if video:
                clips_of_file(video, cuts, name, folder, answer)
            else:
                clips_of_episode(str(tenant), str(episode), folder, answer)


@app.command(epilog=options.STATUS)
def status(
    job: JobId = None,
    count: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="How many.")] = 10,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what is being made and was made lately, or one job's history."""
    with answering(as_json=as_json, debug=debug) as answer:
        from deployments.command.product import product

        with product(answer, may_start=False):
            from deployments.command.status import show_job, show_jobs

            if job:
                show_job(job, answer)
            else:
                show_jobs(count, answer)


@app.command("open", epilog=options.OPEN)
def open_page(
    job: JobId = None,
    run: Annotated[bool, typer.Option("--run", help="Its run in the Prefect UI.")] = False,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Open a job's page of results; without ID, the newest."""
    with answering(as_json=as_json, debug=debug) as answer:
        from deployments.command.page import fetched_page, local_page, run_address, show
        from deployments.command.product import product

        page = None if run else local_page(out, job)
        if page is None:
            with product(answer, may_start=False):
                if run:
                    show(run_address(job), answer)
                    return
                page = fetched_page(job, out)
        show(page.resolve().as_uri(), answer)


if __name__ == "__main__":
    sys.exit(app(prog_name="clipflow"))
