"""A run that is killed at random steps and resumed each time does not repeat finished work."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry

from clipflow.domain.keys import ClipKeys
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.records import RecordStore
from deployments.run_environment import LOGGING
from tests.faults.scale import SCALE
from tests.faults.tenants import MADE, history, tiny_source
from tests.faulty_proxy import Fault, FaultyProxy, Request
from tests.programs import ROOT, PrefectServer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(120 + 60 * SCALE.kills_at_a_step),
]

SEGMENTS = [{"startTime": f"00:0{n % 3}.{n}", "endTime": f"00:0{n % 3}.{n + 3}"} for n in range(4)]


class Kill(Fault):
    """Kills a process with SIGKILL at its `step`-th request for which `matches` returns true.

    If `forwarded` is true, this request is still forwarded to AWS; otherwise it is refused. With
    step 0, no process is killed. `count` is the number of matching requests so far.
    """

    def __init__(
        self, step: int, forwarded: bool, matches: Callable[[Request], bool] = lambda request: True
    ) -> None:
        super().__init__(matches)
        self.step, self.forwarded = step, forwarded
        self.process: subprocess.Popen[bytes] | None = None

    def triggers(self, request: Request) -> bool:
        if not self.matches(request):
            return False
        self.count += 1
        if self.process is None or self.count != self.step:
            return False
        self.process.kill()
        return not self.forwarded


class Runs:
    """Runs of `generate-clip`, each in a process as a worker starts it."""

    def __init__(self, server: PrefectServer, proxy: FaultyProxy, scratch: Path) -> None:
        self._server, self._proxy, self.scratch = server, proxy, scratch
        scratch.mkdir()
        with self._client() as client:
            self._deployment = client.create_deployment(
                client.create_flow_from_name("generate-clip"),
                "faults",
                entrypoint="flows.generate_clip.generate_clip",
                pull_steps=[],
            )

    def create(self, keys: ClipKeys) -> str:
        parameters = {
            "tenant_id": keys.tenant_id,
            "episode_id": keys.episode_id,
            "clip_id": keys.clip_id,
        }
        with self._client() as client:
            run = client.create_flow_run_from_deployment(self._deployment, parameters=parameters)
        return str(run.id)

    def reschedule(self, run: str) -> None:
        """Reschedule the run, as the local stack's supervisor does when a worker has crashed."""
        with self._client() as client:
            client.set_flow_run_state(UUID(run), AwaitingRetry(), force=True)

    @contextmanager
    def _client(self) -> Iterator[SyncPrefectClient]:
        settings_of_server = temporary_settings({PREFECT_API_URL: self._server.url})
        with settings_of_server, get_client(sync_client=True) as client:
            yield client

    def is_killed(self, run: str, kill: Kill) -> bool:
        """Execute the run and return whether its process was killed; otherwise it has succeeded."""
        env = os.environ | LOGGING
        env |= {"PREFECT__FLOW_RUN_ID": run, "PREFECT_API_URL": self._server.url}
        env |= {"AWS_ENDPOINT_URL": self._proxy.url, "CLIPFLOW_SCRATCH": str(self.scratch)}
        command = [sys.executable, "-m", "prefect.engine"]
        with (self.scratch.parent / "log").open("ab") as log:
            kill.process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)
        self._proxy.faults = [kill]
        code = kill.process.wait(120)
        assert code in (0, -9), (self.scratch.parent / "log").read_text()[-5000:]
        return code == -9


@pytest.fixture
def runs(
    local_aws: str, storage: None, prefect_server: PrefectServer, tmp_path: Path
) -> Iterator[Runs]:
    with FaultyProxy(local_aws).running() as proxy:
        yield Runs(prefect_server, proxy, tmp_path / "scratch")


def test_finished_work_is_not_repeated_after_kills(
    runs: Runs, records: RecordStore, tmp_path: Path
) -> None:
    source, rng = tiny_source(tmp_path / "main.mp4"), random.Random(7)
    uninterrupted = Kill(0, forwarded=True)
    assert not runs.is_killed(runs.create(detect_clip(records, source)), uninterrupted)
    kills = 0
    while kills < SCALE.kills_at_a_step:
        keys = detect_clip(records, source)
        run, finished = runs.create(keys), dict[str, Any]()
        steps = uninterrupted.count
        while runs.is_killed(run, Kill(rng.randint(1, steps), forwarded=rng.random() < 0.5)):
            kills += 1
            now = objects_of(keys)
            assert finished.items() <= now.items(), "a finished object has changed"
            finished = now
            runs.reschedule(run)
        assert finished.items() <= objects_of(keys).items()
        assert len(objects_of(keys)) == len(SEGMENTS) + 1
        assert history(records.table.get_item(Key=keys.record)["Item"]) == MADE


def test_the_next_run_removes_scratch_folders_of_killed_runs(
    runs: Runs, records: RecordStore, tmp_path: Path
) -> None:
    source = tiny_source(tmp_path / "main.mp4")
    for name in ("segments/3.mp4", "clip.mp4"):
        at_upload = Kill(1, forwarded=False, matches=partial(is_put_of, name))
        assert runs.is_killed(runs.create(detect_clip(records, source)), at_upload)
        assert list(runs.scratch.iterdir())
    no_kill = Kill(0, forwarded=True)
    assert not runs.is_killed(runs.create(detect_clip(records, source)), no_kill)
    assert not list(runs.scratch.iterdir())


def is_put_of(name: str, request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith(name)


def detect_clip(records: RecordStore, source: Path) -> ClipKeys:
    """Store a source and the record of a detected clip, and return the keys of the clip."""
    keys = ClipKeys("t", f"resumed-{uuid4().hex[:8]}", "c")
    key = f"{keys.episode_id}/tracks/main.mp4"
    aws.s3_client().upload_file(str(source), settings().bucket_name, key)
    history_before = [{"status": "detected", "timestamp": "2025-01-15T10:30:00Z"}]
    item = {"status": "detected", "statusHistory": history_before, "segments": SEGMENTS}
    records.table.put_item(Item={**keys.record, **item})
    return keys


def objects_of(keys: ClipKeys) -> dict[str, Any]:
    """The modification time and ETag of the clip and of each of its segments, by key."""
    found = aws.s3_client().list_objects_v2(
        Bucket=settings().bucket_name, Prefix=f"{keys.episode_id}/clips/"
    )
    return {
        entry["Key"]: (entry["LastModified"], entry["ETag"])
        for entry in found.get("Contents", [])
        if entry["Key"].endswith(".mp4")
    }
