"""Observers that check invariants in background threads and record each violation."""

import io
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx

from deployments.local_stack import RunningStack
from deployments.local_stack.stack_settings import BUCKET
from tests.faults.processes import resident_bytes
from tests.faults.tenants import COMPLETE, DETECTED, FAILED, IN_PROGRESS, Tenants

# Permitted transitions in a history. A run may take over a record from a run that has ended.
NEXT = {
    DETECTED: {IN_PROGRESS, FAILED},
    IN_PROGRESS: {IN_PROGRESS, COMPLETE, FAILED},
    FAILED: {IN_PROGRESS},
    COMPLETE: set[str](),
}


@dataclass
class Observer:
    """The number of checks that an observer has made, and the violations that it has found."""

    checks: int = 0
    violations: list[str] = field(default_factory=list)


@contextmanager
def observing(check: Callable[[], None], observer: Observer, interval: float) -> Iterator[Observer]:
    """Repeat `check` in a thread, every `interval` seconds, and record the results in `observer`.

    An exception of the check is recorded as a violation.
    """
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(interval):
            try:
                check()
                observer.checks += 1
            # Any exception in the thread must be reported to the test.
            except Exception as error:  # noqa: BLE001
                observer.violations.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield observer
    finally:
        stopped.set()
        thread.join()


class ObjectObserver(Observer):
    """Reads each object of a clip when it appears, and again when it is replaced."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__()
        self._s3 = tenants.s3
        self.versions: dict[str, set[tuple[object, str]]] = {}

    def check(self) -> None:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for page in pages:
            for entry in page.get("Contents", []):
                version = (entry["LastModified"], entry["ETag"])
                seen = self.versions.setdefault(entry["Key"], set())
                if version not in seen:
                    seen.add(version)
                    self._read(entry["Key"])

    def _read(self, key: str) -> None:
        answer = self._s3.get_object(Bucket=BUCKET, Key=key)
        body = answer["Body"].read()
        if not body or len(body) != answer["ContentLength"]:
            self.violations.append(f"{key}: {len(body)} bytes of {answer['ContentLength']}")
        elif key.endswith(".mp4") and not _frames(body):
            self.violations.append(f"{key}: no picture")


class HistoryObserver(Observer):
    """Checks that each history only grows, in a valid order, and ends with the record's status."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__()
        self._tenants = tenants
        self._seen: dict[tuple[str, str], list[Any]] = {}

    def check(self) -> None:
        for key, record in self._tenants.records().items():
            entries, before = record["statusHistory"], self._seen.get(key, [])
            if entries[: len(before)] != before:
                self.violations.append(f"{key}: {before} became {entries}")
            statuses = [entry["status"] for entry in entries]
            pairs = pairwise(statuses)
            if statuses[-1] != record["status"] or any(b not in NEXT[a] for a, b in pairs):
                self.violations.append(f"{key} is {record['status']}: {statuses}")
            times = [entry["timestamp"] for entry in entries]
            if times != sorted(times):
                self.violations.append(f"{key}: {times}")
            self._seen[key] = entries


class UiObserver(Observer):
    """Requests the page of the UI and the health of the server.

    `outages` has the times at which there was no successful response within `timeout` seconds.
    """

    def __init__(self, stack: RunningStack, timeout: float) -> None:
        super().__init__()
        self._url, self._timeout = stack.settings.prefect_url, timeout
        self.outages: list[float] = []
        self.slowest = 0.0

    def check(self) -> None:
        for path in ("/", "/api/health"):
            began = time.monotonic()
            try:
                httpx.get(
                    self._url + path, timeout=self._timeout, follow_redirects=True
                ).raise_for_status()
                self.slowest = max(self.slowest, time.monotonic() - began)
            except httpx.HTTPError:
                self.outages.append(began)


class MemoryObserver(Observer):
    """Measures the resident memory of all processes of the stack.

    `samples` has the measured bytes, one sample for each check.
    """

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self.samples: list[int] = []

    def check(self) -> None:
        self.samples.append(resident_bytes(self._home))

    @property
    def growth(self) -> float:
        """The median of the last third divided by that of the second third."""
        third = len(self.samples) // 3
        middle, last = self.samples[third : 2 * third], self.samples[2 * third :]
        return statistics.median(last) / statistics.median(middle)


def _frames(body: bytes) -> int:
    with av.open(io.BytesIO(body), mode="r") as container:
        return len(list(container.decode(video=0)))
