"""The usage that AWS bills, and its prices."""

from dataclasses import dataclass, field, fields
from typing import Any

HOUR = 3600.0


def priced(usd: float, per: float, what: str) -> Any:
    """A list price of AWS: `usd` for `per` units of the usage with the same name."""
    return field(default=usd / per, metadata={"usd": usd, "per": per, "what": what})


@dataclass(frozen=True)
class Usage:
    """Billed usage; times are seconds of all machines together. Can be added and multiplied."""

    fargate_vcpu: float = 0.0
    fargate_gb: float = 0.0
    spot_vcpu: float = 0.0
    spot_gb: float = 0.0
    disk_gb: float = 0.0
    gpu_machine: float = 0.0
    s3_puts: float = 0.0
    s3_gets: float = 0.0
    table_writes: float = 0.0
    table_reads: float = 0.0
    queue_requests: float = 0.0
    events: float = 0.0
    log_gb: float = 0.0
    nat_gb: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: float) -> "Usage":
        return Usage(*(getattr(self, f.name) * times for f in fields(self)))


@dataclass(frozen=True)
class Prices:
    """US dollars per unit of each field of `Usage`.

    These are list prices of January 2025 for us-east-1 and Linux on x86, without free tiers,
    savings plans and tax.
    """

    fargate_vcpu: float = priced(0.04048, HOUR, "Fargate, a vCPU-hour")
    fargate_gb: float = priced(0.004445, HOUR, "Fargate, a GB-hour of memory")
    # The price of Spot varies. AWS publishes a discount of up to 70 %, which is used here.
    spot_vcpu: float = priced(0.012144, HOUR, "Fargate Spot, a vCPU-hour (70 % less)")
    spot_gb: float = priced(0.0013335, HOUR, "Fargate Spot, a GB-hour of memory (70 % less)")
    disk_gb: float = priced(0.000111, HOUR, "Fargate, a GB-hour of disk beyond 20 GB")
    gpu_machine: float = priced(0.526, HOUR, "EC2 g4dn.xlarge, an hour")
    s3_puts: float = priced(0.005, 1000, "S3, 1 000 PUT")
    s3_gets: float = priced(0.0004, 1000, "S3, 1 000 GET")
    table_writes: float = priced(0.625, 1e6, "DynamoDB on demand, a million writes of 1 KB")
    table_reads: float = priced(0.125, 1e6, "DynamoDB on demand, a million reads of 4 KB")
    queue_requests: float = priced(0.40, 1e6, "SQS, a million requests")
    events: float = priced(1.00, 1e6, "EventBridge, a million custom events")
    log_gb: float = priced(0.50, 1, "CloudWatch Logs, a GB ingested")
    nat_gb: float = priced(0.045, 1, "NAT gateway, a GB")


@dataclass(frozen=True)
class Plan:
    """A plan of Prefect Cloud, by its documentation of August 2026: `requests` a minute."""

    name: str
    requests: int
    price: str


PLANS = (
    Plan("Hobby", 625, "free"),
    Plan("Starter", 1250, "$100 a month"),
    Plan("Team", 2500, "on Prefect's page"),
    Plan("Pro", 5000, "on request"),
)


def bill(usage: Usage, prices: Prices) -> dict[str, float]:
    """The cost of each kind of usage in US dollars."""
    names = [each.name for each in fields(Usage)]
    return {name: getattr(usage, name) * getattr(prices, name) for name in names}


def cost(usage: Usage, prices: Prices) -> float:
    """The cost of all usage in US dollars."""
    return sum(bill(usage, prices).values())
