"""Fixtures: an episode and a long video in the local AWS, behind a proxy that injects faults.

The flows run in the process of the test.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.domain.keys import ClipKeys
from clipflow.settings import settings
from clipflow.storage import aws
from clipflow.storage.records import RecordStore, record_store
from flows.generate_clip import generate_clip
from tests.faulty_proxy import FaultyProxy
from tests.flows.warehouse import CONFIG, Warehouse, subtitles
from tests.made_media import make_source
from tests.programs import PrefectServer, eventually


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 8 seconds for clips."""
    path = tmp_path_factory.mktemp("sample") / "main.mp4"
    return make_source(path, seconds=8, sound=("-c:a", "aac"), clicks=True)


@pytest.fixture
def proxy(local_aws: str, storage: None) -> Iterator[FaultyProxy]:
    """A proxy of the local AWS, through which this process connects to it."""
    with FaultyProxy(local_aws).running() as faulty, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", faulty.url)
        clear_cached_settings()
        yield faulty
    clear_cached_settings()


def clear_cached_settings() -> None:
    """Make the next use of the settings and of the AWS clients read the environment again."""
    for cached in (settings, aws.s3_client, aws.records_table, aws.events_client):
        cached.cache_clear()


def stored_task_runs(run_id: str, last: set[str]) -> list[TaskRun]:
    """Wait until all task runs of a flow run have ended, including one named in `last`.

    Returns them. The Prefect server stores a task run a moment after it has ended.
    """
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)]))
    with get_client(sync_client=True) as client:

        def stored() -> list[TaskRun]:
            runs = client.read_task_runs(flow_run_filter=only)
            ended = all(run.state and run.state.is_final() for run in runs)
            return runs if ended and last & {run.name for run in runs} else []

        return eventually(stored)


class Episode:
    """One episode with one clip, and methods to run `generate-clip` for it."""

    def __init__(self, episode_id: str, records: RecordStore) -> None:
        self.keys = ClipKeys("t", episode_id, "clip-789")
        self.records = records
        self.last_run = ""

    def detect(self, *segments: dict[str, Any], **attributes: Any) -> None:
        """Store a record as a detector writes it."""
        history = [{"status": "detected", "timestamp": "2025-01-15T10:30:00Z"}]
        item = {"status": "detected", "statusHistory": history, "segments": list(segments)}
        self.records.table.put_item(Item={**self.keys.record, **item, **attributes})

    def put_main(self, path: Path) -> None:
        """Store the file as the main track of the episode."""
        key = f"{self.keys.episode_id}/tracks/main.mp4"
        aws.s3_client().upload_file(str(path), settings().bucket_name, key)

    def generate(self, **more: Any) -> State[Any]:
        """Run `generate-clip` in this process, and return its final state."""
        state = generate_clip(
            self.keys.tenant_id, self.keys.episode_id, self.keys.clip_id, return_state=True, **more
        )
        self.last_run = str(state.state_details.flow_run_id)
        return state

    def task_runs(self) -> list[TaskRun]:
        """The task runs of the last run, up to Set Complete or Set Failed."""
        return stored_task_runs(self.last_run, {"Set Complete", "Set Failed"})

    @property
    def record(self) -> dict[str, Any]:
        return self.records.table.get_item(Key=self.keys.record, ConsistentRead=True)["Item"]

    @property
    def history(self) -> list[str]:
        """The statuses in the history of the record, in order."""
        return [entry["status"] for entry in self.record["statusHistory"]]


@pytest.fixture
def episode(
    proxy: FaultyProxy,
    prefect_server: PrefectServer,
    tmp_path: Path,
    sample: Path,
) -> Iterator[Episode]:
    """A new episode whose main track is the sample, without a record of its clip."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        made = Episode(tmp_path.name, record_store())
        made.put_main(sample)
        yield made


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 25 seconds for shorts."""
    path = tmp_path_factory.mktemp("talk") / "original.mp4"
    return make_source(path, seconds=25, sound=("-c:a", "aac"), clicks=True)


@pytest.fixture
def warehouse(
    proxy: FaultyProxy, prefect_server: PrefectServer, tmp_path: Path, talk: Path
) -> Iterator[Warehouse]:
    """A new video with subtitles and a config for two shorts."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        made = Warehouse(tmp_path.name)
        made.put("original.mp4", talk)
        made.put("original.srt", subtitles())
        made.put("shorts_config.json", CONFIG)
        yield made
