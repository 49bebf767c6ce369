"""The parameters of the simulation, each with its unit and its source.

A source begins with `measured` (by which benchmark here, or how), `documented` (by whom, on which
page), `the product` (its own code or pools), or `assumed`.
"""

from dataclasses import dataclass, field, fields
from typing import Any

PROCESSES = "measured once on two cores: a parent and twelve children on Prefect with PostgreSQL 15"
THROTTLING = "documented: Amazon ECS Developer Guide, AWS Fargate throttling quotas"


def known(value: float, unit: str, source: str) -> Any:
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class Parameters:
    """What the steps take, what there is of everything, and what is requested."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that no step can have."""
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (value == 0 and each.name in _ABOVE_ZERO):
                raise ValueError(f"{each.name} cannot be {value:g}.")

    # What is requested
    segment_seconds: float = known(45, "s", "the product: the benchmarks' segment")
    source_mbit: float = known(7.5, "Mbit/s", "measured: the benchmarks' source, 1080p30 H.264")
    busy_hours: float = known(6, "h a day", "assumed")
    peak_factor: float = known(3, "× the day's mean", "assumed: in the busy hours")

    # From the event to a run
    bridge_poll: float = known(1, "s, at most", "the product: Pace.poll of the bridge")
    event_seconds: float = known(0.2, "s", "measured once: a stored event to its flow run")
    bridge_events: float = known(
        10, "events/s", "the product: a page of 50 in flight, for a server that stores every 5 s"
    )
    worker_poll: float = known(10, "s, at most", "documented: Prefect, worker.query_seconds")
    worker_runs: float = known(5, "runs/s", "assumed: what one ECS worker hands over")

    # A machine of ECS
    provisioning: float = known(15, "s", "assumed: Fargate, before the image is pulled; not paid")
    pull: float = known(20, "s", "assumed: an image of 0.6 GB, pulled; paid")
    cold_start_spread: float = known(0.25, "σ of its logarithm", "assumed: for both of these")
    process_start: float = known(
        5, "s", "measured once: a flow run's process on two cores, 4 to 10"
    )
    image_gb: float = known(0.6, "GB", "assumed: compressed")
    nat_share: float = known(0, "0 or 1", "assumed: S3 and image layers by a gateway endpoint")
    spot_losses: float = known(0.05, "per machine-hour", "assumed: Spot machines taken back")

    # Prefect's API
    start_calls: float = known(4, "calls a run", f"{PROCESSES}: by who starts it")
    run_calls: float = known(36, "calls a run", f"{PROCESSES}: by its worker and itself")
    call_ms: float = known(12, "ms of a core a call", f"{PROCESSES}: server and database")
    look_ms: float = known(6.4, "ms of a core", "measured once: 300 reads of a run, PostgreSQL 15")
    api_cores: float = known(1, "cores", "assumed: one server process, which uses one core")
    look_seconds: float = known(1, "s", "the product: POLL_SECONDS of a parent, for all children")
    watch_seconds: float = known(10, "s", "the product: OWNER_CHECK_SECONDS of a child")

    # The media
    extract_wall: float = known(
        12.2, "s", "measured: cut/vs-document, on two cores; four not faster"
    )
    read_factor: float = known(1.15, "× a segment's bytes", "measured: bytes/2h")
    stitch_factor: float = known(
        0.015, "s a second of clip", "measured once: ffmpeg's AAC encoder, 4.5 s for 300 s"
    )
    render_cpu: float = known(1.51, "CPU-s a second", "measured: render/vs-four-encodes, 10 s")
    render_cores: float = known(1.5, "cores kept busy of 2", "measured: its CPU over its wall time")
    short_mbit: float = known(8, "Mbit/s", "assumed: a finished short")
    s3_mb: float = known(80, "MB/s", "assumed: S3 from Fargate, one machine")
    s3_request_mb: float = known(4, "MB a GET", "the product: LARGEST of a range read")
    s3_part_mb: float = known(16, "MB a PUT", "the product: parts of an upload")

    # A long video
    transcribe_factor: float = known(2, "× real time", "assumed: large-v3, int8, on 16 vCPU")
    transcribe_factor_gpu: float = known(
        12, "× real time", "assumed: large-v3 and alignment, on a T4"
    )
    transcribe_start: float = known(30, "s", "assumed: the models into memory")
    choose_seconds: float = known(20, "s", "assumed: a language model, two questions")
    gpu_launch: float = known(240, "s", "assumed: an EC2 instance from none, and its image; paid")
    gpu_idle: float = known(600, "s", "assumed: until the instance is ended; paid")

    # What there is
    children_at_once: float = known(10, "children a run", "the product: MAX_PARALLEL_SEGMENTS")
    pool_limit: float = known(
        250, "runs, 0 for none", "assumed: set on the media pool, for what its quota allows"
    )
    on_demand_vcpu: float = known(
        1000, "vCPU", "assumed: a raised quota; a new account's is as low as 6"
    )
    spot_vcpu: float = known(
        1000, "vCPU", "assumed: a raised quota; a new account's is as low as 6"
    )
    launch_rate: float = known(20, "tasks/s", f"{THROTTLING}: for each of on-demand and Spot")
    launch_burst: float = known(100, "tasks", THROTTLING)
    runtask_rate: float = known(20, "calls/s", f"{THROTTLING}: RunTask; Prefect asks for one task")

    # What little there is besides
    log_kb: float = known(20, "KB a run", "assumed: CloudWatch Logs")
    table_writes: float = known(2, "writes a clip", "the product: claim, complete")
    standing_usd: float = known(
        4.7, "$ a day", "assumed: 1 vCPU of server, db.t4g.small, 4 workers of 0.5 vCPU, a bridge"
    )


# What something is divided by, or nothing goes on without.
_ABOVE_ZERO = {
    "bridge_events",
    "worker_runs",
    "look_seconds",
    "watch_seconds",
    "s3_mb",
    "s3_request_mb",
    "s3_part_mb",
    "transcribe_factor",
    "transcribe_factor_gpu",
    "render_cores",
    "children_at_once",
    "api_cores",
    "launch_rate",
    "launch_burst",
    "runtask_rate",
}


def unknown(names: set[str]) -> set[str]:
    """Those of `names` that no parameter has."""
    return names - {each.name for each in fields(Parameters)}
