"""The machines of the work pools: their sizes, and what a while of one costs."""

from dataclasses import dataclass
from functools import cache

from benchmarks.simulation.prices import Usage
from deployments.work_pools import work_pools

# Fargate is paid by the second, and a minute at least; 20 GB of disk come with it.
SHORTEST_BILLED = 60.0
FREE_DISK_GB = 20


@dataclass(frozen=True)
class Machine:
    """One task's. `capacity` is FARGATE, FARGATE_SPOT or EC2; memory and disk in GB."""

    kind: str
    capacity: str
    vcpu: float
    memory_gb: float
    disk_gb: float

    def used(self, seconds: float) -> Usage:
        """What is paid for a task that is there for so long, its image's pull included."""
        billed = max(seconds, SHORTEST_BILLED)
        if self.capacity == "EC2":
            return Usage(gpu_machine=billed)
        disk = billed * max(0.0, self.disk_gb - FREE_DISK_GB)
        vcpu, memory = billed * self.vcpu, billed * self.memory_gb
        if self.capacity == "FARGATE_SPOT":
            return Usage(spot_vcpu=vcpu, spot_gb=memory, disk_gb=disk)
        return Usage(fargate_vcpu=vcpu, fargate_gb=memory, disk_gb=disk)


@cache
def machines() -> dict[str, Machine]:
    """By kind, as the product's pools have them where no variable says otherwise."""
    pools = {pool.kind: pool for gpu in (False, True) for pool in work_pools(gpu, environment={})}
    return {
        kind: Machine(
            kind, pool.launch_type, pool.cpu / 1024, pool.memory / 1024, pool.storage_gib or 0
        )
        for kind, pool in pools.items()
    }
