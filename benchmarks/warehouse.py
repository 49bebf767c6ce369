"""The bucket of a benchmark, clipflow's settings for it, and the measured functions of clipflow.

This is the only module that calls the measured functions.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.programs import CORES
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.transcript import Word, words_json
from clipflow.jobs.render import Render, render
from clipflow.jobs.segment import SegmentPlan, make_segment, open_source
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_source
from clipflow.media.window import Span
from clipflow.settings import models, settings, this_machine
from clipflow.storage import aws
from clipflow.storage.objects import ObjectStore, object_store

_BUCKET = "bench"
_SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "BUCKET_NAME": _BUCKET,
    "TABLE_NAME": "none",
}


@dataclass(frozen=True)
class Warehouse:
    """A bucket whose objects are files in `folder` and which is served at `url`."""

    folder: Path
    url: str

    @cached_property
    def objects(self) -> ObjectStore:
        return object_store()

    def file(self, key: str) -> Path:
        return self.folder / _BUCKET / key

    def link(self, path: Path, key: str) -> None:
        """Add the file at `path` to the bucket as a symbolic link, without copying it."""
        there = self.file(key)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.unlink(missing_ok=True)
        there.symlink_to(path.resolve())

    def bytes_read(self, key: str) -> int:
        """The bytes read of the object since the previous call for any object."""
        with urllib.request.urlopen(f"{self.url}/_read") as answer:
            return int(json.load(answer).get(f"/{_BUCKET}/{key}", 0))

    def cut(self, key: str, spans: Sequence[Span]) -> list[Path]:
        """Cut the spans as a run does: probe the object once, and make a segment of each span."""
        head = self.objects.head(key)
        assert head, key
        known = probe_source(open_source(head, self.objects))
        made = []
        for index, span in enumerate(spans):
            plan = SegmentPlan(f"segments/{index}.mp4", head, known, span, common_format([known]))
            make_segment(plan, self.objects, this_machine(CORES), force=True)
            made.append(self.file(plan.key))
        return made

    def short(self, key: str, span: Span, words: Sequence[Word], background: str) -> Path:
        """Render a stacked short with karaoke captions, as a run does."""
        keys = ShortsKeys("user", "video", "warehouse")
        self.link(self.file(key), keys.original)
        self.objects.put_text(words_json(words), keys.words, {}, "application/json")
        config = ShortsConfig.read({"segment_count": 1, "background_video": background}, "config")
        moment = Moment(start=span.start, end=span.end, score=1, why="", title="")
        render(
            Render(keys, config, 1, moment), self.objects, this_machine(CORES), models(), force=True
        )
        return self.file(keys.short(1))


@contextmanager
def warehouse(folder: Path) -> Iterator[Warehouse]:
    """Serve an empty bucket in `folder`, and configure this process to use it."""
    (folder / _BUCKET).mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.object_server", str(folder)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin and server.stdout
    before = dict(os.environ)
    try:
        url = server.stdout.readline().strip()
        os.environ.update(_SETTINGS, AWS_ENDPOINT_URL=url, CLIPFLOW_SCRATCH=str(folder))
        _clear_cached_settings()
        yield Warehouse(folder, url)
    finally:
        os.environ.clear()
        os.environ.update(before)
        _clear_cached_settings()
        server.stdin.close()
        server.wait(20)
        server.stdout.close()


def _clear_cached_settings() -> None:
    for cached in (settings, aws.s3_client, aws.records_table):
        cached.cache_clear()
