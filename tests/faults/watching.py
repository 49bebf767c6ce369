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
from tests.faults.killing import memory
from tests.faults.tenants import COMPLETE, DETECTED, FAILED, IN_PROGRESS, Tenants

# Permitted transitions in a history. A run may take over a record from a run that has ended.
NEXT = {
    DETECTED: {IN_PROGRESS, FAILED},
    IN_PROGRESS: {IN_PROGRESS, COMPLETE, FAILED},
    FAILED: {IN_PROGRESS},
    COMPLETE: set[str](),
}


@dataclass
class Watch:
    """The findings of one observer: the number of checks, and each violation."""

    looks: int = 0
    wrong: list[str] = field(default_factory=list)


@contextmanager
def watching(look: Callable[[], None], watch: Watch, every: float) -> Iterator[Watch]:
    """Repeat a check in a thread. An exception of the check is recorded as a violation."""
    over = threading.Event()

    def turns() -> None:
        while not over.wait(every):
            try:
                look()
                watch.looks += 1
            # Any exception in the thread must be reported to the test.
            except Exception as error:  # noqa: BLE001
                watch.wrong.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


class Reader(Watch):
    """Reads each object of a clip when it appears, and again when it is replaced."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__()
        self._s3 = tenants.s3
        self.versions: dict[str, set[tuple[object, str]]] = {}

    def look(self) -> None:
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
            self.wrong.append(f"{key}: {len(body)} bytes of {answer['ContentLength']}")
        elif key.endswith(".mp4") and not _frames(body):
            self.wrong.append(f"{key}: no picture")


class Histories(Watch):
    """Checks that each history only grows, in a valid order, and ends with the record's status."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__()
        self._tenants = tenants
        self._seen: dict[tuple[str, str], list[Any]] = {}

    def look(self) -> None:
        for key, record in self._tenants.records().items():
            entries, before = record["statusHistory"], self._seen.get(key, [])
            if entries[: len(before)] != before:
                self.wrong.append(f"{key}: {before} became {entries}")
            statuses = [entry["status"] for entry in entries]
            pairs = pairwise(statuses)
            if statuses[-1] != record["status"] or any(b not in NEXT[a] for a, b in pairs):
                self.wrong.append(f"{key} is {record['status']}: {statuses}")
            times = [entry["timestamp"] for entry in entries]
            if times != sorted(times):
                self.wrong.append(f"{key}: {times}")
            self._seen[key] = entries


class Visitor(Watch):
    """Requests the page of the UI and the health of the server.

    `away` has the times at which there was no successful response within `timeout` seconds.
    """

    def __init__(self, stack: RunningStack, timeout: float) -> None:
        super().__init__()
        self._url, self._timeout = stack.settings.prefect_url, timeout
        self.away: list[float] = []
        self.slowest = 0.0

    def look(self) -> None:
        for path in ("/", "/api/health"):
            began = time.monotonic()
            try:
                httpx.get(
                    self._url + path, timeout=self._timeout, follow_redirects=True
                ).raise_for_status()
                self.slowest = max(self.slowest, time.monotonic() - began)
            except httpx.HTTPError:
                self.away.append(began)


class Memory(Watch):
    """Observes the resident memory of the whole stack, in bytes."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self.held: list[int] = []

    def look(self) -> None:
        self.held.append(memory(self._home))

    @property
    def growth(self) -> float:
        """The median of the last third divided by that of the second third."""
        third = len(self.held) // 3
        middle, last = self.held[third : 2 * third], self.held[2 * third :]
        return statistics.median(last) / statistics.median(middle)


def _frames(body: bytes) -> int:
    with av.open(io.BytesIO(body), mode="r") as container:
        return len(list(container.decode(video=0)))
