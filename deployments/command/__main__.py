"""Clips and vertical shorts out of long videos."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clipflow.domain.caption_styles import DEFAULT_STYLE, STYLE_NAMES
from clipflow.domain.layouts import Aspect, Layout
from deployments.command.options import (
    CLIPFLOW,
    CLIPS,
    EDIT,
    OPEN,
    REVIEW,
    SHORTS,
    STATUS,
    TRANSCRIBE,
    AudioTrack,
    Background,
    Debug,
    Durations,
    EditCaptions,
    EditFraming,
    EditHashtags,
    EditLayout,
    EditRemove,
    EditRestore,
    EditTighten,
    EditTrim,
    Instructions,
    JobId,
    Json,
    Language,
    Numbers,
    OfShort,
    Out,
    Part,
    ReplaceText,
    ReplaceWord,
    SpeakerTrack,
    Subtitles,
    Tighten,
    Topics,
    existing_file,
    existing_files,
    named_tracks,
    selection,
    style_name_or_file,
)
from deployments.command.output import CommandGroup, command_output, open_address

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help=__doc__,
    epilog=CLIPFLOW,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
OUT = Path("out")


# Each command imports its own dependencies, so that help and completion do not wait for Prefect and
# PyAV. Prefect also reads the environment when it is imported, and `connect` has to set it before.


@app.command(epilog=SHORTS)
def shorts(
    video: Annotated[
        Path,
        typer.Argument(callback=existing_file, metavar="VIDEO", help="The long video."),
    ],
    count: Annotated[
        int, typer.Option(min=1, max=200, metavar="N", help="The most shorts to make.")
    ] = 5,
    seconds: Annotated[
        float | None,
        typer.Option(min=5, max=600, metavar="N", help="The approximate length of each: 60."),
    ] = None,
    durations: Durations = None,
    part: Part = None,
    topic: Topics = None,
    instructions: Instructions = None,
    layout: Annotated[
        Layout,
        typer.Option(parser=Layout, metavar="NAME", help=f"The picture: {', '.join(Layout)}."),
    ] = Layout.AUTO,
    aspect: Annotated[
        Aspect, typer.Option(metavar="W:H", help=f"Its shape: {', '.join(Aspect)}.")
    ] = Aspect.TALL,
    captions: Annotated[
        str,
        typer.Option(
            "--captions",
            "--style",
            callback=style_name_or_file,
            metavar="NAME",
            help=f"Speech: a style.json, or {', '.join(STYLE_NAMES)}.",
        ),
    ] = DEFAULT_STYLE,
    brand: Annotated[
        Path | None,
        typer.Option(
            callback=existing_file, metavar="FILE", help="A brand.json: logo, intro, outro, music."
        ),
    ] = None,
    hook: Annotated[
        bool, typer.Option("--hook", help="The title over the first three seconds.")
    ] = False,
    tighten: Tighten = False,
    language: Language = None,
    audio_track: AudioTrack = None,
    background: Background = None,
    subtitles: Subtitles = None,
    speaker_track: SpeakerTrack = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            callback=existing_file, metavar="FILE", help="A JSON file with edits to apply."
        ),
    ] = None,
    out: Out = OUT,
    debug_framing: Annotated[
        bool,
        typer.Option("--debug-framing", help="Also write videos that show faces and crops."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Make everything again.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make captioned vertical shorts of a long video's best moments."""
    with command_output(as_json=as_json, debug=debug) as output:
        from clipflow.domain.shorts import ShortsConfig
        from clipflow.jobs.edits import parse_edits
        from deployments.command.connect import connect
        from deployments.command.files import (
            check_folder,
            check_sound,
            check_video,
            framing_file,
            read_brand,
            read_style,
            short_files,
        )

        style = None if captions in STYLE_NAMES else Path(captions)
        values = {
            "segment_count": count,
            "layout": layout,
            "aspect": aspect,
            # A file gets its key when it is uploaded.
            "caption_style": DEFAULT_STYLE if style else captions,
            "hook": hook,
            "tighten": tighten,
            "language": language,
            "audio_track": audio_track,
        }
        values |= selection(seconds, durations, part, topic, instructions)
        tracks = named_tracks(speaker_track)
        if tracks:
            # Files get their keys when they are uploaded.
            values["speaker_tracks"] = dict.fromkeys(tracks, 0)
        config = ShortsConfig.read(values, "An option")
        check_video(video, config.audio_track)
        own_edits = parse_edits(edits.read_bytes(), str(edits)) if edits else None
        own_style = read_style(style) if style else None
        own_brand = read_brand(brand) if brand else None
        if background:
            check_video(background)
        for track in tracks.values():
            if isinstance(track, Path):
                check_sound(track)
        files = short_files(video, count)
        if debug_framing:
            files += [framing_file(Path(name)).name for name in files if name.endswith(".mp4")]
        check_folder(out, files)
        with connect(output, may_start=True):
            from deployments.command.shorts import Attachments, make_shorts, write_debug_videos

            attached = Attachments(background, subtitles, tracks, own_edits, own_style, own_brand)
            results = make_shorts(video, config, attached, out, force, output)
            if debug_framing:
                write_debug_videos(video, config, results, output)


@app.command(epilog=CLIPS)
def clips(
    video: Annotated[
        Path | None,
        typer.Argument(callback=existing_file, metavar="VIDEO", help="The video to cut from."),
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPAN", help="START-END: 0:01:00-0:01:30 or 60-90. Repeat for more spans."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The clip's name; if unset, from the file and times."),
    ] = None,
    audio_track: AudioTrack = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="The tenant of a stored episode.")
    ] = None,
    episode: Annotated[
        str | None, typer.Option(metavar="ID", help="The episode whose due clips are made.")
    ] = None,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="Leave the clips in the bucket.")
    ] = False,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut a clip out of a video, or make all due clips of an episode."""
    of_file = video is not None and bool(cut) and not (tenant or episode)
    of_episode = bool(tenant and episode) and not (video or cut or name or audio_track)
    if not (of_file or of_episode):
        raise typer.BadParameter("Give VIDEO and --cut, or --tenant and --episode.")
    with command_output(as_json=as_json, debug=debug) as output:
        from clipflow.domain.model import parse_audio_track
        from clipflow.domain.timecode import parse_span

        try:
            cuts = [parse_span(text) for text in cut or []]
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cut") from None
        try:
            track = parse_audio_track(audio_track)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--audio-track") from None
        from deployments.command.connect import connect
        from deployments.command.files import check_folder, check_video, clip_files, clip_id_of

        if video:
            check_video(video, track)
        if not no_fetch:
            check_folder(out, clip_files(name or clip_id_of(video, cuts, track)) if video else [])
        with connect(output, may_start=video is not None):
            from deployments.command.clips import clips_of_episode, clips_of_file

            folder = None if no_fetch else out
            if video:
                clips_of_file(video, cuts, name, track, folder, output)
            else:
                clips_of_episode(str(tenant), str(episode), folder, output)


@app.command(epilog=TRANSCRIBE)
def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(callback=existing_files, metavar="FILE…", help="Videos or audio files."),
    ],
    language: Language = None,
    speaker_track: SpeakerTrack = None,
    audio_track: AudioTrack = None,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the speech in files as subtitles, text and timed words."""
    with command_output(as_json=as_json, debug=debug) as output:
        from deployments.command.transcribe import transcribe_files

        transcribe_files(files, language, audio_track, named_tracks(speaker_track), out, output)


@app.command(epilog=EDIT)
def edit(
    job: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The id that `clipflow status` shows, or the name of the video.",
            show_default=False,
        ),
    ],
    title: OfShort = None,
    hook: OfShort = None,
    description: OfShort = None,
    hashtags: EditHashtags = None,
    trim: EditTrim = None,
    layout: EditLayout = None,
    captions: EditCaptions = None,
    framing: EditFraming = None,
    tighten: EditTighten = None,
    restore: EditRestore = None,
    remove: EditRemove = None,
    approve: Numbers = None,
    refuse: Numbers = None,
    reset: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Remove all edits of short N.")
    ] = None,
    replace: ReplaceText = None,
    word: ReplaceWord = None,
    render: Annotated[
        bool, typer.Option("--render", help="Make the changed shorts, and download them.")
    ] = False,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Change words, titles, times, layouts of shorts; approve or refuse them."""
    with command_output(as_json=as_json, debug=debug) as output:
        from deployments.command.changes import Changes

        changes = Changes.parse(
            texts={
                "title": title,
                "hook": hook,
                "description": description,
                "hashtags": hashtags,
            },
            names={"layout": layout, "caption_style": captions},
            decisions={"approved": approve, "refused": refuse},
            trim=trim,
            framing=framing,
            reset=reset,
            replace=replace,
            word=word,
            tighten=tighten,
            restore=restore,
            remove=remove,
        )
        from deployments.command.connect import connect

        with connect(output, may_start=render):
            from deployments.command.edit import edit_shorts

            edit_shorts(job, changes, out if render else None, output)


@app.command(epilog=REVIEW)
def review(
    job: JobId = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="The page's port; 0: a free one.")
    ] = 0,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Only print the address, without a browser.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Edit shorts in a browser, on a page that this machine serves."""
    with command_output(as_json=as_json, debug=debug) as output:
        from deployments.command.connect import connect

        with connect(output, may_start=True):
            from deployments.command.review.app import review as serve

            serve(job, port, not no_open, output)


@app.command(epilog=STATUS)
def status(
    job: JobId = None,
    count: Annotated[
        int, typer.Option(min=1, max=200, metavar="N", help="The number of jobs.")
    ] = 10,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the last jobs and their progress, or one job's history."""
    with command_output(as_json=as_json, debug=debug) as output:
        from deployments.command.connect import connect

        with connect(output, may_start=False):
            from deployments.command.status import show_job, show_jobs

            if job:
                show_job(job, output)
            else:
                show_jobs(count, output)


@app.command("open", epilog=OPEN)
def open_page(
    job: JobId = None,
    run: Annotated[bool, typer.Option("--run", help="Open its run in the Prefect UI.")] = False,
    out: Out = OUT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Open a job's page of results; without ID, the newest."""
    with command_output(as_json=as_json, debug=debug) as output:
        from deployments.command.connect import connect
        from deployments.command.files import local_page

        page = None if run else local_page(out, job)
        if page is None:
            with connect(output, may_start=False):
                from deployments.command.status import find_page, run_address

                if run:
                    open_address(run_address(job), output)
                    return
                page = find_page(job, out)
        open_address(page.resolve().as_uri(), output)


if __name__ == "__main__":
    sys.exit(app(prog_name="clipflow"))
