"""Events and records of clips: which fields are read, and the errors that name invalid ones."""

import json

import pytest

from clipflow.domain.clips import (
    BeginClipGeneration,
    ClipRecord,
    ClipRequest,
    ExtractOutput,
    Segment,
    SegmentMetadata,
    in_play_order,
    read_track,
)
from clipflow.domain.errors import InvalidInputError


def segment(start: object = 1, end: object = 2, **more: object) -> dict[str, object]:
    return {"startTime": start, "endTime": end, **more}


def test_an_event_without_clips_is_valid() -> None:
    event = BeginClipGeneration.read({"tenantId": "tenant-123", "episodeId": "episode-456"}, "it")
    assert event.clips is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "a#b", "é", "x" * 129, "a\n", 5, None]
)
def test_an_identifier_that_could_leave_its_prefix_is_refused(name: object) -> None:
    with pytest.raises(InvalidInputError, match="tenantId"):
        BeginClipGeneration.read({"tenantId": name, "episodeId": "e"}, "the event")


def test_only_the_field_names_of_the_contract_are_read() -> None:
    with pytest.raises(InvalidInputError, match="tenantId: Field required"):
        BeginClipGeneration.read({"tenant_id": "t", "episodeId": "e"}, "the event")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"clipId": "c", "segments": []}, "clips.0.segments"),
        ({"clipId": "c", "segments": [segment(2, 1)]}, "clips.0.segments.0: startTime must be"),
        ({"clipId": "c", "segments": [segment("x")]}, "clips.0.segments.0.startTime"),
        ({"clipId": "c", "segments": [segment(order="first")]}, "clips.0.segments.0.order"),
        ({"clipId": "c", "segments": [segment(sourceKey="../x")]}, "clips.0.segments.0.sourceKey"),
        ({"segments": [segment()]}, "clips.0.clipId"),
        ("c", "clips.0"),
    ],
)
def test_the_invalid_field_is_named(bad: object, field: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        BeginClipGeneration.read({"tenantId": "t", "episodeId": "e", "clips": [bad]}, "the event")


def test_a_clip_requested_twice_must_be_the_same() -> None:
    clip = {"clipId": "c", "segments": [segment()]}
    other = {"clipId": "c", "segments": [segment(end=3)]}
    head = {"tenantId": "t", "episodeId": "e"}
    assert BeginClipGeneration.read({**head, "clips": [clip, clip]}, "the event").clips
    with pytest.raises(InvalidInputError, match="requested twice"):
        BeginClipGeneration.read({**head, "clips": [clip, other]}, "the event")


def test_segments_are_sorted_by_order_and_otherwise_kept_as_listed() -> None:
    listed = [segment(text="a", order=2), segment(text="b"), segment(text="c", order=0)]
    played = in_play_order([Segment.read(s, "it") for s in listed])
    assert [s.text for s in played] == ["c", "b", "a"]


def test_a_records_segments_are_validated_only_when_they_are_needed() -> None:
    record = ClipRecord.read({"segments": [segment("x")], "status": "detected"}, "the record")
    with pytest.raises(InvalidInputError, match=r"the record of clip c .*segments\.0\.startTime"):
        record.complete_request(ClipRequest(clip_id="c"))
    with pytest.raises(InvalidInputError, match="has no segments"):
        ClipRecord().complete_request(ClipRequest(clip_id="c"))


def test_an_extracted_segments_output_has_the_field_names_of_the_contract() -> None:
    output = ExtractOutput(
        episode_id="episode-456",
        clip_id="clip-789",
        segment_file="episode-456/clips/clip-789/segments/0.mp4",
        metadata=SegmentMetadata(duration=135.5, file_size=15728640, resolution="1920x1080"),
    )
    assert json.loads(output.model_dump_json()) == {
        "episodeId": "episode-456",
        "clipId": "clip-789",
        "segmentFile": "episode-456/clips/clip-789/segments/0.mp4",
        "status": "completed",
        "metadata": {"duration": 135.5, "fileSize": 15728640, "resolution": "1920x1080"},
    }


def test_the_speakers_of_a_track_that_is_not_ready_may_be_a_string_set() -> None:
    track = read_track({"status": "uploading", "speakers": {"Bob"}}, "camera-2")
    assert track.speakers == ("Bob",)
