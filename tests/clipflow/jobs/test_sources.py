"""The source of a segment: its own key, its speaker's track, or the main track."""

from typing import Any

import pytest

from clipflow.domain.clips import Segment, TrackRecord, read_track
from clipflow.domain.errors import InvalidInputError, SourceNotFoundError
from clipflow.domain.keys import ClipKeys, main_track_candidates
from clipflow.jobs.clips import SourceChoice
from clipflow.jobs.segment import find_source
from clipflow.storage.objects import ObjectStore

TRACKS = {
    "main": TrackRecord(s3_key="main.mov", speakers=("host",)),
    "guest": TrackRecord(s3_key="guest.mkv", speakers=("guest", "cohost")),
}


def segment(**more: str) -> Segment:
    return Segment.read({"startTime": 0, "endTime": 1, **more}, "it")


@pytest.mark.parametrize(
    ("choice", "fields", "keys"),
    [
        (SourceChoice("clip.mp4", TRACKS, ["m"]), {"sourceKey": "own.mp4"}, ["own.mp4"]),
        (SourceChoice("clip.mp4", TRACKS, ["m"]), {"speaker": "guest"}, ["clip.mp4"]),
        (SourceChoice(None, TRACKS, ["m"]), {"speaker": "cohost"}, ["guest.mkv"]),
        (SourceChoice(None, TRACKS, ["m"]), {"speaker": "unknown"}, ["main.mov"]),
        (SourceChoice(None, TRACKS, ["m"]), {}, ["main.mov"]),
        (SourceChoice(None, {"guest": TRACKS["guest"]}, ["a", "b"]), {}, ["a", "b"]),
    ],
)
def test_the_most_specific_source_is_chosen(
    choice: SourceChoice, fields: dict[str, str], keys: list[str]
) -> None:
    assert choice.candidates(segment(**fields)) == keys


NOT_READY: dict[str, dict[str, Any]] = {
    "main": {"s3Key": "main.mov", "speakers": ["host"]},
    "guest": {"speakers": ["guest"]},
    "room": {"s3Key": "/absolute", "speakers": ["room"]},
    "unknown": {"s3Key": "unknown.mp4", "speakers": "one"},
}


def test_a_track_that_is_not_ready_fails_only_segments_that_use_it() -> None:
    choice = SourceChoice(None, {n: read_track(item, n) for n, item in NOT_READY.items()}, ["m"])
    assert choice.candidates(segment(speaker="host")) == ["main.mov"]
    assert choice.candidates(segment()) == ["main.mov"]
    assert choice.candidates(segment(speaker="guest", sourceKey="own.mp4")) == ["own.mp4"]
    for speaker, reason in (
        ("guest", "track guest is not valid: s3Key: Field required"),
        ("room", "track room is not valid: s3Key"),
        ("somebody", "track unknown is not valid: speakers"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            choice.candidates(segment(speaker=speaker))
    without_main = SourceChoice(None, {"main": read_track({}, "main")}, ["m"])
    with pytest.raises(InvalidInputError, match="track main is not valid"):
        without_main.candidates(segment())


def test_a_missing_source_raises_an_error_with_its_key_and_a_remedy(objects: ObjectStore) -> None:
    with pytest.raises(SourceNotFoundError, match=r"no source at e/none\.mp4\. Upload it"):
        find_source(["e/none.mp4"], objects)


def test_a_key_prefix_may_contain_the_tenant() -> None:
    keys = ClipKeys("t", "e", "c", "tenants/{tenantId}/")
    assert keys.clip == "tenants/t/e/clips/c/clip.mp4"
    assert keys.segment(3) == "tenants/t/e/clips/c/segments/3.mp4"
    assert ClipKeys("t", "e", "c").clip == "e/clips/c/clip.mp4"
    assert main_track_candidates("t", "e", "") == ["e/tracks/main.mp4"]
    assert main_track_candidates("t", "e", "{tenantId}/") == [
        "t/e/tracks/main.mp4",
        "e/tracks/main.mp4",
    ]
