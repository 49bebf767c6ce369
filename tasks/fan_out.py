"""Fan-out over segments, shorts and audio windows: the only module that decides where they run.

They are tasks in the flow's process, or child runs on other machines, as `CLIPFLOW_FAN_OUT` sets.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture, as_completed

from clipflow.domain.clips import ExtractOutput
from clipflow.domain.edits import Edits
from clipflow.domain.errors import Failure, StoppedError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.jobs.clips import Cut, CutGroup
from clipflow.jobs.cost import cut_cpu_seconds, divide
from clipflow.jobs.render import Render, RenderGroup, plan_renders
from clipflow.jobs.transcription import SpeechWindow
from clipflow.machine import cores, encoders_at_once
from clipflow.settings import fan_out, limits, models
from clipflow.speech.transcriber import TRANSCRIBERS
from tasks.child_requests import renders_within_limit, within_limit
from tasks.children import (
    child_run_group,
    extract_remote,
    prepare_remote,
    render_group_remote,
    render_remote,
    transcribe_remote,
)
from tasks.clips import extract_segment
from tasks.run_page import count_bar
from tasks.shorts import join_windows, plan_windows, render_short, transcribe_window

Part = TypeVar("Part")
Result = TypeVar("Result")


def run_concurrency() -> int:
    """Segments or shorts that one run makes at the same time, here or on other machines."""
    return limits().max_parallel_segments if fan_out().is_remote else local_concurrency()


def local_concurrency() -> int:
    """Segments or shorts that one run makes at the same time on this machine."""
    return encoders_at_once(limits().max_parallel_segments)


def extract_all(cuts: list[Cut], *, force: bool) -> list[ExtractOutput]:
    """Cuts every segment of a clip; returns them in order. Raises the first error immediately.

    Other machines do it only if the work is worth their start: see `clipflow/jobs/cost.py`.
    """
    groups = _groups(cuts) if fan_out().is_remote else []
    if not groups:
        return extract_here(cuts, force=force)
    clip = cuts[0].request
    with child_run_group(ClipKeys(clip.tenant_id, clip.episode_id, clip.clip_id)):
        made = _results([extract_remote.submit(group, force) for group in groups])
    by_index = {
        cut.request.index: output
        for group, outputs in zip(groups, made, strict=True)
        for cut, output in zip(group.cuts, outputs, strict=True)
    }
    return [by_index[cut.request.index] for cut in cuts]


def extract_here(cuts: list[Cut], *, force: bool) -> list[ExtractOutput]:
    """Cuts the segments in this process; returns them in order. Raises the first error
    immediately."""
    return _results(_submit(extract_segment, cuts, force=force))


def _groups(cuts: list[Cut]) -> list[CutGroup]:
    """The segments for each other machine; none if all are cut in this process."""
    costs = [cut_cpu_seconds(cut.plan) for cut in cuts]
    divided = divide(costs, limits().machine_cpu_seconds, limits().max_parallel_segments)
    groups = (CutGroup(tuple(cuts[number] for number in numbers)) for numbers in divided)
    return [part for group in groups for part in within_limit(group)]


def prepare(
    flow: Callable[[str, str, bool], list[Moment]], keys: ShortsKeys, *, force: bool
) -> list[Moment]:
    """The moments of a video, from `flow` in this process or on a machine of the `prepare` pool."""
    if not fan_out().is_remote:
        return flow(keys.user_id, keys.video_id, force)
    with child_run_group(keys):
        return prepare_remote(keys, force)


def transcribe_all(keys: ShortsKeys, config: ShortsConfig, *, force: bool) -> None:
    """Transcribes a video in windows. Raises the first error immediately.

    Several windows are transcribed on as many machines of the `media` pool, if the transcriber runs
    there, else all on the preparing machine.
    """
    windows = plan_windows(keys, config, force)
    if not windows:
        return
    is_distributed = TRANSCRIBERS[models().transcriber].is_distributed
    if fan_out().is_remote and len(windows) > 1 and is_distributed:
        with child_run_group(keys):
            _results([transcribe_remote.submit(each, force) for each in windows], "windows")
    else:
        _results(_transcribe_here(windows, force=force), "windows")
    join_windows(keys, config, windows)


def _transcribe_here(windows: list[SpeechWindow], *, force: bool) -> list[PrefectFuture[None]]:
    """Transcribes windows in this process, as many at once as the machine can handle."""
    at_once = min(local_concurrency(), len(windows))
    threads = max(1, cores() // at_once)
    futures: list[PrefectFuture[None]] = []
    for number, window in enumerate(windows):
        # If other machines make segments and shorts, the runner has more threads than cores.
        before = futures[max(0, number - at_once) : max(0, number - at_once + 1)]
        futures.append(
            transcribe_window.submit(window, threads, force, return_state=False, wait_for=before)
        )
    return futures


def render_all(
    keys: ShortsKeys, config: ShortsConfig, moments: list[Moment], edits: Edits, *, force: bool
) -> list[Short]:
    """Renders a short of each moment that the user has not refused; returns all shorts by number.

    Each begins with cutting its moment's segment, so that none waits for the others' segments. A
    short that fails is marked as failed and does not stop the others.
    """
    renders = plan_renders(keys, config, moments, edits)
    requests = [each for each in renders if not each.moment.is_refused]
    refused = [each.refused() for each in renders if each.moment.is_refused]
    return sorted([*_render(keys, requests, force=force), *refused], key=lambda one: one.index)


def _render(keys: ShortsKeys, requests: list[Render], *, force: bool) -> list[Short]:
    if not requests:
        return []
    if not fan_out().is_remote:
        return render_here(requests, force=force)
    groups = _render_groups(requests)
    if not groups:
        # The runner has as many threads as there may be other machines.
        at_once = local_concurrency()
        parts = (requests[start : start + at_once] for start in range(0, len(requests), at_once))
        return [short for part in parts for short in render_here(part, force=force)]
    with child_run_group(keys):
        return _render_remotely(groups, force=force)


def _render_groups(requests: list[Render]) -> list[RenderGroup]:
    """The shorts for each other machine; none if all are rendered in this process."""
    costs = [request.cpu_seconds for request in requests]
    divided = divide(costs, limits().machine_cpu_seconds, limits().max_parallel_segments)
    groups = (RenderGroup(tuple(requests[number] for number in numbers)) for numbers in divided)
    return [part for group in groups for part in renders_within_limit(group)]


def _render_remotely(groups: list[RenderGroup], *, force: bool) -> list[Short]:
    alone = [group.renders[0] for group in groups if len(group.renders) == 1]
    together = [group for group in groups if len(group.renders) > 1]
    singly = [render_remote.submit(each, force) for each in alone]
    grouped = [render_group_remote.submit(each, force) for each in together]
    made: list[Short] = []
    for group, future in zip(together, grouped, strict=True):
        shorts: object = future.result(raise_on_failure=False)
        if isinstance(shorts, list):
            made += shorts
        elif isinstance(shorts, StoppedError):
            made += [_failed(request, shorts) for request in group.renders]
        else:
            # Each short gets a run of its own, which finds it, or fails with its own error.
            alone += group.renders
            singly += [render_remote.submit(each, force) for each in group.renders]
    return [*made, *_outcomes(alone, singly)]


def render_here(requests: list[Render], *, force: bool) -> list[Short]:
    """Renders the shorts in this process. A short that fails does not stop the others."""
    return _outcomes(requests, _submit(render_short, requests, force=force))


def _outcomes(requests: list[Render], futures: list[PrefectFuture[Short]]) -> list[Short]:
    with count_bar(len(futures), "shorts") as advance:
        for _ in as_completed(futures):
            advance()
    return [_outcome(*pair) for pair in zip(requests, futures, strict=True)]


def _outcome(request: Render, future: PrefectFuture[Short]) -> Short:
    made = future.result(raise_on_failure=False)
    return made if isinstance(made, Short) else _failed(request, made)


def _failed(request: Render, error: Any) -> Short:
    key = request.keys.short(request.number)
    return Short.failed(request.number, key, request.moment, Failure.of(error))


def _results(futures: list[PrefectFuture[Result]], noun: str = "segments") -> list[Result]:
    with count_bar(len(futures), noun) as advance:
        for future in as_completed(futures):
            future.result()
            advance()
    return [future.result() for future in futures]


def _submit(
    step: Task[[Part, int, bool], Result], parts: Sequence[Part], *, force: bool
) -> list[PrefectFuture[Result]]:
    """Starts a step for each part in this process, each with its share of the cores."""
    return [
        step.submit(part, _threads(number, len(parts)), force) for number, part in enumerate(parts)
    ]


def _threads(number: int, count: int) -> int:
    """The threads of the encoder of part `number` of `count`.

    Two encoders with one thread are faster than one with two, so only idle cores are threads: the
    last parts may be fewer than fit at once.
    """
    at_once = min(local_concurrency(), count)
    last = count % at_once
    is_last = number >= count - last
    return max(1, cores() // (last if is_last else at_once))
