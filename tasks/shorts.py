"""The shorts job's steps."""

from prefect import task

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs import render, shorts
from clipflow.settings import this_machine
from clipflow.storage.objects import shorts_store
from tasks.retries import CHILD, MEDIA, RECORDS
from tasks.run_page import shown


@task(name="read-config", task_run_name="ReadConfig", **RECORDS)
def read_config(keys: ShortsKeys) -> ShortsConfig:
    """What is asked for, checked before any hours of work."""
    return shorts.read_config(keys, shorts_store())


@task(name="transcribe", task_run_name="transcribe", **MEDIA)
def transcribe(keys: ShortsKeys, language: str | None, force: bool) -> None:
    """The transcript, under its keys."""
    with shown("transcript", f"what is said in {keys.label}"):
        shorts.transcribe(keys, language, shorts_store(), this_machine(), force=force)


@task(name="choose-moments", task_run_name="choose moments", **MEDIA)
def choose_moments(keys: ShortsKeys, asked: ShortsConfig, force: bool) -> list[Moment]:
    """The moments, under their key, best first."""
    return shorts.choose_moments(keys, asked, shorts_store(), force=force)


@task(name="plan-moments", task_run_name="plan", **MEDIA)
def plan_moments(keys: ShortsKeys, chosen: list[Moment]) -> list[shorts.PlannedMoment]:
    """What to cut for each moment."""
    return shorts.plan_moments(keys, chosen, shorts_store())


@task(name="cut-moment", task_run_name="segment {planned.label}", **MEDIA)
def cut_moment(planned: shorts.PlannedMoment, threads: int, force: bool) -> None:
    """One moment's segment and subtitles, under their keys."""
    with shown("segment", f"segment {planned.label}"):
        shorts.make_moment(planned, shorts_store(), this_machine(threads), force=force)


@task(name="make-thumbnail", task_run_name="thumbnail", **MEDIA)
def make_thumbnail(keys: ShortsKeys) -> None:
    """A thumbnail, where the video has none."""
    shorts.make_thumbnail(keys, shorts_store(), this_machine())


@task(name="render-short", task_run_name="render {asked.label}", **CHILD)
def render_short(asked: render.Render, threads: int, force: bool) -> Short:
    """One short, under its key."""
    with shown("short", f"short {asked.label}"):
        return render.render(asked, shorts_store(), this_machine(threads), force=force)
