"""Making shorts of a video in the local S3 with clipflow alone, without Prefect."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Framing, Moment, Short, ShortsConfig
from clipflow.domain.transcript import Word, words_json
from clipflow.jobs.render import Render, render
from clipflow.jobs.shorts import make_moment, plan_moment
from clipflow.settings import Models
from clipflow.storage.objects import ObjectStore
from tests.made_media import a_machine


class Studio:
    """Makes one short of one video."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects, self.folder = objects, folder
        self.keys = ShortsKeys("u", folder.name, "warehouse")
        self.framing: Framing | None = None
        self.short: Short | None = None
        self.restored: dict[str, str] = {}

    def put(self, path: Path, words: Sequence[Word] = ()) -> None:
        """Store the video and its transcribed words."""
        self.objects.upload(path, self.keys.original, {})
        self.objects.put_text(words_json(words), self.keys.words, {}, "application/json")

    def make(self, start: str, end: str, **config: Any) -> Path:
        """Make the short of a moment, return its path, and set `short` and `framing`."""
        moment = Moment(start=Fraction(start), end=Fraction(end), score=1, why="", title="")
        settings = ShortsConfig.read({"segment_count": 1, **config}, "the config")
        planned = plan_moment(self.keys, settings, 1, moment, self.objects)
        make_moment(planned, self.objects, a_machine(2), force=True)
        job = Render(self.keys, settings, 1, moment, restored=self.restored)
        short = render(job, self.objects, a_machine(2), Models(), force=True)
        self.framing, self.short = short.framing, short
        path = self.folder / "short.mp4"
        self.objects.download(short.s3_key, path)
        return path
