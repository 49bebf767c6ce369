"""`clipflow shorts`: uploads a person's video, makes its shorts and downloads them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.settings import settings
from clipflow.storage.objects import ObjectStore, shorts_store
from clipflow.subtitles.reading import read_subtitles
from deployments.command.files import (
    LOCAL,
    Results,
    belongings,
    fetch,
    identifier,
    near,
    put_once,
    read_record,
)
from deployments.command.follow import follow, start_shorts
from deployments.command.output import Answer, Exit
from deployments.command.prefect_api import Job

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
        probe_source(LocalSource(path))
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


def make_shorts(
    path: Path,
    config: ShortsConfig,
    background: Path | None,
    subtitles: Path | None,
    out: Path,
    force: bool,
    answer: Answer,
) -> None:
    """Upload, run, follow, fetch; what failed is told, and what is made is fetched all the same."""
    video = Video.of(path)
    answer.document |= {"job": "shorts", "name": video.keys.video_id}
    shorts = [f"{path.stem}-{number}.mp4" for number in range(1, config.segment_count + 1)]
    belongings(video.keys, out).check([*shorts, f"{path.stem}.html"])
    with answer.busy(f"Uploading {path.name} as {video.keys.label}"):
        video.put(config, background, subtitles)
    run = follow(lambda: start_shorts(video.keys, force), answer)[video.keys.video_id]
    job = Job(run, video.keys)
    results = fetch(video.keys, out, path.stem)
    _show(results, answer)
    state = run.state
    message = state.message or "" if state else ""
    answer.document |= {"runId": str(run.id), "state": job.state, "message": message}
    if job.has_failed:
        answer.fail(Exit.FAILED, f"{job.state}: {job.failure(read_record(video.keys))}")
    else:
        answer.say(message)


def _show(results: Results, answer: Answer) -> None:
    made = [_short(file, record) for file, record in results.made]
    answer.document |= {"page": str(results.page) if results.page else None, "shorts": made}
    if made:
        columns = ("file", "moment", "score", "title")
        rows = [
            (near(s["file"]), f"{s['start']} – {s['end']}", f"{s['score']:.0f}", s["title"])
            for s in made
        ]
        answer.table(columns, rows)
    if results.page:
        answer.say(f"See them all: {near(results.page)}")


def _short(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("index", "s3Key", "start", "end", "title", "why", "duration", "fileSize")
    return {
        "file": str(file),
        "score": float(record["score"]),
        **{name: record.get(name) for name in names},
    }
