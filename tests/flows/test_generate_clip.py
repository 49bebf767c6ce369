"""`generate-clip`: its record, objects, task runs and events, and each way in which it fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ParameterTypeError
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from clipflow.domain.errors import MESSAGE_LIMIT_BYTES
from clipflow.settings import limits
from clipflow.storage.objects import object_store
from flows.generate_clip import generate_clip
from tasks.flow_runs import GENERATE_CLIP, tags_of
from tests.faulty_proxy import Fault, FaultyProxy, Request
from tests.flows.conftest import Episode
from tests.lost_runs import run_of
from tests.made_media import frame_numbers
from tests.subscriber import Subscriber

SEGMENTS = [
    {"startTime": "00:00:05", "endTime": "00:00:06"},
    {"startTime": "00:00:01.5", "endTime": "00:00:02"},
]
FRAMES = [*range(125, 150), *range(38, 50)]
MADE = ["detected", "Generation in Progress", "Generation Complete"]


def is_put_of(name: str, request: Request) -> bool:
    return request.method in ("PUT", "POST") and request.path.endswith(name)


def is_record_update(request: Request) -> bool:
    return request.operation == "UpdateItem"


def test_a_clip_is_made_and_its_task_runs_are_named(episode: Episode, tmp_path: Path) -> None:
    episode.detect(*SEGMENTS)
    assert episode.generate().is_completed()
    assert episode.history == MADE
    assert episode.record["flowRunId"] == episode.last_run
    object_store().download(episode.record["s3Key"], tmp_path / "clip.mp4")
    assert frame_numbers(tmp_path / "clip.mp4") == FRAMES
    wanted = {
        "Set In Progress",
        "find sources",
        "plan",
        "extract 0: 00:00:05-00:00:06",
        "extract 1: 00:00:01.5-00:00:02",
        "stitch",
        "Set Complete",
    }
    assert wanted <= {run.name for run in episode.task_runs()}


def test_the_event_of_a_finished_clip_is_sent_later_if_eventbridge_is_unavailable(
    episode: Episode, proxy: FaultyProxy, local_aws: str
) -> None:
    subscriber = Subscriber(local_aws)
    episode.detect(*SEGMENTS)
    proxy.faults = [Fault(lambda r: r.operation == "PutEvents")]
    assert episode.generate().is_completed()
    assert episode.record["outboxId"]
    proxy.faults = []
    episode.generate(force=True)
    events = subscriber.wait_for(episode.keys.episode_id, 2)
    assert {event["detail-type"] for event in events} == {"Clip Generation Complete"}
    assert len({event["detail"]["flowRunId"] for event in events}) == 2
    assert "outboxId" not in episode.record


def test_a_complete_clip_is_not_made_again_unless_forced(episode: Episode) -> None:
    episode.detect(*SEGMENTS)
    episode.generate()
    before = episode.record
    again = episode.generate()
    assert (again.name, again.is_completed()) == ("AlreadyMade", True)
    assert episode.record == before
    assert episode.generate(force=True).is_completed()
    assert episode.history == [*MADE, *MADE[1:]]


def test_a_clip_that_another_run_is_making_is_left_to_that_run(episode: Episode) -> None:
    episode.detect(*SEGMENTS)

    @flow
    def other_run() -> None:
        assert episode.records.claim(episode.keys, run_id()).granted
        assert episode.generate().name == "AlreadyInProgress"
        assert episode.record["flowRunId"] == run_id()

    other_run()
    assert episode.history == MADE[:2]
    # The other run has ended, but the record still has its claim.
    assert episode.generate().is_completed()
    assert episode.history == [*MADE[:2], *MADE[1:]]


def test_a_newer_request_for_a_clip_is_started_after_the_run_that_is_making_it(
    episode: Episode,
) -> None:
    episode.detect(*SEGMENTS)
    keys = episode.keys
    ids = {"tenant_id": keys.tenant_id, "episode_id": keys.episode_id, "clip_id": keys.clip_id}
    first = run_of(GENERATE_CLIP, ids | {"segments": SEGMENTS}, Scheduled())
    assert episode.records.claim(keys, str(first.id)).granted
    for start in (3, 2):
        segments = [{"startTime": start, "endTime": start + 1}]
        newer = run_of(GENERATE_CLIP, ids | {"segments": segments}, Scheduled())
        run_flow(generate_clip, flow_run=newer)
    run_flow(generate_clip, flow_run=first)
    assert (episode.history, episode.record["segmentCount"]) == (MADE, 2)

    [queued] = scheduled_runs(episode)
    assert queued.parameters == newer.parameters
    run_flow(generate_clip, flow_run=queued)
    assert (episode.history, episode.record["segmentCount"]) == ([*MADE, *MADE[1:]], 1)


@pytest.mark.parametrize(("force", "started"), [(False, 0), (True, 1)])
def test_a_queued_request_for_an_identical_clip_is_not_started(
    episode: Episode, force: bool, started: int
) -> None:
    episode.detect(*SEGMENTS)
    keys = episode.keys
    ids = {"tenant_id": keys.tenant_id, "episode_id": keys.episode_id, "clip_id": keys.clip_id}
    first = run_of(GENERATE_CLIP, ids, Scheduled())
    assert episode.records.claim(keys, str(first.id)).granted
    repeated = run_of(GENERATE_CLIP, ids | {"segments": SEGMENTS, "force": force}, Scheduled())
    run_flow(generate_clip, flow_run=repeated)
    run_flow(generate_clip, flow_run=first)
    assert episode.history == MADE
    assert len(scheduled_runs(episode)) == started


def test_a_newer_request_is_queued_behind_a_run_that_claims_the_record_meanwhile(
    episode: Episode, proxy: FaultyProxy
) -> None:
    episode.detect(*SEGMENTS)
    keys = episode.keys
    ids = {"tenant_id": keys.tenant_id, "episode_id": keys.episode_id, "clip_id": keys.clip_id}
    newer_request = ids | {"segments": [{"startTime": 3, "endTime": 4}]}
    first, second = (run_of(GENERATE_CLIP, ids, Scheduled()) for _ in range(2))
    newer = run_of(GENERATE_CLIP, newer_request, Scheduled())
    assert episode.records.claim(keys, str(first.id)).granted
    updates = 0

    def hand_over(request: Request) -> bool:
        nonlocal updates
        updates += is_record_update(request)
        if is_record_update(request) and updates == 2:
            # The first run ends between the two attempts of the newer one, and the second begins.
            episode.records.table.update_item(
                Key=keys.record,
                UpdateExpression="SET flowRunId = :second",
                ExpressionAttributeValues={":second": str(second.id)},
            )
        return False

    proxy.faults = [Fault(hand_over)]
    run_flow(generate_clip, flow_run=newer)
    proxy.faults = []
    run_flow(generate_clip, flow_run=second)
    assert newer_request in [run.parameters for run in scheduled_runs(episode)]


def test_a_request_whose_clip_is_completed_before_its_claim_changes_nothing(
    episode: Episode, proxy: FaultyProxy
) -> None:
    episode.detect(*SEGMENTS)
    assert episode.generate().is_completed()
    complete = episode.record
    episode.records.table.update_item(
        Key=episode.keys.record,
        UpdateExpression="SET #status = :status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": MADE[0]},
    )

    def complete_it(request: Request) -> bool:
        if is_record_update(request):
            episode.records.table.put_item(Item=complete)
        return False

    proxy.faults = [Fault(complete_it)]
    assert episode.generate().name == "AlreadyMade"
    assert episode.record == complete


def scheduled_runs(episode: Episode) -> list[FlowRun]:
    """The runs of the episode that are scheduled to start."""
    tags = FlowRunFilterTags(all_=tags_of(episode.keys))
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags, state=scheduled))


def run_id() -> str:
    """The id of the flow run in which it is called."""
    from prefect import runtime

    return str(runtime.flow_run.get_id())


@pytest.mark.parametrize(
    ("segment", "code", "expected"),
    [
        ({"startTime": 1, "endTime": 2, "sourceKey": "no/x.mp4"}, "SOURCE_NOT_FOUND", "no/x.mp4"),
        ({"startTime": 1, "endTime": 90}, "VALIDATION_ERROR", "which lasts 00:00:08"),
        ({"startTime": 3, "endTime": 2}, "VALIDATION_ERROR", "startTime must be before endTime"),
        ({"startTime": "soon", "endTime": 2}, "VALIDATION_ERROR", r"segments.0.startTime"),
    ],
)  # fmt: skip
def test_terminal_errors_fail_the_record_without_retries(
    segment: dict[str, object], code: str, expected: str, episode: Episode
) -> None:
    episode.detect(segment)
    assert episode.generate().is_failed()
    error = episode.record["processingError"]
    assert error["code"] == code
    assert expected in error["message"]
    assert episode.history == ["detected", "Generation in Progress", "Generation Failed"]
    assert episode.record["statusHistory"][-1]["error"] == error["message"]
    assert all(run.run_count == 1 for run in episode.task_runs())


def test_a_corrupt_source_fails_with_ffmpegs_error(episode: Episode, tmp_path: Path) -> None:
    (tmp_path / "main.mp4").write_bytes(b"\0\0\0\x20ftypisom" + b"no video " * 500)
    episode.put_main(tmp_path / "main.mp4")
    episode.detect(*SEGMENTS)
    assert episode.generate().is_failed()
    error = episode.record["processingError"]
    assert error["code"] == "FFMPEG_ERROR"
    assert "tracks/main.mp4 cannot be read" in error["message"]
    assert "X-Amz" not in error["message"]


@pytest.mark.slow
def test_a_short_storage_outage_is_retried(episode: Episode, proxy: FaultyProxy) -> None:
    episode.detect(*SEGMENTS)
    proxy.faults = [
        Fault(lambda r: is_put_of("segments/1.mp4", r), times=4),
        Fault(lambda r: r.method == "GET" and r.path.endswith("main.mp4"), times=4),
        Fault(is_record_update, times=4),
    ]
    assert episode.generate().is_completed()
    assert all(fault.count == 4 for fault in proxy.faults)
    assert episode.history == MADE


@pytest.mark.slow
def test_a_storage_outage_that_lasts_fails_the_record(episode: Episode, proxy: FaultyProxy) -> None:
    episode.detect(*SEGMENTS)
    proxy.faults = [Fault(lambda r: is_put_of("segments/1.mp4", r))]
    assert episode.generate().is_failed()
    error = episode.record["processingError"]
    assert error["code"] == "STORAGE_ERROR"
    assert "uploading" in error["message"]
    retried = [run for run in episode.task_runs() if run.name.startswith("extract 1")]
    assert [run.run_count for run in retried] == [4]
    # Finished segments are kept: the next run cuts only the missing ones.
    proxy.faults = []
    assert episode.generate().is_completed()
    assert "processingError" not in episode.record


@pytest.mark.slow
def test_a_record_that_cannot_be_written_fails_the_run_and_is_taken_over_later(
    episode: Episode, proxy: FaultyProxy
) -> None:
    episode.detect(*SEGMENTS)

    def is_update_after_the_claim(request: Request) -> bool:
        return is_record_update(request) and episode.history != ["detected"]

    update_fault = Fault(is_record_update, times=1)
    update_fault.triggers = is_update_after_the_claim  # type: ignore[method-assign]
    proxy.faults = [update_fault]
    assert episode.generate().is_failed()
    assert episode.history == MADE[:2]
    proxy.faults = []
    assert episode.generate().is_completed()
    assert episode.history == [*MADE[:2], *MADE[1:]]


@pytest.fixture
def hanging_ffmpeg(tmp_path: Path) -> Iterator[Path]:
    """An ffmpeg that never ends, with a deadline of half a second."""
    path = tmp_path / "hanging"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPFLOW_FFMPEG", str(path))
        patch.setenv("CLIPFLOW_FFMPEG_DEADLINE_SECONDS", "0.5")
        limits.cache_clear()
        yield path
    limits.cache_clear()


@pytest.mark.slow
def test_an_ffmpeg_that_hangs_is_a_timeout(episode: Episode, hanging_ffmpeg: Path) -> None:
    episode.detect(SEGMENTS[0])
    assert episode.generate().is_failed()
    error = episode.record["processingError"]
    assert error["code"] == "TIMEOUT"
    assert "CLIPFLOW_FFMPEG_DEADLINE_SECONDS" in error["message"]
    assert len(error["message"].encode()) <= MESSAGE_LIMIT_BYTES


@pytest.mark.parametrize("name", ["tenant_id", "episode_id", "clip_id"])
def test_an_identifier_with_path_traversal_is_rejected(name: str, episode: Episode) -> None:
    names: dict[str, Any] = {"tenant_id": "t", "episode_id": "e", "clip_id": "c"}
    with pytest.raises(ParameterTypeError, match="an identifier is 1 to 128"):
        generate_clip(**{**names, name: "../other"}, segments=SEGMENTS)


@pytest.mark.slow
def test_a_source_without_read_permission_fails_with_a_storage_error(
    episode: Episode, proxy: FaultyProxy
) -> None:
    episode.detect(*SEGMENTS)
    proxy.faults = [Fault(lambda r: r.method == "GET" and r.path.endswith("main.mp4"), status=403)]
    assert episode.generate().is_failed()
    error = episode.record["processingError"]
    assert error["code"] == "STORAGE_ERROR"
    assert "X-Amz" not in error["message"]
