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
from typing import ClassVar

from benchmarks.programs import CORES
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.transcript import Word, words_json
from clipflow.jobs.posts import fetch_and_put_thumbnail
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
    keys: ClassVar = ShortsKeys("user", "video", "warehouse")

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
        """Make a stacked short with karaoke captions, as a run does."""
        self.link(self.file(key), self.keys.original)
        self.objects.put_text(words_json(words), self.keys.words, {}, "application/json")
        return self._render(span, background, force=True)

    def short_again(self, span: Span, background: str) -> Path:
        """Make the same short, as a run does after an edit: its frame plan is stored."""
        self.file(self.keys.short(1)).unlink()
        return self._render(span, background, force=False)

    def thumbnail(self) -> None:
        """Choose and store the thumbnail of the short."""
        key = self.keys.short(1)
        head = self.objects.head(key)
        assert head, key
        frame = self.keys.short_thumbnail(1)
        fetch_and_put_thumbnail(frame, head, self.objects, this_machine(CORES), models())

    def _render(self, span: Span, background: str, *, force: bool) -> Path:
        config = ShortsConfig.read({"segment_count": 1, "background_video": background}, "config")
        moment = Moment(start=span.start, end=span.end, score=1, why="", title="")
        job = Render(self.keys, config, 1, moment)
        render(job, self.objects, this_machine(CORES), models(), force=force)
        return self.file(self.keys.short(1))


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
