"""The object a segment is cut from, opened."""

from functools import partial

from clipflow.domain.errors import InvalidInputError, SourceNotFoundError
from clipflow.media.playlist import LARGEST_PLAYLIST_BYTES, beside, parse
from clipflow.media.source import PLAYLIST, FileSource, PlaylistSource, Source
from clipflow.storage.objects import ObjectHead, ObjectStore
from clipflow.telemetry.spans import counted


def find_source(candidates: list[str], objects: ObjectStore) -> ObjectHead:
    """The first of `candidates` that exists. Raises SourceNotFoundError where none does."""
    for key in candidates:
        head = objects.head(key)
        if head:
            return head
    raise SourceNotFoundError(
        f"There is no source at {' or '.join(candidates)}.",
        "Upload it, or correct what names it.",
    )


def open_source(head: ObjectHead, objects: ObjectStore) -> Source:
    """The source at `head`, ready to be read by range. Raises InvalidInputError for a bad playlist."""
    if not head.key.endswith(PLAYLIST):
        return FileSource(head.key, head.etag, head.size, counted(partial(objects.part, head)))
    key = head.key
    for _ in ("master", "media"):
        playlist = parse(objects.text(key, LARGEST_PLAYLIST_BYTES), key)
        if not isinstance(playlist, str):
            return PlaylistSource(head.key, head.etag, playlist, partial(_address, objects, key))
        key = playlist
    raise InvalidInputError(f"{head.key} names a master playlist that names another.")


def _address(objects: ObjectStore, playlist_key: str, uri: str) -> str:
    return objects.url(beside(playlist_key, uri))
