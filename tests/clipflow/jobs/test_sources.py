import pytest

from clipflow.domain.clips import Segment, TrackRecord
from clipflow.domain.errors import SourceNotFoundError
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
