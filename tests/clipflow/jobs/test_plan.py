"""Planning cuts from segments, and finished objects as checkpoints."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from clipflow import PIPELINE_VERSION
from clipflow.domain.clips import Segment, StitchInput, StitchSegment
from clipflow.domain.errors import InvalidInputError, SourceChangedError
from clipflow.domain.keys import ClipKeys
from clipflow.jobs.clips import (
    Cut,
    SourceChoice,
    SourcedClip,
    assemble,
    extract,
    find_existing_clip,
    plan_cuts,
    source_clip,
)
from clipflow.jobs.segment import SegmentPlan
from clipflow.media.window import Span
from clipflow.storage.objects import ObjectStore
from tests.made_media import a_machine, frame_numbers, make_source

ClipFactory = Callable[..., SourcedClip]


@pytest.fixture
def source(objects: ObjectStore, tmp_path: Path) -> str:
    key = f"{tmp_path.name}/source.mp4"
    path = make_source(tmp_path / "source.mp4", seconds=6, sound=("-c:a", "aac"))
    objects.client.upload_file(str(path), objects.bucket, key)
    return key


@pytest.fixture
def clip_of_segments(source: str, objects: ObjectStore, tmp_path: Path) -> ClipFactory:
    def clip_of(*segments: dict[str, Any]) -> SourcedClip:
        return source_clip(
            ClipKeys("t", tmp_path.name, "c"),
            [Segment.read(segment, "it") for segment in segments],
            SourceChoice(source, {}, []),
            objects,
        )

    return clip_of


def make(cuts: list[Cut], clip: SourcedClip, objects: ObjectStore) -> None:
    outputs = [extract(cut, objects, a_machine()) for cut in cuts]
    segments = [StitchSegment(segment_file=o.segment_file, metadata=o.metadata) for o in outputs]
    keys = clip.keys
    request = StitchInput(
        tenant_id=keys.tenant_id,
        episode_id=keys.episode_id,
        clip_id=keys.clip_id,
        segments=segments,
    )
    assemble(request, clip, objects, a_machine())


def test_an_end_slightly_past_the_source_is_clamped(
    clip_of_segments: ClipFactory, objects: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    [cut] = plan_cuts(clip_of_segments({"startTime": 5, "endTime": 6.9}), objects)
    assert cut.plan.span == Span(Fraction(5), Fraction(6))
    assert "end clamped to 00:00:06" in caplog.text


@pytest.mark.parametrize("span", [(5, 7.1), (6, 6.5), (100, 101)])
def test_a_segment_beyond_its_source_is_refused(
    span: tuple[float, float], clip_of_segments: ClipFactory, objects: ObjectStore
) -> None:
    with pytest.raises(InvalidInputError, match="which lasts 00:00:06"):
        plan_cuts(clip_of_segments({"startTime": span[0], "endTime": span[1]}), objects)


def test_a_clip_with_the_same_inputs_is_not_made_again(
    clip_of_segments: ClipFactory, objects: ObjectStore
) -> None:
    clip = clip_of_segments({"startTime": 1, "endTime": 2}, {"startTime": 4, "endTime": 4.5})
    cuts = plan_cuts(clip, objects)
    assert find_existing_clip(clip, objects) is None
    make(cuts, clip, objects)
    result = find_existing_clip(clip, objects)
    assert result
    assert (result.duration_seconds, result.segment_count) == (1.5, 2)
    assert find_existing_clip(clip_of_segments({"startTime": 1, "endTime": 2}), objects) is None


def test_a_segment_is_cut_again_only_if_it_changed_or_by_force(
    clip_of_segments: ClipFactory, objects: ObjectStore
) -> None:
    clip = clip_of_segments({"startTime": 1, "endTime": 2})
    [cut] = plan_cuts(clip, objects)
    made = extract(cut, objects, a_machine())
    marked = objects.head(made.segment_file)
    assert marked
    objects.client.put_object(
        Bucket=objects.bucket, Key=made.segment_file, Body=b"kept", Metadata=marked.metadata
    )
    kept = extract(cut, objects, a_machine())
    assert kept.metadata.file_size == 4
    [other] = plan_cuts(clip_of_segments({"startTime": 1, "endTime": 2.04}), objects)
    assert extract(other, objects, a_machine()).metadata.file_size > 1000
    assert extract(cut, objects, a_machine(), force=True) == made


def test_the_metadata_of_finished_objects_has_properties_and_fingerprint(
    clip_of_segments: ClipFactory, source: str, objects: ObjectStore
) -> None:
    clip = clip_of_segments({"startTime": 1, "endTime": 2.25})
    make(plan_cuts(clip, objects), clip, objects)
    head, origin = objects.head(clip.keys.clip), objects.head(source)
    assert head
    assert origin
    assert head.metadata.pop("made-from")
    assert head.metadata == {
        "duration-seconds": "1.25",
        "resolution": "320x180",
        "segment-count": "1",
        "source-etag": origin.etag,
        "pipeline-version": PIPELINE_VERSION,
    }
    response = objects.client.head_object(Bucket=objects.bucket, Key=clip.keys.clip)
    assert response["ContentType"] == "video/mp4"


def test_a_segments_metadata_has_the_way_it_was_cut(
    clip_of_segments: ClipFactory, objects: ObjectStore
) -> None:
    cuts = plan_cuts(
        clip_of_segments({"startTime": 1, "endTime": 5}, {"startTime": 1, "endTime": 1.5}), objects
    )
    ways = []
    for cut in cuts:
        head = objects.head(extract(cut, objects, a_machine()).segment_file)
        assert head
        ways.append(head.metadata["cut-way"])
    assert ways == ["smart", "encoded: no whole closed group of pictures lies in the span"]


def test_a_plan_is_unchanged_by_json_serialization(
    clip_of_segments: ClipFactory, objects: ObjectStore
) -> None:
    [cut] = plan_cuts(clip_of_segments({"startTime": 1, "endTime": 5}), objects)
    assert cut.plan.target.copied
    plans = TypeAdapter(SegmentPlan)
    serialized = json.loads(json.dumps(plans.dump_python(cut.plan, mode="json")))
    arrived = plans.validate_python(serialized)
    assert arrived == cut.plan
    assert arrived.fingerprint == cut.plan.fingerprint


def test_a_source_replaced_during_a_run_is_an_error(
    clip_of_segments: ClipFactory, source: str, objects: ObjectStore, tmp_path: Path
) -> None:
    clip = clip_of_segments({"startTime": 1, "endTime": 2})
    [cut] = plan_cuts(clip, objects)
    other = make_source(tmp_path / "other.mp4", seconds=7, sound=None)
    objects.client.upload_file(str(other), objects.bucket, source)
    with pytest.raises(SourceChangedError, match="was replaced"):
        extract(cut, objects, a_machine())
    assert objects.head(clip.keys.segment(0)) is None


def test_overlapping_repeated_and_backward_segments_play_as_listed(
    clip_of_segments: ClipFactory, objects: ObjectStore, tmp_path: Path
) -> None:
    spans = [("4", "4.2"), ("1", "1.2"), ("1.04", "1.2"), ("1", "1.2")]
    clip = clip_of_segments(*({"startTime": start, "endTime": end} for start, end in spans))
    make(plan_cuts(clip, objects), clip, objects)
    objects.download(clip.keys.clip, tmp_path / "clip.mp4")
    expected = [
        n for s, e in spans for n in range(150) if Fraction(s) <= Fraction(n, 25) < Fraction(e)
    ]
    assert frame_numbers(tmp_path / "clip.mp4") == expected
