"""Which object a segment is cut from, and opening it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from clipflow.domain.clips import Segment, TrackRecord
from clipflow.domain.errors import InvalidInput, SourceNotFound
from clipflow.media.playlist import LARGEST_PLAYLIST_BYTES, beside, parse
from clipflow.media.source import FileSource, PlaylistSource, Source
from clipflow.storage.objects import ObjectHead, ObjectStore

_MAIN = "main"


@dataclass(frozen=True)
class SourceChoice:
    """What an episode has to cut from: the clip's own source, its tracks, its lone main track."""

    clip_source: str | None
    tracks: Mapping[str, TrackRecord]
    main_candidates: list[str]

    def candidates(self, segment: Segment) -> list[str]:
        """Keys of which the first that exists is the segment's source. Only the last resort, an
        episode without track records, leaves a choice."""
        named = segment.source_key or self.clip_source or self._track_key(segment.speaker)
        return [named] if named else self.main_candidates

    def _track_key(self, speaker: str | None) -> str | None:
        spoken = (track for track in self.tracks.values() if speaker in track.speakers)
        track = next(spoken, None) or self.tracks.get(_MAIN)
        return track.s3_key if track else None


def find_source(candidates: list[str], objects: ObjectStore) -> ObjectHead:
    """The first of `candidates` that exists. Raises SourceNotFound where none does."""
    for key in candidates:
        head = objects.head(key)
        if head:
            return head
    raise SourceNotFound(
        f"There is no source at {' or '.join(candidates)}.",
        "Upload it, or correct the segment's sourceKey or the track's s3Key.",
    )


def open_source(head: ObjectHead, objects: ObjectStore) -> Source:
    """The source at `head`, ready to be read by range. Raises InvalidInput for a bad playlist."""
    if not head.key.endswith(".m3u8"):
        return FileSource(head.key, head.etag, objects.url(head.key))
    key = head.key
    for _ in ("master", "media"):
        playlist = parse(objects.text(key, LARGEST_PLAYLIST_BYTES), key)
        if not isinstance(playlist, str):
            return PlaylistSource(head.key, head.etag, playlist, partial(_address, objects, key))
        key = playlist
    raise InvalidInput(f"{head.key} names a master playlist that names another.")


def _address(objects: ObjectStore, playlist_key: str, uri: str) -> str:
    return objects.url(beside(playlist_key, uri))
