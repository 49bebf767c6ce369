"""The steps of the shorts job, as tasks: read the config, transcribe, choose, render."""

from prefect import task

from clipflow.domain.edits import Edits
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs import edits as editing
from clipflow.jobs import posts, render, shorts, transcription
from clipflow.jobs.transcription import SpeechWindow
from clipflow.settings import models, this_machine
from clipflow.storage.objects import shorts_store
from tasks.retries import CHILD, MEDIA, RECORDS
from tasks.run_page import progress_bar


@task(name="read-config", task_run_name="ReadConfig", **RECORDS)
def read_config(keys: ShortsKeys) -> ShortsConfig:
    """The job's config, validated before any long work."""
    return shorts.read_config(keys, shorts_store(), this_machine().scratch)


@task(name="read-edits", task_run_name="ReadEdits", **RECORDS)
def read_edits(keys: ShortsKeys) -> Edits:
    """The user's edits of the video's words and shorts, validated as a whole."""
    return editing.read_edits(keys, shorts_store())


@task(name="transcribe", task_run_name="plan the transcript", **MEDIA)
def plan_windows(keys: ShortsKeys, config: ShortsConfig, force: bool) -> list[SpeechWindow]:
    """Stores the windows of the video's audio and returns them; none if there is a transcript."""
    with progress_bar("transcript", f"the sound of {keys.label}"):
        return transcription.plan_windows(
            keys, config, shorts_store(), this_machine(), models(), force=force
        )


@task(name="transcribe-window", task_run_name="transcribe {window.label}", **MEDIA)
def transcribe_window(window: SpeechWindow, threads: int, force: bool) -> None:
    """Recognise the speech in a window, and store its words."""
    with progress_bar("window", f"what is said in window {window.label}"):
        transcription.transcribe_window(
            window, shorts_store(), this_machine(), models(), threads=threads, force=force
        )


@task(name="join-windows", task_run_name="join the transcript", **MEDIA)
def join_windows(keys: ShortsKeys, config: ShortsConfig, done: list[SpeechWindow]) -> None:
    """Join the words of all windows, and store the transcript under its keys."""
    transcription.join_windows(keys, config, done, shorts_store(), this_machine(), models())


@task(name="choose-moments", task_run_name="choose moments", **MEDIA)
def choose_moments(
    keys: ShortsKeys, config: ShortsConfig, edits: Edits, force: bool
) -> list[Moment]:
    """Choose the moments, and store them under their key; best first."""
    return shorts.choose_moments(keys, config, edits, shorts_store(), models(), force=force)


@task(name="apply-edits", task_run_name="apply edits", **MEDIA)
def apply_edits(keys: ShortsKeys, moments: list[Moment], edits: Edits) -> list[Moment]:
    """The moments with the user's edits."""
    return shorts.edited_moments(keys, moments, edits, shorts_store())


@task(name="write-texts", task_run_name="texts to post", **MEDIA)
def write_texts(keys: ShortsKeys, moments: list[Moment], edits: Edits) -> list[Moment]:
    """The moments with the text that is posted with each short."""
    return posts.with_texts(moments, edits, transcription.read_transcript(keys, shorts_store()))


@task(name="put-posts", task_run_name="store the texts", **RECORDS)
def put_posts(keys: ShortsKeys, made: list[Short]) -> None:
    """Store the text that is posted with each short, beside its moment's video."""
    store = shorts_store()
    posts.put_posts(keys, made, transcription.read_transcript(keys, store).language, store)


@task(name="make-thumbnail", task_run_name="thumbnail", **MEDIA)
def make_thumbnail(keys: ShortsKeys, moments: list[Moment]) -> None:
    """Make a thumbnail from the best moment's segment, if the video has none."""
    shorts.make_thumbnail(keys, moments, shorts_store(), this_machine())


@task(name="render-short", task_run_name="render {request.label}", **CHILD)
def render_short(request: render.Render, threads: int, force: bool) -> Short:
    """Cut one moment's segment and render its short, and store both under their keys."""
    with progress_bar("short", f"short {request.label}"):
        return render.render(request, shorts_store(), this_machine(threads), models(), force=force)
