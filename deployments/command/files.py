"""Local files: naming and uploading videos, styles and brands, and downloading results."""

import hashlib
import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from posixpath import dirname, relpath
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any
from urllib.parse import quote

from clipflow.domain.brands import MAX_BRAND_BYTES, Brand
from clipflow.domain.caption_styles import MAX_FONT_BYTES, CaptionStyle, parse_style
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.model import AudioTrack, parse_json
from clipflow.domain.timecode import TimeSpan
from clipflow.media.probe import probe_sound, probe_source
from clipflow.media.source import LocalSource
from clipflow.results.pages import replace_links
from clipflow.storage.aws import storage_errors
from clipflow.storage.objects import ObjectStore, object_store, shorts_store
from clipflow.storage.records import plain, record_store

# The user id of shorts, and the tenant id of clips, that are made from local files.
LOCAL = "local"
_NAME_LENGTH = 60
# The longest list of times that becomes part of a clip's name.
_TIMES_LENGTH = 60
_PAGE_BYTES = 64 << 20
_PLAYLIST_BYTES = 1 << 12
_PLAYLISTS = {
    "an HLS playlist": re.compile(rb"#EXTM3U"),
    "a list for ffmpeg's concat demuxer": re.compile(rb"ffconcat version"),
    "a DASH manifest": re.compile(rb"(?:<\?xml.*?\?>)?(?:\s|<!--.*?-->)*<MPD\b", re.DOTALL),
}
_MANIFEST = ".clipflow.json"


def plain_name(text: str) -> str:
    """Reduces `text` to the characters of an identifier, short enough to append a suffix."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", text, flags=re.ASCII).strip("-")[:_NAME_LENGTH]


def content_id(path: Path) -> str:
    """An identifier derived from the file's name and content; the same file has the same one."""
    return f"{plain_name(path.stem)}-{_sha256(path)[:8]}".lstrip("-")


def short_files(video: Path, count: int) -> list[str]:
    """The names of the files to which shorts of a video, their thumbnails and page are
    downloaded."""
    names = [f"{video.stem}-{number}" for number in range(1, count + 1)]
    return [*(f"{name}{suffix}" for name in names for suffix in (".mp4", ".jpg"))] + [
        f"{video.stem}.html"
    ]


def framing_file(short: Path) -> Path:
    """The file to which the debug video of a short's file is written."""
    return short.with_suffix(".framing.mp4")


def thumbnail_file(short: Path) -> Path:
    """The file to which the thumbnail of a short's file is downloaded."""
    return short.with_suffix(".jpg")


def clip_files(clip_id: str) -> list[str]:
    """The names of the files that a clip and its page are downloaded to."""
    return [f"{clip_id}.mp4", f"{clip_id}.html"]


def clip_id_of(path: Path, cuts: Sequence[TimeSpan], audio_track: int | str | None = None) -> str:
    """A clip's name, derived from the file's name, the times and the audio track, if one is given.
    Different inputs give different names."""
    times = "_".join("-".join(map(_format_seconds, cut)) for cut in cuts)
    if len(times) > _TIMES_LENGTH:
        times = f"{len(cuts)}-cuts-{sha256(times.encode()).hexdigest()[:8]}"
    track = "" if audio_track is None else f"-audio-{audio_track}"
    return f"{plain_name(path.stem)}-{times}{track}".lstrip("-")


def _format_seconds(time: Fraction) -> str:
    return f"{float(time):.3f}".rstrip("0").rstrip(".")


def upload_once(objects: ObjectStore, path: Path, key: str) -> None:
    """Uploads the file to `key`, unless an object of the same size exists there."""
    head = objects.head(key)
    if head is None or head.size != path.stat().st_size:
        objects.upload(path, key, {})


def check_video(path: Path, audio_track: AudioTrack | None = None) -> None:
    """Raises InvalidInputError for a playlist or a file without this audio track,
    MediaRefusedError for a file that is not a video."""
    check_no_playlist(path)
    probe_source(LocalSource(path), audio_track)


def check_no_playlist(path: Path) -> None:
    """Raises InvalidInputError for a playlist, since the files that it refers to would not be
    uploaded, and for a pipe or a device, which can be read only once or has no end."""
    if not path.is_file():
        raise InvalidInputError(
            f"{path} is a pipe or a device, which cannot be read more than once.",
            "Write its content to a file first.",
        )
    with path.open("rb") as file:
        start = file.read(_PLAYLIST_BYTES).removeprefix(BOM_UTF8).lstrip()
    if kind := next((kind for kind, sign in _PLAYLISTS.items() if sign.match(start)), None):
        # A playlist may be named like a video.
        joined = path.with_stem(f"{path.stem}-joined").with_suffix(".mp4")
        raise InvalidInputError(
            f"{path} is {kind}, which only names the files of a video.",
            f"Join them first: ffmpeg -i {path.name} -c copy {joined.name}.",
        )


def check_sound(path: Path) -> None:
    """Raises InvalidInputError for a playlist, MediaRefusedError for a file without sound."""
    check_no_playlist(path)
    probe_sound(LocalSource(path))


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Creates `folder` and checks that files with these names can be written to it.

    Raises InvalidInputError if they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        longest = os.pathconf(folder, "PC_NAME_MAX")
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be written: {error.strerror}.", "Name another folder with --out."
        ) from None
    for name in names:
        if (length := len(os.fsencode(name))) > longest:
            raise InvalidInputError(
                f"{name} is too long for a file name: it has {length} bytes, and {folder} takes "
                f"{longest}.",
                "Rename the file that it is made from.",
            )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Writes a file atomically: yields a temporary path that replaces `path` at the end.

    The temporary name is short, because `path` with a suffix may exceed the longest file name. An
    OSError names `path`.
    """
    try:
        with TemporaryDirectory(prefix=".clipflow-", dir=path.parent) as folder:
            written = Path(folder, "file")
            yield written
            written.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def relative_path(path: Path | str) -> str:
    """A path relative to the current folder, if it lies in it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def read_record(keys: RecordKeys) -> dict[str, Any]:
    """The record's attributes; empty if there is no record. Raises StorageUnavailableError."""
    with storage_errors(f"reading the record of {keys.label}"):
        answer = record_store().table.get_item(Key=keys.record, ConsistentRead=True)
    return dict(plain(answer.get("Item", {})))


class OutputManifest:
    """The list of the files in a folder that clipflow has written, so that it replaces no others.

    A JSON file in the folder lists each file that clipflow has written there, with its job, its
    size, its modification time and its SHA-256.
    """

    def __init__(self, folder: Path, job: RecordKeys | str) -> None:
        self._folder = folder
        self._job = job if isinstance(job, str) else "/".join(job.record.values())

    def check(self, names: Iterable[str]) -> None:
        """Raises InvalidInputError for an existing file that does not belong to this job."""
        entries = self._read()
        for name in names:
            path = self._folder / name
            entry = entries.get(name, [])
            if path.exists() and not (entry[:1] == [self._job] and _is_unchanged(path, entry)):
                raise InvalidInputError(
                    f"{path} exists, and was not made by this command.",
                    "Move it, or name another folder with --out.",
                )

    def page(self) -> Path | None:
        """The results page of this job in the folder, if there is one."""
        for name, entry in self._read().items():
            path = self._folder / name
            if path.suffix == ".html" and entry[:1] == [self._job] and path.is_file():
                return path
        return None

    def name(self) -> str | None:
        """The name without a suffix under which this job's results were last written here, also if
        its page was removed since."""
        for file, entry in reversed(self._read().items()):
            if Path(file).suffix == ".html" and entry[:1] == [self._job]:
                return Path(file).stem
        return None

    def add(self, name: str) -> None:
        """Records the file with that name, in its current state, as a file of this job."""
        path = self._folder / name
        now = path.stat()
        entry = [self._job, now.st_size, now.st_mtime_ns, _sha256(path)]
        entries = self._read() | {name: entry}
        (self._folder / _MANIFEST).write_text(json.dumps(entries, indent=1), encoding="utf-8")

    def _read(self) -> dict[str, list[object]]:
        return _read_manifest(self._folder)


def _read_manifest(folder: Path) -> dict[str, list[object]]:
    try:
        entries = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _is_unchanged(path: Path, entry: list[object]) -> bool:
    """Whether the file is as clipflow wrote it, by its entry in the manifest.

    A copy of a folder has other modification times, so the content decides then; entries of
    earlier releases do not have its hash.
    """
    now = path.stat()
    if entry[1:2] != [now.st_size]:
        return False
    return entry[2:3] == [now.st_mtime_ns] or entry[3:4] == [_sha256(path)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_results(folder: Path, names: Iterable[str]) -> list[Path]:
    """Removes the files with these names that clipflow has written, for whichever job, and nobody
    has changed since. Returns those that remain."""
    entries = _read_manifest(folder)
    there = [path for name in names if (path := folder / name).exists()]
    for path in there:
        if _is_unchanged(path, entries.get(path.name, [])):
            path.unlink()
    return [path for path in there if path.exists()]


def local_page(out: Path, name: str | None) -> Path | None:
    """The path of the downloaded page `name`, or without a name of the newest one in the folder;
    None if there is no such page."""
    if name is not None:
        path = out / f"{name}.html"
        return path if "/" not in name and path.is_file() else None
    pages = sorted(out.glob("*.html"), key=lambda path: path.stat().st_mtime)
    return pages[-1] if pages else None


@dataclass(frozen=True)
class Results:
    """A job's downloaded files, each with the attributes of its record, and their results page."""

    made: Sequence[tuple[Path, Mapping[str, Any]]]
    page: Path | None


def download_results(keys: ShortsKeys | ClipKeys, folder: Path, name: str) -> Results:
    """Downloads a job's results as `name.mp4` or `name-1.mp4`, …, and its page as `name.html`;
    thumbnails have the names of their shorts, as `name-1.jpg`.

    Raises InvalidInputError if one of these files exists and does not belong to this job.
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
    manifest = OutputManifest(folder, keys)
    objects_of = {file: record["s3Key"] for file, record in made.items()}
    for file, record in made.items():
        if thumbnail := record.get("thumbnail"):
            objects_of[thumbnail_file(Path(file)).name] = thumbnail["s3Key"]
    manifest.check([*objects_of, f"{name}.html"])
    folder.mkdir(parents=True, exist_ok=True)
    for file, key in objects_of.items():
        with whole_file(folder / file) as path:
            objects.download(key, path)
        manifest.add(file)
    files = {record["s3Key"]: file for file, record in made.items()}
    page = _download_page(objects, keys.page, files, folder / f"{name}.html")
    if page:
        manifest.add(page.name)
    return Results([(folder / file, record) for file, record in made.items()], page)


def _download_page(
    objects: ObjectStore, key: str, files: Mapping[str, str], path: Path
) -> Path | None:
    """Downloads the page and makes its links point to `files` beside it; None without a page."""
    if objects.head(key) is None:
        return None
    links = {quote(relpath(k, dirname(key))): quote(os.fsencode(file)) for k, file in files.items()}
    text = objects.text(key, _PAGE_BYTES)
    with whole_file(path) as written:
        written.write_text(replace_links(text, links), encoding="utf-8")
    return path


@dataclass(frozen=True)
class LocalStyle:
    """A `style.json` of this machine, and the font file that it names, if it names one."""

    path: Path
    style: CaptionStyle
    font: Path | None

    def upload(self, folder: str, objects: ObjectStore) -> str:
        """Uploads both below `folder`; returns the style's key, which depends on their content."""
        style = self.style
        if self.font:
            name = f"{content_id(self.font)}{self.font.suffix}"
            upload_once(objects, self.font, f"{folder}/styles/{name}")
            style = style.model_copy(update={"font": name})
        text = style.model_dump_json(indent=1)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        key = f"{folder}/styles/{digest}.json"
        objects.put_text(text, key, {}, "application/json")
        return key


def read_style(path: Path) -> LocalStyle:
    """Reads a style file. Raises InvalidInputError if it is not valid, or its font does not exist
    or is too large."""
    style = parse_style(path.read_bytes(), str(path))
    if style.is_packaged_font:
        return LocalStyle(path, style, None)
    font = path.parent / style.font
    if not font.is_file():
        raise InvalidInputError(f"{path}: font: there is no file {font}.", "Put it there.")
    if font.stat().st_size > MAX_FONT_BYTES:
        raise InvalidInputError(f"{path}: font: {font} is larger than {MAX_FONT_BYTES >> 20} MiB.")
    return LocalStyle(path, style, font)


@dataclass(frozen=True)
class LocalBrand:
    """A `brand.json` of this machine, and the files that it names, by their fields."""

    brand: Brand
    files: Mapping[str, Path]

    def upload(self, folder: str, objects: ObjectStore) -> dict[str, Any]:
        """Uploads its files below `folder`; returns the brand with their keys, as in a config."""
        keys = {}
        for field, path in self.files.items():
            keys[field] = f"{folder}/brand/{content_id(path)}{path.suffix}"
            upload_once(objects, path, keys[field])
        return self.brand.with_files(keys).model_dump(mode="json", exclude_none=True)


def read_brand(path: Path) -> LocalBrand:
    """Reads a brand file. Raises InvalidInputError if it is not valid, or a file that it names does
    not exist."""
    text = path.read_bytes()
    if len(text) > MAX_BRAND_BYTES:
        raise InvalidInputError(f"{path} is larger than {MAX_BRAND_BYTES} bytes.")
    brand = Brand.read(parse_json(text, str(path), "Correct it.", unique_names=True), str(path))
    files = {field: path.parent / name for field, name in brand.files.items()}
    for field, file in files.items():
        if not file.is_file():
            raise InvalidInputError(f"{path}: {field}: there is no file {file}.", "Put it there.")
    return LocalBrand(brand, files)
