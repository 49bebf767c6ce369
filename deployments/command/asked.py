"""What a person asked for, and the runs that came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from deployments.command.errors import UnreachableError
from deployments.command.runs import runs_of_event
from tasks.flow_runs import job_of


class Asked(Protocol):
    """Some records to be made, and the runs that were started for them."""

    @property
    def told(self) -> str:
        """That it is asked for now, for a person."""

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        """The records, each by the name that people call it."""

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        """The run of each, by the same name, as far as there is one."""


@dataclass(frozen=True)
class AskedRun:
    """One run, which this process has started."""

    keys: ShortsKeys
    run_id: UUID

    @property
    def told(self) -> str:
        return f"Asked for the shorts of {self.keys.label}"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {self.keys.video_id: self.keys}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return {self.keys.video_id: client.read_flow_run(self.run_id)}


@dataclass(frozen=True)
class AskedByEvent:
    """The runs of the clips that an event has named."""

    event_id: str
    clips: Sequence[ClipKeys]

    @property
    def told(self) -> str:
        many = len(self.clips) > 1
        what = f"{len(self.clips)} clips" if many else self.clips[0].label
        return f"Asked for {what} of {self.clips[0].episode_id} by an EventBridge event"

    @property
    def names(self) -> Mapping[str, RecordKeys]:
        return {keys.clip_id: keys for keys in self.clips}

    def runs(self, client: SyncPrefectClient) -> Mapping[str, FlowRun]:
        return runs_of_event(client, self.event_id, list(self.names))


def start_shorts(keys: ShortsKeys, force: bool) -> AskedRun:
    """Raises UnreachableError where nothing is deployed that could make them."""
    job = job_of(keys)
    try:
        started = run_deployment(
            job.deployment,
            parameters={**job.parameters, "force": force},
            timeout=0,
            as_subflow=False,
        )
    except ObjectNotFound:
        raise UnreachableError(
            f"Prefect has no deployment {job.deployment}.",
            "Start `make up`, or deploy with `python -m deployments.work_pools`.",
        ) from None
    # Its type is that of both its uses; outside an event loop it gives the run itself.
    return AskedRun(keys, cast(FlowRun, started).id)
