"""Sources in the local S3, and cutting from them with nothing but the craft."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from clipflow.jobs.segment import open_source
from clipflow.media.form import Form, common_form
from clipflow.media.mux import Piece, Stitched, stitch
from clipflow.media.probe import Probe, probe
from clipflow.media.smart_cut import Cutting, smart_cut
from clipflow.media.window import Span, fetch
from clipflow.storage.objects import ObjectHead, ObjectStore


class CutRoom:
    """Cuts spans of objects into segments in a folder, and stitches them."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects = objects
        self.folder = folder
        self._pieces: list[Piece] = []
        self.cuttings: list[Cutting] = []

    def put(self, path: Path) -> ObjectHead:
        key = f"{self.folder.name}/{path.name}"
        self.objects.client.upload_file(str(path), self.objects.bucket, key)
        head = self.objects.head(key)
        assert head
        return head

    def probe(self, head: ObjectHead) -> Probe:
        return probe(open_source(head, self.objects))

    def cut(self, head: ObjectHead, start: str, end: str, form: Form | None = None) -> Path:
        known = self.probe(head)
        span = Span(Fraction(start), Fraction(end))
        window = fetch(open_source(head, self.objects), known, span, self.folder / "window.nut")
        path = self.folder / f"segment-{len(self._pieces)}.mp4"
        form = form or common_form([known])
        self.cuttings.append(smart_cut(window, known, form, path, threads=1))
        self._pieces.append(Piece(path, span.duration))
        return path

    def stitch(self) -> tuple[Path, Stitched]:
        path = self.folder / "clip.mp4"
        return path, stitch(self._pieces, path)

    def clip_of(self, head: ObjectHead, spans: Sequence[tuple[str, str]]) -> Path:
        for start, end in spans:
            self.cut(head, start, end)
        return self.stitch()[0]
