"""clipflow's automations in Prefect: the triggers in prefect.yaml, and those of earlier releases.

No automation waits for an event that does not come: its timer also runs out while Prefect is away,
and a deploy that changes it ends the timers of the current runs. The bridge finds runs that are
lost (`bridge/lost_runs.py`).
"""

from prefect import get_client
from prefect.client.orchestration import PrefectClient

from tasks.flow_runs import BEGIN_CLIP_GENERATION

# The automations that `prefect deploy` creates for the triggers in prefect.yaml.
TRIGGERS = [BEGIN_CLIP_GENERATION, "mark-failed"]
# Automations of earlier releases.
RETIRED = ["clipflow: cancelled", "clipflow: heartbeat lost", "clipflow: never started"]


async def remove_retired_automations(client: PrefectClient) -> int:
    """Deletes the automations of earlier releases; returns how many there were."""
    return await _remove(client, RETIRED)


async def remove_automations() -> int:
    """Deletes all automations of clipflow; returns how many there were."""
    async with get_client() as client:
        return await _remove(client, [*RETIRED, *TRIGGERS])


async def _remove(client: PrefectClient, names: list[str]) -> int:
    found = [one for name in names for one in await client.read_automations_by_name(name)]
    for automation in found:
        await client.delete_automation(automation.id)
    return len(found)
