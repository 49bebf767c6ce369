"""Benchmark of the local stack: from an event to the clip's record in progress and to the clip, at
rest, and until the clips of many simultaneous events have their runs.

These are wall times of whole programs, so other programs on the machine affect them.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import httpx

from benchmarks.measure import Finding
from benchmarks.sources import Extent
from clipflow.domain.clips import ClipStatus
from clipflow.domain.keys import ClipKeys
from deployments.local_stack import RunningStack, running_stack
from deployments.local_stack.stack_settings import BUCKET, TABLE
from tests.made_media import make_source
from tests.programs import free_port

# Two segments of ten seconds.
_SEGMENTS = [{"startTime": 5, "endTime": 15}, {"startTime": 25, "endTime": 35}]
_POLL_SECONDS = 0.02
# Between two events at rest: as long as the worker polls often.
_REST_SECONDS = 3.0
_EVENTS_A_CALL = 10


@dataclass(frozen=True)
class Beginning:
    """Seconds after PutEvents of a clip at rest."""

    in_progress: float
    complete: float


def benchmark(extent: Extent, folder: Path) -> list[Finding]:
    source = make_source(folder / "main.mp4", seconds=60, sound=("-c:a", "aac"), clicks=True)
    with running_stack(folder / "stack", free_port(), free_port()) as stack:
        bench = _Bench(stack, source)
        bench.begin()  # The first runs import what the run server has not imported.
        alone = [bench.begin() for _ in range(extent.events_alone)]
        at_once = bench.begin_at_once(extent.events_at_once)
    return findings(alone, extent.events_at_once, at_once)


def findings(alone: list[Beginning], events: int, seconds: float) -> list[Finding]:
    begun, made = [one.in_progress for one in alone], [one.complete for one in alone]
    return [
        Finding("begin/at-rest-seconds", median(begun), 2.5, _spread("in progress", begun)),
        Finding("begin/clip-of-2x10s-seconds", median(made), 5, _spread("complete", made)),
        Finding(
            "begin/at-once-seconds",
            seconds,
            30 if events == 200 else None,
            f"until the last of {events} clips has its run, each of an event and a tenant",
        ),
    ]


def _spread(what: str, seconds: list[float]) -> str:
    return f"{what}: {min(seconds):.1f} to {max(seconds):.1f} s, {len(seconds)} events"


class _Bench:
    def __init__(self, stack: RunningStack, source: Path) -> None:
        self._s3, self._events = stack.client("s3"), stack.client("events")
        self._table = stack.resource("dynamodb").Table(TABLE)
        self._api = stack.env["PREFECT_API_URL"]
        self._source = source

    def begin(self) -> Beginning:
        """Requests one clip, and waits until it is complete."""
        time.sleep(_REST_SECONDS)
        keys = self._new_clip()
        self._put_source(keys)
        began = time.monotonic()
        self._request([keys])
        in_progress = self._wait_for(lambda: self._status(keys) is not None, began)
        return Beginning(in_progress, self._wait_for(lambda: self._is_complete(keys), began))

    def begin_at_once(self, count: int) -> float:
        """Requests clips at once; returns the seconds until all of them have a run."""
        clips = [self._new_clip() for _ in range(count)]
        for keys in clips:
            self._put_source(keys)
        before, began = self._runs(), time.monotonic()
        for start in range(0, count, _EVENTS_A_CALL):
            self._request(clips[start : start + _EVENTS_A_CALL])
        return self._wait_for(lambda: self._runs() >= before + count, began, interval=0.5)

    def _new_clip(self) -> ClipKeys:
        name = uuid4().hex
        return ClipKeys(f"tenant-{name}", f"episode-{name}", "clip")

    def _put_source(self, keys: ClipKeys) -> None:
        key = f"{keys.episode_id}/tracks/main.mp4"
        self._s3.upload_file(str(self._source), BUCKET, key)

    def _request(self, clips: list[ClipKeys]) -> None:
        self._events.put_events(
            Entries=[
                {
                    "Source": "nullcheck.clips",
                    "DetailType": "Begin Clip Generation",
                    "Detail": json.dumps(_detail(keys)),
                }
                for keys in clips
            ]
        )

    def _status(self, keys: ClipKeys) -> str | None:
        item = self._table.get_item(Key=keys.record, ConsistentRead=True).get("Item", {})
        status: str | None = item.get("status")
        return status

    def _is_complete(self, keys: ClipKeys) -> bool:
        status = self._status(keys)
        if status == ClipStatus.FAILED:
            raise RuntimeError(f"the clip of {keys.episode_id} failed")
        return status == ClipStatus.COMPLETE

    def _runs(self) -> int:
        """The number of runs of `generate-clip`."""
        body = {"flows": {"name": {"any_": ["generate-clip"]}}}
        answer = httpx.post(f"{self._api}/flow_runs/count", json=body, timeout=120)
        return int(answer.raise_for_status().json())

    @staticmethod
    def _wait_for(
        happened: Callable[[], bool], began: float, interval: float = _POLL_SECONDS
    ) -> float:
        while not happened():
            if time.monotonic() - began > 600:
                raise TimeoutError("nothing happened for ten minutes")
            time.sleep(interval)
        return time.monotonic() - began


def _detail(keys: ClipKeys) -> dict[str, Any]:
    return {
        "tenantId": keys.tenant_id,
        "episodeId": keys.episode_id,
        "clips": [{"clipId": keys.clip_id, "segments": _SEGMENTS}],
    }
