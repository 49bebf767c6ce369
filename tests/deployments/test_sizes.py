"""The machines of single deployments on ECS, as `python -m deployments.work_pools` deploys them."""

from typing import Any

import yaml

from deployments.work_pools import work_pools
from deployments.work_pools.sizes import with_own_machines
from deployments.work_pools.warm import WarmSettings, flow_of, routed
from tests.programs import ROOT

TEXT = (ROOT / "prefect.yaml").read_text()
SIZE = {"cpu", "memory", "family", "storage_gib", "command"}


def own_machines(text: str = TEXT) -> dict[str, dict[str, Any]]:
    """The size of each deployment that has another than its pool, by its flow."""
    read = yaml.safe_load(with_own_machines(text, work_pools(False, {})))
    found = {flow_of(each): each["work_pool"]["job_variables"] for each in read["deployments"]}
    assert all(variables["env"]["PREFECT__FLOW_ENTRYPOINT"] for variables in found.values())
    own = {flow: {n: v for n, v in all.items() if n in SIZE} for flow, all in found.items()}
    return {flow: size for flow, size in own.items() if size}


def test_only_the_start_of_clips_has_a_machine_of_its_own_which_is_small() -> None:
    begin = own_machines().pop("begin-clip-generation")
    assert set(own_machines()) == {"begin-clip-generation"}
    assert (begin["cpu"], begin["memory"], begin["storage_gib"]) == (256, 512, 21)
    # Two sizes in one family would register a revision of it for each run.
    assert begin["family"] not in {f"clipflow-{pool.kind}" for pool in work_pools(False, {})}


def test_warm_machines_start_clips_as_before() -> None:
    warm = routed(TEXT, WarmSettings.read({"CLIPFLOW_WARM_MACHINES": "1-2"}))
    assert not own_machines(warm)
