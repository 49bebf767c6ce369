"""The machines of single deployments on ECS, as `python -m deployments.work_pools` deploys them."""

from math import inf
from typing import Any

import pytest
import yaml

from clipflow.settings import Models
from deployments.work_pools import WorkPool, work_pools
from deployments.work_pools.sizes import window_cost, window_cpu, with_own_machines
from deployments.work_pools.warm import WarmSettings, flow_of, routed
from tests.programs import ROOT

TEXT = (ROOT / "prefect.yaml").read_text()
SIZE = {"cpu", "memory", "family", "storage_gib", "command"}


def own_machines(text: str = TEXT, **environment: str) -> dict[str, dict[str, Any]]:
    """The size of each deployment that has another than its pool, by its flow."""
    read = yaml.safe_load(with_own_machines(text, work_pools(False, environment)))
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


def media(**environment: str) -> WorkPool:
    [pool] = [pool for pool in work_pools(False, environment) if pool.purpose == "media"]
    return pool


def cpu_for(model: str, spot: float, transcriber: str = "whisper", at_once: int = 10) -> int:
    """The CPU units of a window's machine in the pool of 4 vCPU."""
    given = {"CLIPFLOW_WHISPER_MODEL": model, "CLIPFLOW_TRANSCRIBER": transcriber}
    return window_cpu(media(), window_cost(Models.model_validate(given)), at_once, spot)


@pytest.mark.parametrize(
    ("model", "vcpu"),
    [("base", 4), ("small", 4), ("medium", 8), ("large-v3-turbo", 8), ("org/large-v3-ct2", 16)],
)
def test_a_slow_model_transcribes_on_larger_machines(model: str, vcpu: int) -> None:
    assert cpu_for(model, spot=1000) == 1024 * vcpu


@pytest.mark.parametrize(
    ("spot", "at_once", "vcpu"),
    [
        # Ten machines of 16 vCPU are half of 320; of 8 vCPU, half of 160.
        (320, 10, 16),
        (319, 10, 8),
        (160, 10, 8),
        (159, 10, 4),
        # Even the pool's own size is more than a small quota.
        (6, 10, 4),
        (0, 10, 4),
        (159, 4, 16),
    ],
)
def test_all_windows_of_a_video_take_at_most_half_of_the_quota(
    spot: float, at_once: int, vcpu: int
) -> None:
    assert cpu_for("large-v3", spot, at_once=at_once) == 1024 * vcpu


def test_whisperx_transcribes_on_the_preparing_machine_alone() -> None:
    assert cpu_for("large-v3", spot=inf, transcriber="whisperx") == 4096


@pytest.mark.parametrize(("cpu", "memory"), [(8192, 32768), (16384, 65536)])
def test_no_machine_is_larger_than_those_of_fargate(cpu: int, memory: int) -> None:
    large = media(CLIPFLOW_MEDIA_CPU=str(cpu), CLIPFLOW_MEDIA_MEMORY=str(memory))
    assert window_cpu(large, 3, 10, inf) == 16384
    of_instances = large.model_copy(update={"launch_type": "EC2"})
    assert window_cpu(of_instances, 3, 10, inf) == cpu


@pytest.mark.parametrize(
    ("pool", "memory"), [((4096, 8192), 32768), ((4096, 30720), 32768), ((8192, 61440), 65536)]
)
def test_only_windows_have_the_larger_machine_with_memory_as_fargate_has_it(
    pool: tuple[int, int], memory: int
) -> None:
    environment = {
        "CLIPFLOW_MEDIA_CPU": str(pool[0]),
        "CLIPFLOW_MEDIA_MEMORY": str(pool[1]),
        "CLIPFLOW_MEDIA_WINDOW_CPU": "16384",
    }
    found = own_machines(**environment)
    # Of a family of its own, or each change between both sizes would register a revision.
    window = {"cpu": 16384, "memory": memory, "family": "clipflow-window"}
    assert found == {**own_machines(), "transcribe-window": window}


def test_a_window_of_the_pools_size_needs_no_machine_of_its_own() -> None:
    assert own_machines(CLIPFLOW_MEDIA_WINDOW_CPU="4096") == own_machines()


@pytest.mark.parametrize("cpu", ["5000", "512"])
def test_a_size_of_a_window_that_fargate_does_not_have_is_refused(cpu: str) -> None:
    with pytest.raises(ValueError, match=f"no machine of {cpu} CPU units, 8192 MiB or more"):
        work_pools(False, {"CLIPFLOW_MEDIA_WINDOW_CPU": cpu})
