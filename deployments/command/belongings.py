"""Which files of a folder clipflow has put there, and for what: it replaces nobody else's."""

import json
from collections.abc import Iterable
from pathlib import Path

from clipflow.domain.errors import InvalidInputError

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
