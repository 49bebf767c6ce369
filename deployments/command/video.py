"""A person's video in the warehouse: what goes there and what comes back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.media.probe import probe
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.objects import ObjectStore, shorts_store
from clipflow.subtitles.reading import read_subtitles
from deployments.command.upload import LOCAL, identifier, put_once

# On what a person gave for one run.
_BY_COMMAND = {"given-to": "clipflow-shorts"}


@dataclass(frozen=True)
class Video:
    """A file of this machine, named by what it is called and what is in it."""

    path: Path
    keys: ShortsKeys
    objects: ObjectStore

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises MediaRefusedError where the file is no video."""
        probe(LocalSource(path))
        keys = ShortsKeys(LOCAL, identifier(path), settings().shorts_prefix)
        return cls(path, keys, shorts_store())

    def put(self, config: ShortsConfig, background: Path | None, subtitles: Path | None) -> None:
        """The video, unless it is there, its config, and what else a person has for it.

        Raises InvalidInputError for subtitles that cannot be read, before anything is put.
        """
        if subtitles:
            read_subtitles(subtitles.read_bytes(), subtitles.name, None)
        put_once(self.objects, self.path, self.keys.original)
        self._put_subtitles(subtitles)
        written = config.model_dump(mode="json", exclude_none=True)
        written |= {"user_id": self.keys.user_id, "video_id": self.keys.video_id}
        if background:
            written["background_video"] = f"{self.keys.folder}/background{background.suffix}"
            self.objects.upload(background, written["background_video"], {})
        self.objects.put_text(json.dumps(written), self.keys.config, {}, "application/json")

    def _put_subtitles(self, subtitles: Path | None) -> None:
        """Those given; without any, those of an earlier command are gone, and nobody else's."""
        key = self.keys.subtitles
        if subtitles:
            self.objects.upload(subtitles, key, _BY_COMMAND, "application/x-subrip")
        elif (there := self.objects.head(key)) and there.metadata.items() >= _BY_COMMAND.items():
            self.objects.delete(key)
