"""The standing costs of an installation on AWS, for the table of `docs/aws.md`.

    python -m benchmarks.simulation.standing

The prices are those of `prices.py`: list prices of January 2025 for us-east-1, without free tiers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.simulation.prices import HOUR, Prices
from deployments.cloudformation import templates
from deployments.work_pools import work_pools

_DAY = 24 * HOUR
_DAYS_OF_A_MONTH = 30
# US dollars per month for one of each.
METRIC, ALARM, SECRET, KEY = 0.30, 0.10, 0.40, 1.00
# US dollars per hour for one of each.
NAT_GATEWAY, PUBLIC_ADDRESS = 0.045, 0.005
BALANCER, BALANCER_CAPACITY_UNIT = 0.0225, 0.008
POSTGRESQL, REDIS = 0.065, 0.016  # db.t4g.medium in one zone, cache.t4g.micro
# US dollars a GB-month: gp3 of RDS. Backups of the same size are free.
DATABASE_STORAGE = 0.115
_DATABASE_GB = 20
# Numbers of metrics of ECS Container Insights: per cluster, per service, per task family.
_INSIGHTS = 13, 15, 10
# The bridge receives once a second and sweeps every ten seconds.
_RECEIVES, _SWEEPS = 86_400, 8_640
# Each sweep queries two indexes, with half a read unit each if nothing is found.
_READS = 1.0


@dataclass(frozen=True)
class Part:
    """One part of the standing costs, in US dollars a day."""

    what: str
    usd: float


def parts() -> Iterator[Part]:
    """The parts of an installation, without a Prefect server."""
    prices, workers = Prices(), len(work_pools(gpu=False, environment={}))
    vcpu, memory = int(templates.WORKER_SIZE["TaskCpu"]), int(templates.WORKER_SIZE["TaskMemory"])
    yield Part(
        f"{workers} workers of {vcpu / 1024:g} vCPU and {memory / 1024:g} GB",
        workers * _machine(vcpu / 1024, memory / 1024, prices),
    )
    yield Part("the bridge, 0.25 vCPU and 1 GB", _machine(0.25, 1, prices))
    yield Part("a NAT gateway with its address", 24 * (NAT_GATEWAY + PUBLIC_ADDRESS))
    cluster, service, family = _INSIGHTS
    insights = cluster + (workers + 1) * (service + family)
    yield Part(f"Container Insights, about {insights} metrics", _monthly(insights * METRIC))
    found = {template.name: list(template.resources.values()) for template in templates.read()}
    metrics = found["metrics"].count("AWS::Logs::MetricFilter")
    yield Part(f"{metrics} metrics of log lines, at most", _monthly(metrics * METRIC))
    # An alarm with metric math is billed for each metric that it reads.
    body = next(template.body for template in templates.read() if template.name == "alarms")
    alarms = body.count("MetricName: ")
    monthly = alarms * ALARM + KEY + 2 * SECRET
    yield Part(f"alarms on {alarms} metrics, their key, two secrets", _monthly(monthly))
    polling = _RECEIVES * prices.queue_requests + _SWEEPS * _READS * prices.table_reads
    yield Part("the bridge's requests to SQS and DynamoDB", polling)


def server() -> Iterator[Part]:
    """The parts of a self-hosted Prefect server."""
    prices = Prices()
    found = {template.name: template for template in templates.read()}
    given = {
        name: it.default
        for stack in (templates.PREFECT_DATA, templates.PREFECT_SERVER)
        for name, it in found[stack].parameters.items()
    }
    apis = int(given["PrefectApiTasks"] or 0)
    machines = apis * _machine(1, 2, prices) + _machine(0.5, 1, prices)
    what = f"{apis} APIs of 1 vCPU and 2 GB, its services of 0.5 vCPU and 1 GB"
    yield Part(f"Prefect: {what}", machines)
    database, redis = given["PrefectDatabaseClass"], given["PrefectRedisType"]
    storage = _monthly(_DATABASE_GB * DATABASE_STORAGE)
    yield Part(
        f"Prefect: PostgreSQL, {database} in one zone, {_DATABASE_GB} GB",
        24 * POSTGRESQL + storage,
    )
    yield Part(f"Prefect: Redis, {redis}", 24 * REDIS)
    yield Part("Prefect: two secrets", _monthly(2 * SECRET))
    _, service, family = _INSIGHTS
    insights = 2 * (service + family)
    yield Part(
        f"Prefect: Container Insights, about {insights} metrics", _monthly(insights * METRIC)
    )
    yield Part("Prefect: a load balancer", 24 * (BALANCER + BALANCER_CAPACITY_UNIT))


def table() -> str:
    """The table of all parts in Markdown."""
    installation_parts, server_parts = list(parts()), list(server())
    with_cloud, with_server = (
        sum(part.usd for part in installation_parts),
        sum(part.usd for part in [*installation_parts, *server_parts]),
    )
    rows = [
        *installation_parts,
        Part("**in total, with Prefect Cloud**, without its price", with_cloud),
        *server_parts,
        Part("**in total, with a Prefect server of your own**", with_server),
    ]
    lines = [f"| {part.what} | {part.usd:.2f} |" for part in rows]
    return "\n".join(["| part | $ a day |", "| --- | ---: |", *lines])


def _machine(vcpu: float, memory: float, prices: Prices) -> float:
    return _DAY * (vcpu * prices.fargate_vcpu + memory * prices.fargate_gb)


def _monthly(usd: float) -> float:
    return usd / _DAYS_OF_A_MONTH


if __name__ == "__main__":
    print(table())
