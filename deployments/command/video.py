"""A person's video in the warehouse: what goes there and what comes back."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.media.probe import probe
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.objects import ObjectStore, shorts_store
from clipflow.storage.records import record_store

_USER = "local"
_ID_LENGTH = 60


@dataclass(frozen=True)
class Video:
    """A file of this machine, named by what it is called and what is in it."""

    path: Path
    keys: ShortsKeys
    objects: ObjectStore

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises MediaRefused where the file is no video."""
        probe(LocalSource(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = re.sub(r"[^A-Za-z0-9-]+", "-", path.stem, flags=re.ASCII).strip("-")
        video_id = f"{name[:_ID_LENGTH]}-{digest[:8]}".lstrip("-")
        return cls(path, ShortsKeys(_USER, video_id, settings().shorts_prefix), shorts_store())

    def put(self, config: ShortsConfig, background: Path | None, subtitles: Path | None) -> None:
        """The video, unless it is there, its config, and what else a person has for it."""
        head = self.objects.head(self.keys.original)
        if head is None or head.size != self.path.stat().st_size:
            self.objects.upload(self.path, self.keys.original, {})
        if subtitles:
            self.objects.upload(subtitles, self.keys.subtitles, {}, "application/x-subrip")
        written = config.model_dump(mode="json", exclude_none=True)
        written |= {"user_id": self.keys.user_id, "video_id": self.keys.video_id}
        if background:
            written["background_video"] = f"{self.keys.folder}/background{background.suffix}"
            self.objects.upload(background, written["background_video"], {})
        self.objects.put_text(json.dumps(written), self.keys.config, {}, "application/json")

    def fetch(self, folder: Path) -> list[tuple[Path, dict[str, Any]]]:
        """The shorts that are made, brought to `folder`, each with what the record says of it."""
        made = []
        for short in record_store().shorts(self.keys):
            if short.get("fileSize"):
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{self.path.stem}-{short['index']}.mp4"
                self.objects.download(short["s3Key"], path)
                made.append((path, short))
        return made
