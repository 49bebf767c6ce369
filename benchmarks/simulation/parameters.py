"""The parameters of the simulation, each with its unit and its source.

A source begins with `measured` (and the benchmark, or the method), `documented` (and the publisher
and the page), `the product` (clipflow's own code or work pools), or `assumed`.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from clipflow.speech.model_cost import cpu_seconds_a_second

COUNTED = "measured once on a simulated ECS: eight events, clips and segments on tasks of their own"
THROTTLING = "documented: Amazon ECS Developer Guide, AWS Fargate throttling quotas"


def parameter(value: float, unit: str, source: str) -> Any:
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class Parameters:
    """The durations of the steps, the sizes of the shared resources, and the requested work."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that is not possible."""
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (value == 0 and each.name in _ABOVE_ZERO):
                raise ValueError(f"{each.name} cannot be {value:g}.")

    # The requested work
    segment_seconds: float = parameter(45, "s", "the product: the benchmarks' segment")
    source_mbit: float = parameter(7.5, "Mbit/s", "measured: the benchmarks' source, 1080p30 H.264")
    busy_hours: float = parameter(6, "h a day", "assumed")
    peak_factor: float = parameter(3, "× the day's mean", "assumed: in the busy hours")

    # From an event to its flow run
    bridge_poll: float = parameter(1, "s, at most", "the product: Timings.poll of the bridge")
    event_seconds: float = parameter(0.2, "s", "measured once: a stored event to its flow run")
    bridge_events: float = parameter(
        10, "events/s", "the product: a page of 50 in flight, for a server that stores every 5 s"
    )
    worker_poll: float = parameter(10, "s, at most", "documented: Prefect, worker.query_seconds")
    worker_runs: float = parameter(5, "runs/s", "assumed: runs that one ECS worker submits")

    # An ECS task
    provisioning: float = parameter(
        15, "s", "assumed: Fargate, before the image is pulled; not paid"
    )
    pull: float = parameter(20, "s", "assumed: an image of 0.6 GB, pulled; paid")
    cold_start_spread: float = parameter(0.25, "σ of its logarithm", "assumed: for both of these")
    process_start: float = parameter(
        5, "s", "measured once: a flow run's process on two cores, 4 to 10"
    )
    begin_cpu: float = parameter(
        2.1, "CPU-s", "measured once: a run that starts a clip, 143 MB; on a quarter of a vCPU"
    )
    image_gb: float = parameter(0.6, "GB", "assumed: compressed")
    nat_share: float = parameter(0, "0 or 1", "assumed: S3 and image layers by a gateway endpoint")
    spot_losses: float = parameter(
        0.05, "per machine-hour", "assumed: interruptions of Spot machines"
    )
    spot_away: float = parameter(0, "s", "assumed: from the start, Fargate Spot has no capacity")
    spot_timeout: float = parameter(
        300, "s", "the product: CLIPFLOW_SPOT_TIMEOUT_SECONDS, then tasks are started on demand"
    )
    capacity_wait: float = parameter(
        40, "s", "the product: CLIPFLOW_CAPACITY_WAIT_SECONDS, from a refusal to the next try"
    )

    # A warm machine
    warm_least: float = parameter(1, "machines", "assumed: CLIPFLOW_WARM_MACHINES=1-40")
    warm_most: float = parameter(40, "machines", "assumed: CLIPFLOW_WARM_MACHINES=1-40")
    warm_vcpu: float = parameter(4, "vCPU", "the product: infra/warm.yaml")
    warm_gb: float = parameter(8, "GB", "the product: infra/warm.yaml")
    warm_disk_gb: float = parameter(50, "GB", "the product: infra/warm.yaml")
    warm_runs: float = parameter(4, "runs a machine", "the product: CLIPFLOW_WARM_RUNS")
    warm_on_demand: float = parameter(
        0.25, "of the machines", "the product: infra/warm.yaml, weights of 3 for Spot and 1"
    )
    warm_cpu_seconds: float = parameter(
        240, "CPU-s", "the product: infra/warm.yaml, what is worth another machine"
    )
    warm_start: float = parameter(
        0.2, "s", "measured once: docs/adr/0021, created to running, less its calls to Prefect"
    )
    warm_measured: float = parameter(
        100, "s", "assumed: 20 between two checks, then log filter, metric and alarm of a minute"
    )
    warm_wait: float = parameter(10, "s", "the product: a run that is due for longer is waiting")
    warm_idle: float = parameter(900, "s", "the product: infra/warm.yaml, until a machine stops")
    warm_cooldown: float = parameter(90, "s", "the product: infra/warm.yaml, between two steps up")

    # Prefect's API
    start_calls: float = parameter(
        2.5, "calls a run", f"{COUNTED}: by who starts it, 40 for clips and segments"
    )
    run_calls: float = parameter(
        16, "calls a run", f"{COUNTED}: by its worker and itself, with its log lines, 386 for 24"
    )
    observers: float = parameter(
        1, "observers", "the product: one worker observes the tasks of all pools"
    )
    observer_calls: float = parameter(
        1, "calls a task", f"{COUNTED}: the run's state when its task has stopped"
    )
    idle_requests: float = parameter(
        140, "requests/min", "assumed: an idle installation, from its intervals: docs/aws.md"
    )
    warm_requests: float = parameter(
        44, "requests/min", "the product: a warm worker polls every 2 s, the bridge counts runs"
    )
    call_ms: float = parameter(
        19,
        "ms of a core a call",
        f"{COUNTED}: the process of the API, 9.8 s for 503 calls and 559 events",
    )
    poll_ms: float = parameter(
        6.4, "ms of a core", "measured once: 300 reads of a run, PostgreSQL 15"
    )
    api_cores: float = parameter(1, "cores", "assumed: one server process, which uses one core")
    poll_seconds: float = parameter(
        15, "s", "the product: LISTENING_POLL_SECONDS of a parent, for all children"
    )
    listen_ms: float = parameter(
        17,
        "ms of a core a parent",
        "measured once: 50 websockets for the ends of children, PostgreSQL 15",
    )
    run_events: float = parameter(
        23, "events a run", f"{COUNTED}: of its states, its steps and its machine"
    )
    event_ms: float = parameter(
        0.015,
        "ms of a core",
        "measured once: an event compared with the filter of one websocket, 13 to 20 µs",
    )
    owner_check_seconds: float = parameter(10, "s", "the product: OWNER_CHECK_SECONDS of a child")

    # The media
    extract_wall: float = parameter(
        12.2, "s", "measured: cut/vs-document, on two cores; four not faster"
    )
    extract_cpu: float = parameter(
        13.2, "CPU-s", "the product: its estimate for that segment; measured once: 9.9 for 30 s"
    )
    brief_cpu: float = parameter(
        3.3, "CPU-s", "measured: cut/ten-short, one of ten; the product's estimate is 4.9"
    )
    read_factor: float = parameter(1.15, "× a segment's bytes", "measured: bytes/2h")
    stitch_factor: float = parameter(
        0.015, "s a second of clip", "measured once: ffmpeg's AAC encoder, 4.5 s for 300 s"
    )
    render_cpu: float = parameter(1.51, "CPU-s a second", "measured: render/vs-four-encodes, 10 s")
    render_cores: float = parameter(
        1.5, "cores kept busy of 2", "measured: its CPU over its wall time"
    )
    short_mbit: float = parameter(8, "Mbit/s", "assumed: a finished short")
    s3_mb: float = parameter(80, "MB/s", "assumed: S3 from Fargate, one machine")
    s3_request_mb: float = parameter(4, "MB a GET", "the product: LARGEST of a range read")
    s3_part_mb: float = parameter(16, "MB a PUT", "the product: parts of an upload")

    # A long video
    speech_cpu: float = parameter(
        0.147, "CPU-s a second", "measured: speech/whisper, the model base"
    )
    speech_estimate: float = parameter(
        cpu_seconds_a_second("base"), "CPU-s a second", "the product: by which windows are divided"
    )
    speech_cores: float = parameter(0.75, "of the cores", "assumed: kept busy by one window")
    window_seconds: float = parameter(600, "s", "the product: windows of about ten minutes")
    sound_mbit: float = parameter(0.256, "Mbit/s", "the product: 16 kHz, one channel, 16 bits")
    transcribe_factor: float = parameter(
        2, "× real time", "assumed: large-v3, int8, on the document's 16 vCPU"
    )
    transcribe_factor_gpu: float = parameter(
        12, "× real time", "assumed: large-v3 and alignment, on a T4"
    )
    transcribe_start: float = parameter(30, "s", "assumed: the models into memory")
    choose_seconds: float = parameter(20, "s", "assumed: two requests to a language model")
    gpu_launch: float = parameter(
        240, "s", "assumed: an EC2 instance from none, and its image; paid"
    )
    gpu_idle: float = parameter(600, "s", "assumed: until the idle instance is terminated; paid")

    # Limits
    children_at_once: float = parameter(10, "children a run", "the product: MAX_PARALLEL_SEGMENTS")
    machine_cpu_seconds: float = parameter(
        90, "CPU-s", "the product: CLIPFLOW_MACHINE_CPU_SECONDS, what is worth another machine"
    )
    pool_limit: float = parameter(
        250, "runs, 0 for none", "assumed: set on the media pool, for what its quota allows"
    )
    on_demand_vcpu: float = parameter(
        1000, "vCPU", "assumed: a raised quota; a new account's is as low as 6"
    )
    spot_vcpu: float = parameter(
        1000, "vCPU", "assumed: a raised quota; a new account's is as low as 6"
    )
    launch_rate: float = parameter(20, "tasks/s", f"{THROTTLING}: for each of on-demand and Spot")
    launch_burst: float = parameter(100, "tasks", THROTTLING)
    runtask_rate: float = parameter(
        20, "calls/s", f"{THROTTLING}: RunTask; Prefect starts one task with each call"
    )

    # Other usage and costs
    log_kb: float = parameter(20, "KB a run", "assumed: CloudWatch Logs")
    table_writes: float = parameter(2, "writes a clip", "the product: claim, complete")

    # Segments from a queue, without Prefect: not built
    queue_start: float = parameter(0.2, "s", "assumed: from a message of SQS to its work")
    looked_at: float = parameter(0.01, "of the clips", "assumed: runs in Prefect, for a person")
    queue_busy: float = parameter(0.7, "of the cores", "assumed: of machines that follow the load")


# Parameters that must not be 0: divisors, and resources without which no job ends.
_ABOVE_ZERO = {
    "bridge_events",
    "worker_runs",
    "poll_seconds",
    "owner_check_seconds",
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
    "speech_cpu",
    "speech_estimate",
    "speech_cores",
    "window_seconds",
    "warm_vcpu",
    "warm_runs",
    "warm_most",
    "queue_busy",
}


def unknown(names: set[str]) -> set[str]:
    """The names that are not the name of a parameter."""
    return names - {each.name for each in fields(Parameters)}
