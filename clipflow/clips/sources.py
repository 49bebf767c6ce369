"""Which object a segment is cut from."""

from collections.abc import Mapping
from dataclasses import dataclass

from clipflow.domain.clips import Segment, TrackRecord

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
