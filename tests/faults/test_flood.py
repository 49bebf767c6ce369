"""Clips requested at once, with each event delivered three times, while processes are killed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deployments.local_stack import running_stack
from deployments.local_stack.stack_settings import BUCKET
from tests.faults.flood import SEGMENT, Flood, flood, observed
from tests.faults.processes import BRIDGE, RUN, SERVER, kill, pids
from tests.faults.scale import SCALE
from tests.faults.tenants import COMPLETE, Episode, event_message, history, tiny_source
from tests.programs import eventually, free_port

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(1500 + 20 * SCALE.events + SCALE.arrival_seconds),
]

# Seconds until a killed Prefect server is up again.
RESTART_SECONDS = 45
ACCEPTED_TO_STARTED_SECONDS = 120


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flood]:
    """The flood after all its clips are made; the stack is still running."""
    home = tmp_path_factory.mktemp("flooded")
    with running_stack(home, free_port(), free_port()) as stack, observed(stack) as flooded:
        flood(flooded, tmp_path_factory.mktemp("source"))
        print(summary(flooded))
        yield flooded


def summary(flooded: Flood) -> str:
    """The measured numbers, which a person reads in the output of the test."""
    began = min(flooded.requested.values())
    samples = [round(sample / 2**20) for sample in flooded.memory.samples]
    lines = [
        f"{SCALE.events * SCALE.clips + 1} clips, settled after {flooded.all_done - began:.0f} s",
        f"the other tenant's clip: {flooded.small_done - max(flooded.requested.values()):.0f} s",
        f"kills {[part for _, part in flooded.kills]}, {flooded.failed_once} clips failed once",
        f"UI: {flooded.ui.checks} checks, slowest response {flooded.ui.slowest:.1f} s",
        f"bucket: {flooded.reader.checks} checks, table: {flooded.histories.checks} checks",
        f"memory {samples[:: max(1, len(samples) // 12)]} MB, growth {flooded.memory.growth:.2f}",
    ]
    return "\n".join(lines)


def test_every_accepted_event_starts_its_clips_within_2_minutes(flooded: Flood) -> None:
    started: dict[str, list[float]] = {}
    for run in flooded.runs("generate-clip"):
        created = datetime.fromisoformat(run["created"]).timestamp()
        started.setdefault(run["parameters"]["episode_id"], []).append(created)
    for episode in flooded.episodes:
        assert len(started[episode.id]) >= len(episode.clips)
        last = sorted(started[episode.id])[len(episode.clips) - 1]
        assert last - flooded.requested[episode.id] < ACCEPTED_TO_STARTED_SECONDS


def test_every_clip_is_made_and_none_twice(flooded: Flood) -> None:
    for key, record in flooded.tenants.records().items():
        assert history(record).count(COMPLETE) == 1, key
    seen = flooded.reader.versions
    # The last clip was made a moment ago.
    eventually(lambda: len(clips_of(seen)) == SCALE.events * SCALE.clips + 1)
    assert all(len(versions) == 1 for versions in clips_of(seen))


def clips_of(seen: dict[str, Any]) -> list[Any]:
    """The versions of each clip that was seen in the bucket."""
    return [versions for key, versions in list(seen.items()) if key.endswith("/clip.mp4")]


def test_only_clips_whose_own_run_was_killed_fail(flooded: Flood) -> None:
    assert flooded.failed_once <= [part for _, part in flooded.kills].count(RUN)


def test_no_reader_sees_a_partial_object(flooded: Flood) -> None:
    assert flooded.reader.checks > 20
    assert not flooded.reader.violations


def test_no_history_entry_is_lost_duplicated_or_out_of_order(flooded: Flood) -> None:
    assert flooded.histories.checks > 20
    assert not flooded.histories.violations


def test_the_ui_answers_except_while_its_server_restarts(flooded: Flood) -> None:
    assert flooded.ui.checks > 20
    killed = [at for at, part in flooded.kills if part == SERVER]
    assert not [
        at
        for at in flooded.ui.outages
        if not any(0 < at - kill + 5 < RESTART_SECONDS for kill in killed)
    ]
    assert not flooded.ui.violations


def test_memory_is_flat(flooded: Flood) -> None:
    assert flooded.memory.growth < 1.25


def test_another_tenant_waits_for_its_clip_less_than_the_flood_lasts(flooded: Flood) -> None:
    wait = flooded.small_done - max(flooded.requested.values())
    total = flooded.all_done - min(flooded.requested.values())
    # Two servers are killed meanwhile, which takes most of the time of a small flood.
    assert wait < max(120, total / 2)


def test_a_process_that_is_killed_repeatedly_is_restarted_each_time(
    flooded: Flood, tmp_path: Path
) -> None:
    killed: set[int] = set()

    def kill_new_process() -> bool:
        new = set(pids(flooded.stack.settings.home, BRIDGE)) - killed
        for pid in new:
            kill(pid)
        killed.update(new)
        return bool(new)

    for _ in range(4):
        eventually(kill_new_process, 30)
    episode = Episode("late", ["clip"])
    flooded.tenants.detect(episode, tiny_source(tmp_path / "main.mp4"), SEGMENT)
    flooded.tenants.deliver(event_message(episode))
    eventually(lambda: flooded.tenants.record(episode, "clip")["status"] == COMPLETE)


def test_table_queue_bucket_and_server_agree_after_the_flood(flooded: Flood) -> None:
    eventually(lambda: not any(flooded.tenants.message_counts().values()))
    pages = flooded.tenants.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    sizes = {entry["Key"]: entry["Size"] for page in pages for entry in page["Contents"]}
    records = flooded.tenants.records().values()
    assert {r["s3Key"]: r["fileSize"] for r in records} == {
        key: size for key, size in sizes.items() if key.endswith("/clip.mp4")
    }

    def unfinished_runs() -> list[str]:
        flows = ("begin-clip-generation", "generate-clip", "mark-failed")
        states = [run["state_type"] for flow in flows for run in flooded.runs(flow)]
        return [s for s in states if s not in ("COMPLETED", "FAILED", "CRASHED")]

    eventually(lambda: not unfinished_runs(), 150)


def test_scratch_is_empty_after_the_flood(flooded: Flood) -> None:
    assert not list(flooded.stack.settings.scratch.iterdir())
