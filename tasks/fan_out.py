"""Where segments are cut and shorts rendered: the one seam that knows."""

import os
from typing import TypeVar

from prefect.futures import PrefectFuture, as_completed, wait

from clipflow.clips.plan import Cut
from clipflow.domain.clips import ExtractOutput
from clipflow.domain.errors import Failure
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.settings import limits
from clipflow.shorts.render import Render
from clipflow.shorts.segments import PlannedMoment
from tasks.clips import extract_segment
from tasks.shorts import cut_moment, render_short

Result = TypeVar("Result")


def at_once() -> int:
    """Segments cut at the same time by one run: what the settings allow and the cores can do."""
    return min(limits().max_parallel_segments, _cores())


def extract_all(cuts: list[Cut], *, force: bool) -> list[ExtractOutput]:
    """Every segment of a clip, in order. Raises the first error of any as soon as it is known."""
    threads = _threads(len(cuts))
    return _results([extract_segment.submit(cut, threads, force) for cut in cuts])


def cut_all(moments: list[PlannedMoment], *, force: bool) -> None:
    """Every moment's segment. Raises the first error of any as soon as it is known."""
    threads = _threads(len(moments))
    _results([cut_moment.submit(moment, threads, force) for moment in moments])


def render_all(
    keys: ShortsKeys, config: ShortsConfig, moments: list[Moment], *, force: bool
) -> list[Short]:
    """A short of each moment, best first; one that fails stops no other, and says so."""
    threads = _threads(len(moments))
    asked = [Render(keys, config, number, m) for number, m in enumerate(moments, start=1)]
    futures = [render_short.submit(one, threads, force) for one in asked]
    wait(futures)
    return [_outcome(*pair) for pair in zip(asked, futures, strict=True)]


def _outcome(asked: Render, future: PrefectFuture[Short]) -> Short:
    made = future.result(raise_on_failure=False)
    if isinstance(made, Short):
        return made
    key = asked.keys.short(asked.number)
    return Short.failed(asked.number, key, asked.moment, Failure.of(made))


def _results(futures: list[PrefectFuture[Result]]) -> list[Result]:
    for future in as_completed(futures):
        future.result()
    return [future.result() for future in futures]


def _threads(count: int) -> int:
    # Two encoders of one thread do more than one of two, so threads are for what is left over.
    return max(1, _cores() // min(at_once(), count))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
