"""Where the segments of a clip are cut: the one seam that knows."""

import os

from prefect.futures import as_completed

from clipflow.clips.plan import Cut
from clipflow.domain.clips import ExtractOutput
from clipflow.domain.keys import ClipKeys
from clipflow.settings import limits
from tasks.clips import extract_segment


def at_once() -> int:
    """Segments cut at the same time by one run: what the settings allow and the cores can do."""
    return min(limits().max_parallel_segments, _cores())


def extract_all(cuts: list[Cut], keys: ClipKeys, *, force: bool) -> list[ExtractOutput]:
    """Every segment, in order. Raises the first error of any as soon as it is known."""
    # Two encoders of one thread do more than one of two, so threads are for what is left over.
    threads = max(1, _cores() // min(at_once(), len(cuts)))
    futures = [extract_segment.submit(cut, keys, threads, force) for cut in cuts]
    for future in as_completed(futures):
        future.result()
    return [future.result() for future in futures]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
