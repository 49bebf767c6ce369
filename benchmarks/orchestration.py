"""Benchmark of orchestration: the overhead of Prefect per segment, in a flow of trivial tasks.

    python -m benchmarks.orchestration COUNT

is the process of the flow run. It uses the server of PREFECT_API_URL, and prints its CPU time and
wall time in seconds.
"""

import sys
from pathlib import Path

from benchmarks.measure import Cost, Finding, cost
from benchmarks.programs import run
from benchmarks.sources import Extent
from tests.programs import Program, free_port


def benchmark(extent: Extent, folder: Path) -> list[Finding]:
    """Milliseconds per segment for each number of segments; the largest one has the target."""
    home = folder / "prefect"
    home.mkdir()
    url = f"http://127.0.0.1:{(port := free_port())}/api"
    env = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }
    server = Program(home / "log", "deployments.local_stack.local_prefect", env, f"{url}/health")
    server.start()
    try:
        costs = {count: _in_a_process(count, env) for count in extent.mapped}
    finally:
        server.stop()
    return findings(costs)


def findings(costs: dict[int, Cost]) -> list[Finding]:
    findings = [
        Finding(
            f"orchestration/{count}-segments-ms", 1000 * c.wall / count, None, f"{c}, all together"
        )
        for count, c in costs.items()
    ]
    largest = max(costs)
    each = 1000 * costs[largest].wall / largest
    detail = (
        f"{largest} segments in one flow run, wall time; the run's process took {costs[largest]}"
    )
    return [*findings, Finding("orchestration/ms-per-segment", each, 15, detail)]


def _in_a_process(count: int, env: dict[str, str]) -> Cost:
    printed = run(sys.executable, "-m", "benchmarks.orchestration", str(count), env=env).stdout
    cpu, wall = map(float, printed.split())
    return Cost(cpu, wall)


def main(count: int) -> None:
    # Imported here, because Prefect reads its settings at import.
    from prefect import flow, task
    from prefect.futures import as_completed
    from prefect.task_runners import ThreadPoolTaskRunner

    from tasks.fan_out import run_concurrency
    from tasks.retries import MEDIA

    @task(name="segment", task_run_name="segment {index}", **MEDIA)
    def segment(index: int) -> int:
        return index

    @flow(name="segments", task_runner=ThreadPoolTaskRunner(max_workers=run_concurrency()))  # type: ignore[arg-type]
    def segments(number: int) -> int:
        futures = [segment.submit(index) for index in range(number)]
        return sum(1 for future in as_completed(futures) if future.result() is not None)

    # The first run opens connections, which is done once per process and not once per segment.
    segments(1)
    made: list[int] = []
    total = cost(lambda: made.append(segments(count)))
    assert made == [count]
    print(total.cpu, total.wall)


if __name__ == "__main__":
    main(int(sys.argv[1]))
