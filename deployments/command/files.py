"""Files of this machine: how a video is named and uploaded, and how results are downloaded."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, relpath
from typing import Any
from urllib.parse import quote

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.results.pages import replace_links
from clipflow.storage.aws import storage_errors
from clipflow.storage.objects import ObjectStore, object_store, shorts_store
from clipflow.storage.records import plain, record_store

# Whose a person's own videos are: the user of their shorts and the tenant of their clips.
LOCAL = "local"
_NAME_LENGTH = 60


def plain_name(text: str) -> str:
    """`text` as an identifier may have it, short enough for more to come after it."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", text, flags=re.ASCII).strip("-")[:_NAME_LENGTH]


def identifier(path: Path) -> str:
    """What the file is called and what is in it: the same for the same video, however often."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{plain_name(path.stem)}-{digest[:8]}".lstrip("-")


def put_once(objects: ObjectStore, path: Path, key: str) -> None:
    """The file under `key`, unless it is there."""
    head = objects.head(key)
    if head is None or head.size != path.stat().st_size:
        objects.upload(path, key, {})


_LIST = ".clipflow.json"


class Belongings:
    """Of one job in one folder. A list beside the files says whose each is, and how it was left."""

    def __init__(self, folder: Path, job: str) -> None:
        self._folder = folder
        self._job = job

    def check(self, names: Iterable[str]) -> None:
        """Raises InvalidInputError for a file that is there and is not this job's."""
        known = self._read()
        for name in names:
            path = self._folder / name
            if path.exists() and known.get(name) != self._entry(path):
                raise InvalidInputError(
                    f"{path} is there, and was not made by this.",
                    "Move it, or name another folder with --out.",
                )

    def add(self, name: str) -> None:
        """The file of that name, as it is now, is this job's."""
        known = self._read() | {name: self._entry(self._folder / name)}
        (self._folder / _LIST).write_text(json.dumps(known, indent=1), encoding="utf-8")

    def _entry(self, path: Path) -> list[object]:
        now = path.stat()
        return [self._job, now.st_size, now.st_mtime_ns]

    def _read(self) -> dict[str, list[object]]:
        try:
            known = json.loads((self._folder / _LIST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


_PAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Results:
    """What is there: each made thing's file with what its record says of it, and their page."""

    made: Sequence[tuple[Path, Mapping[str, Any]]]
    page: Path | None


def near(path: Path | str) -> str:
    """A path as a person would type it from here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def read_record(keys: RecordKeys) -> dict[str, Any]:
    """The record as it is; empty where there is none. Raises StorageUnavailableError."""
    with storage_errors(f"reading the record of {keys.label}"):
        answer = record_store().table.get_item(Key=keys.record, ConsistentRead=True)
    return dict(plain(answer.get("Item", {})))


def fetch(keys: ShortsKeys | ClipKeys, folder: Path, name: str) -> Results:
    """What is made of it, as `name.mp4` or `name-1.mp4`, …, and `name.html`, which shows it.

    Raises InvalidInputError where one of them is there, and is something else.
    """
    match keys:
        case ShortsKeys():
            objects = shorts_store()
            shorts = read_record(keys).get("shorts", [])
            made = {f"{name}-{s['index']}.mp4": s for s in shorts if s.get("fileSize")}
        case ClipKeys():
            objects = object_store()
            record = read_record(keys)
            made = {f"{name}.mp4": record} if record.get("s3Key") else {}
    if not made:
        return Results([], None)
    ours = belongings(keys, folder)
    ours.check([*made, f"{name}.html"])
    folder.mkdir(parents=True, exist_ok=True)
    for file, record in made.items():
        objects.download(record["s3Key"], folder / file)
        ours.add(file)
    keys_of = {record["s3Key"]: file for file, record in made.items()}
    page = _fetch_page(objects, keys.page, keys_of, folder / f"{name}.html")
    if page:
        ours.add(page.name)
    return Results([(folder / file, record) for file, record in made.items()], page)


def belongings(keys: RecordKeys, folder: Path) -> Belongings:
    """What is in the folder of this job already."""
    return Belongings(folder, "/".join(keys.record.values()))


def _fetch_page(
    objects: ObjectStore, key: str, files: Mapping[str, str], path: Path
) -> Path | None:
    """The page at `path`, its links to objects as those to `files` beside it; None without one."""
    if objects.head(key) is None:
        return None
    links = {quote(relpath(k, dirname(key))): quote(os.fsencode(file)) for k, file in files.items()}
    text = objects.text(key, _PAGE_BYTES)
    path.write_text(replace_links(text, links), encoding="utf-8")
    return path
