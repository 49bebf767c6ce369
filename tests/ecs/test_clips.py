"""A clip whose segments are cut on several machines, which may fail or be unavailable."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun

from clipflow.storage.objects import ObjectStore
from tests.ecs.conftest import AT_ONCE, CALLS
from tests.ecs.ecs_task import FLOW_RUN_ID
from tests.ecs.machines import Machines
from tests.flows.conftest import Episode
from tests.made_media import frame_numbers
from tests.programs import eventually

pytestmark = [pytest.mark.ecs, pytest.mark.slow]

MADE = ["detected", "Generation in Progress", "Generation Complete"]


def seconds(*starts: float) -> list[dict[str, Any]]:
    """Segments of one second with these starts."""
    times = [(f"00:00:{start:06.3f}", f"00:00:{start + 1:06.3f}") for start in starts]
    return [{"startTime": start, "endTime": end} for start, end in times]


def frames(*starts: float) -> list[int]:
    """The numbers of the source's frames in these segments."""
    return [frame for s in starts for frame in range(round(25 * s), round(25 * (s + 1)))]


def clip(
    machines: Machines,
    episode: Episode,
    force: bool = False,
    environment: Mapping[str, str] | None = None,
) -> UUID:
    """Start a run that makes the episode's clip, and return its id."""
    keys = episode.keys
    return machines.start(
        "generate-clip/clipflow",
        environment,
        tenant_id=keys.tenant_id,
        episode_id=keys.episode_id,
        clip_id=keys.clip_id,
        force=force,
    )


def stored_at(objects: ObjectStore, key: str) -> datetime:
    return objects.client.head_object(Bucket=objects.bucket, Key=key)["LastModified"]


def most_at_once(runs: list[FlowRun]) -> int:
    """The largest number of tasks that ran at the same time."""
    spans = [(run.start_time, run.end_time) for run in runs if run.start_time and run.end_time]
    assert len(spans) == len(runs)
    return max(sum(began <= start < ended for began, ended in spans) for start, _ in spans)


def test_six_segments_are_cut_on_six_machines_at_most_three_at_a_time(
    machines: Machines, episode: Episode, tmp_path: Path
) -> None:
    starts = (5, 1, 3.52, 0, 6, 2)
    episode.detect(*seconds(*starts))
    run = machines.finished(clip(machines, episode))
    assert run.state and run.state.is_completed(), run.state
    assert episode.history == MADE
    tasks = machines.ecs.of("extract-segment")
    assert len(tasks) == 6
    assert most_at_once([machines.run_of(task) for task in tasks]) <= AT_ONCE
    machines.objects.download(episode.record["s3Key"], tmp_path / "clip.mp4")
    assert frame_numbers(tmp_path / "clip.mp4") == frames(*starts)


def test_a_segment_whose_machine_is_killed_is_cut_on_another(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1, 4))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        killed, other = machines.running_tasks("extract-segment", 2)
        killed.kill()
        eventually(lambda: machines.state_of(killed) == "Crashed")
        machines.running_tasks("extract-segment", 2)
    assert machines.finished(run_id).state_name == "Completed"
    assert machines.state_of(other) == "Completed"
    assert len(machines.ecs.of("extract-segment")) == 3
    assert episode.history == MADE


def test_short_segments_share_machines_or_are_cut_by_the_clips_own_run(
    machines: Machines, episode: Episode, tmp_path: Path
) -> None:
    starts, keys, objects = (5, 1, 3.52, 0), episode.keys, machines.objects
    episode.detect(*seconds(*starts))
    two_machines = {"CLIPFLOW_MACHINE_CPU_SECONDS": "2"}
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode, environment=two_machines)
        killed, other = machines.running_tasks("extract-segments", 2)
        killed.kill()
        eventually(lambda: machines.state_of(killed) == "Crashed")
    assert machines.finished(run_id).state_name == "Completed"
    again = [t for t in machines.ecs.of("extract-segments") if t not in (killed, other)]
    assert [machines.run_of(task).name for task in again] == [machines.run_of(killed).name]
    name = machines.run_of(killed).name
    assert name in {f"{keys.clip_id} segments {numbers}" for numbers in ("0, 2", "1, 3")}
    objects.download(keys.clip, tmp_path / "clip.mp4")
    assert frame_numbers(tmp_path / "clip.mp4") == frames(*starts)

    # Only what is missing is made again, in either way.
    kept = [keys.segment(number) for number in (0, 1, 3)]
    times = [stored_at(objects, key) for key in kept]
    in_place = {"CLIPFLOW_MACHINE_CPU_SECONDS": "90"}
    for environment in (two_machines, in_place):
        for key in (keys.clip, keys.segment(2)):
            objects.client.delete_object(Bucket=objects.bucket, Key=key)
        run = machines.finished(clip(machines, episode, environment=environment))
        assert run.state_name == "Completed"
        assert objects.head(keys.clip) and objects.head(keys.segment(2))
        assert [stored_at(objects, key) for key in kept] == times
        assert len(machines.ecs.of("extract-segments")) == 4


def test_a_segment_whose_machine_is_reclaimed_continues_as_the_same_run(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        (reclaimed,) = machines.running_tasks("extract-segment", 1)
        machines.ecs.stop(reclaimed)
        eventually(lambda: reclaimed.status == "STOPPED")
        (other,) = machines.running_tasks("extract-segment", 1)
    assert machines.finished(run_id).state_name == "Completed"
    assert machines.run_of(other).id == machines.run_of(reclaimed).id
    assert machines.run_of(reclaimed).run_count == 2
    assert episode.history == MADE


def test_no_machine_is_started_for_existing_segments_unless_forced(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1))
    assert machines.finished(clip(machines, episode)).state_name == "Completed"
    objects = machines.objects
    objects.client.delete_object(Bucket=objects.bucket, Key=episode.keys.clip)
    assert machines.finished(clip(machines, episode)).state_name == "Completed"
    assert objects.head(episode.keys.clip)
    assert len(machines.ecs.of("extract-segment")) == 1
    assert machines.finished(clip(machines, episode, force=True)).state_name == "Completed"
    assert len(machines.ecs.of("extract-segment")) == 2


def test_machines_that_do_not_start_are_requested_again(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1, 4))
    machines.ecs.failing_starts["extract-segment"] = 1
    machines.ecs.refusals["extract-segment"] = 2
    # More than a run's attempts: capacity that is lost before a task starts uses none of them.
    machines.ecs.lost_starts["extract-segment"] = 5
    assert machines.finished(clip(machines, episode)).state_name == "Completed"
    runs = {
        task.tags[FLOW_RUN_ID]: machines.state_of(task)
        for task in machines.ecs.of("extract-segment")
    }
    assert sorted(runs.values()) == ["Completed", "Completed", "Crashed"]
    assert len(machines.ecs.of("extract-segment")) == 3 + 5
    assert episode.history == MADE


def test_segments_wait_for_a_quota_and_for_throttling_to_pass(
    machines: Machines, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode.detect(*seconds(1, 3, 5))
    # The quota allows one machine of 4 vCPU beside the machine of the clip's run, which has 1 vCPU.
    monkeypatch.setattr(machines.ecs, "quota", 5120)
    monkeypatch.setattr(machines.ecs, "throttled", CALLS + 1)
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        machines.running_tasks("extract-segment", 1)
        eventually(lambda: machines.refused("extract-segment") == 2)
    assert machines.finished(run_id).state_name == "Completed"
    tasks = machines.ecs.of("extract-segment")
    assert [machines.state_of(task) for task in tasks] == ["Completed"] * 3
    assert most_at_once([machines.run_of(task) for task in tasks]) == 1
    assert episode.history == MADE


def test_segments_are_cut_on_demand_while_spot_has_no_capacity(
    machines: Machines, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines.ecs, "has_spot", False)
    episode.detect(*seconds(1, 4))
    assert machines.finished(clip(machines, episode)).state_name == "Completed"
    tasks = machines.ecs.of("extract-segment")
    assert [task.is_on_spot for task in tasks] == [False, False]
    assert episode.history == MADE


def test_segments_are_cut_on_demand_while_spot_accepts_tasks_and_loses_them(
    machines: Machines, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines.ecs, "loses_spot", True)
    episode.detect(*seconds(1, 4))
    assert machines.finished(clip(machines, episode)).state_name == "Completed"
    tasks = machines.ecs.of("extract-segment")
    assert [task.is_on_spot for task in tasks if task.exit_code == 0] == [False, False]
    assert all(task.stop_code == "TaskFailedToStart" for task in tasks if task.is_on_spot)
    assert episode.history == MADE


def test_a_segment_that_spot_interrupts_twice_is_cut_on_demand(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        for number in (1, 2):
            (reclaimed,) = machines.running_tasks("extract-segment", 1)
            assert reclaimed.is_on_spot
            assert machines.run_of(reclaimed).run_count == number
            machines.ecs.stop(reclaimed)
            eventually(lambda task=reclaimed: task.status == "STOPPED")  # type: ignore[misc]
        (last,) = machines.running_tasks("extract-segment", 1)
    assert machines.finished(run_id).state_name == "Completed"
    assert not last.is_on_spot
    assert machines.run_of(last).run_count == 3


def test_machines_that_never_start_fail_the_record(machines: Machines, episode: Episode) -> None:
    episode.detect(*seconds(1))
    machines.ecs.failing_starts["extract-segment"] = 4
    assert machines.finished(clip(machines, episode)).state_name == "Failed"
    error = episode.record["processingError"]
    assert error["code"] == "CRASHED"
    assert "was lost" in error["message"]
    assert len(machines.ecs.of("extract-segment")) == 4


def test_a_cancelled_clip_leaves_no_machine_running(machines: Machines, episode: Episode) -> None:
    episode.detect(*seconds(1, 4))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        tasks = machines.running_tasks("extract-segment", 2)
        machines.cancel(run_id)
        eventually(lambda: not machines.ecs.running())
    assert machines.state(run_id) == "Cancelled"
    assert {machines.state_of(task) for task in tasks} == {"Cancelled"}
    assert episode.record["processingError"]["code"] == "CANCELLED"


def test_a_clip_cancelled_before_its_machines_start_leaves_none_running(
    machines: Machines, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode.detect(*seconds(1, 4))
    run_id = clip(machines, episode)
    (parent,) = machines.running_tasks("generate-clip", 1)
    monkeypatch.setattr(machines.ecs, "launching", 4)
    eventually(lambda: len(machines.ecs.running("extract-segment")) == 2)
    machines.cancel(run_id)
    eventually(lambda: not machines.ecs.running())
    assert machines.state_of(parent) == "Cancelled"
    assert not machines.objects.head(episode.keys.segment(0))


def test_segments_of_a_run_whose_machine_is_lost_stop(machines: Machines, episode: Episode) -> None:
    episode.detect(*seconds(1, 4))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        machines.running_tasks("extract-segment", 2)
        (parent,) = machines.ecs.of("generate-clip")
        parent.kill()
        eventually(lambda: machines.state(run_id) == "Crashed")
        eventually(lambda: not machines.ecs.running())


def test_a_run_whose_machine_is_reclaimed_continues_with_its_running_segments(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1, 4))
    with machines.paused_ffmpeg():
        run_id = clip(machines, episode)
        tasks = machines.running_tasks("extract-segment", 2)
        (parent,) = machines.ecs.of("generate-clip")
        machines.ecs.stop(parent)
        eventually(lambda: parent.status == "STOPPED")
        machines.running_tasks("generate-clip", 1)
    assert machines.finished(run_id).state_name == "Completed"
    assert machines.ecs.of("extract-segment") == tasks
    assert episode.history == MADE


def test_segments_of_a_run_whose_machine_is_lost_are_taken_over_by_the_next_run(
    machines: Machines, episode: Episode
) -> None:
    episode.detect(*seconds(1, 4))
    with machines.paused_ffmpeg():
        lost = clip(machines, episode)
        tasks = machines.running_tasks("extract-segment", 2)
        machines.ecs.of("generate-clip")[0].kill()
        eventually(lambda: machines.state(lost) == "Crashed")
        run_id = clip(machines, episode)
        eventually(lambda: episode.record["flowRunId"] == str(run_id))
    assert machines.finished(run_id).state_name == "Completed"
    assert machines.ecs.of("extract-segment") == tasks
    # The failure of the lost run may be recorded before or after the claim of the next run.
    statuses = [status for status in episode.history if status != "Generation Failed"]
    assert statuses == [*MADE[:2], *MADE[1:]]
