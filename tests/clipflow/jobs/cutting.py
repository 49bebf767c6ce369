"""Cutting from sources in the local S3 with clipflow alone, without Prefect."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from clipflow.jobs.segment import open_source
from clipflow.media.fetching import fetch_window
from clipflow.media.mux import SegmentFile, StitchResult, stitch
from clipflow.media.output_format import OutputFormat, common_format
from clipflow.media.probe import Probe, probe_source
from clipflow.media.smart_cut import CutResult, smart_cut
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectHead, ObjectStore
from tests.made_media import a_machine


class Cutter:
    """Cuts spans of objects into segments in a folder, and stitches them."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects = objects
        self.folder = folder
        self._pieces: list[SegmentFile] = []
        self.results: list[CutResult] = []

    def put(self, path: Path) -> ObjectHead:
        key = f"{self.folder.name}/{path.name}"
        self.objects.client.upload_file(str(path), self.objects.bucket, key)
        head = self.objects.head(key)
        assert head
        return head

    def probe(self, head: ObjectHead) -> Probe:
        return probe_source(open_source(head, self.objects))

    def cut(
        self, head: ObjectHead, start: str, end: str, target: OutputFormat | None = None
    ) -> Path:
        probe = self.probe(head)
        span = Span(Fraction(start), Fraction(end))
        window = fetch_window(
            open_source(head, self.objects), probe, span, self.folder / "window.nut"
        )
        path = self.folder / f"segment-{len(self._pieces)}.mp4"
        target = target or common_format([probe])
        self.results.append(smart_cut(window, probe, target, path, a_machine()))
        self._pieces.append(SegmentFile(path, span.duration))
        return path

    def stitch(self) -> tuple[Path, StitchResult]:
        path = self.folder / "clip.mp4"
        return path, stitch(self._pieces, path)

    def clip_of(self, head: ObjectHead, spans: Sequence[tuple[str, str]]) -> Path:
        for start, end in spans:
            self.cut(head, start, end)
        return self.stitch()[0]
