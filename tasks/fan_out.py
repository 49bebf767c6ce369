"""Where segments are cut and shorts rendered: the one seam that knows."""

from collections.abc import Callable
from typing import TypeVar

from prefect.futures import PrefectFuture, as_completed

from clipflow.domain.clips import ExtractOutput
from clipflow.domain.errors import Failure
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs.clips import Cut
from clipflow.jobs.render import Render
from clipflow.jobs.shorts import PlannedMoment
from clipflow.machine import cores, encoders_at_once
from clipflow.settings import limits, pools
from tasks.children import crew_of, extract_elsewhere, prepare_elsewhere, render_elsewhere
from tasks.clips import extract_segment
from tasks.run_page import counted
from tasks.shorts import cut_moment, render_short

Result = TypeVar("Result")


def at_once() -> int:
    """Segments cut or shorts rendered at the same time by one run: what the settings allow, and
    the cores can do where it is done here."""
    return limits().max_parallel_segments if pools().media else at_once_here()


def at_once_here() -> int:
    """The same, of what this machine does whatever the pools."""
    return encoders_at_once(limits().max_parallel_segments)


def extract_all(cuts: list[Cut], *, force: bool) -> list[ExtractOutput]:
    """Every segment of a clip, in order. Raises the first error of any as soon as it is known."""
    if pools().media:
        asked = cuts[0].request
        with crew_of(ClipKeys(asked.tenant_id, asked.episode_id, asked.clip_id)):
            return _results([extract_elsewhere.submit(cut, force) for cut in cuts])
    threads = _threads(len(cuts))
    return _results([extract_segment.submit(cut, threads, force) for cut in cuts])


def prepare(
    here: Callable[[str, str, bool], list[Moment]], keys: ShortsKeys, *, force: bool
) -> list[Moment]:
    """What `here` answers, the flow that prepares a video, called or run on a large machine."""
    if not pools().prepare:
        return here(keys.user_id, keys.video_id, force)
    with crew_of(keys):
        return prepare_elsewhere(keys, force)


def cut_all(moments: list[PlannedMoment], *, force: bool) -> None:
    """Every moment's segment. Raises the first error of any as soon as it is known."""
    threads = _threads(len(moments))
    _results([cut_moment.submit(moment, threads, force) for moment in moments])


def render_all(
    keys: ShortsKeys, config: ShortsConfig, moments: list[Moment], *, force: bool
) -> list[Short]:
    """A short of each moment, best first; one that fails stops no other, and says so."""
    asked = [Render(keys, config, number, m) for number, m in enumerate(moments, start=1)]
    if pools().media:
        with crew_of(keys):
            return _outcomes(asked, [render_elsewhere.submit(one, force) for one in asked])
    threads = _threads(len(moments))
    return _outcomes(asked, [render_short.submit(one, threads, force) for one in asked])


def _outcomes(asked: list[Render], futures: list[PrefectFuture[Short]]) -> list[Short]:
    with counted(len(futures), "shorts") as one_more:
        for _ in as_completed(futures):
            one_more()
    return [_outcome(*pair) for pair in zip(asked, futures, strict=True)]


def _outcome(asked: Render, future: PrefectFuture[Short]) -> Short:
    made = future.result(raise_on_failure=False)
    if isinstance(made, Short):
        return made
    key = asked.keys.short(asked.number)
    return Short.failed(asked.number, key, asked.moment, Failure.of(made))


def _results(futures: list[PrefectFuture[Result]]) -> list[Result]:
    with counted(len(futures), "segments") as one_more:
        for future in as_completed(futures):
            future.result()
            one_more()
    return [future.result() for future in futures]


def _threads(count: int) -> int:
    # Two encoders of one thread do more than one of two, so threads are for what is left over.
    return max(1, cores() // min(at_once_here(), count))
