"""The machines of single deployments on ECS, as `python -m deployments.work_pools` deploys them."""

from typing import Any

import pytest
import yaml

from clipflow.settings import Models
from deployments.work_pools import WorkPool, work_pools
from deployments.work_pools.sizes import sized
from deployments.work_pools.warm import WarmSettings, flow_of, routed
from tests.programs import ROOT

TEXT = (ROOT / "prefect.yaml").read_text()
SIZE = {"cpu", "memory", "family", "storage_gib", "command"}


def own_machines(
    text: str = TEXT, model: str = "base", transcriber: str = "whisper", **environment: str
) -> dict[str, dict[str, Any]]:
    """The size of each deployment that has another than its pool, by its flow."""
    models = Models.model_validate(
        {"CLIPFLOW_WHISPER_MODEL": model, "CLIPFLOW_TRANSCRIBER": transcriber}
    )
    read = yaml.safe_load(sized(text, work_pools(False, environment), models))
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


@pytest.mark.parametrize(
    ("model", "cpu"),
    [("small", None), ("medium", 8192), ("large-v3", 16384), ("org/whisper-large-v3-ct2", 16384)],
)
def test_a_slow_model_listens_on_larger_machines(model: str, cpu: int | None) -> None:
    window = own_machines(model=model).get("transcribe-window", {})
    assert window.get("cpu") == cpu


def test_the_machine_of_a_window_is_one_that_fargate_has_and_at_least_the_pools() -> None:
    for pool_cpu, memory in ((4096, 20480), (4096, 9216), (8192, 16384), (16384, 32768)):
        size = {"CLIPFLOW_MEDIA_CPU": str(pool_cpu), "CLIPFLOW_MEDIA_MEMORY": str(memory)}
        window = own_machines(model="large-v3", **size).get("transcribe-window")
        if pool_cpu == 16384:
            assert window is None
            continue
        assert window and window["cpu"] == 16384 and window["memory"] >= memory
        media = next(pool for pool in work_pools(False, size) if pool.kind == "media")
        WorkPool.model_validate({**media.model_dump(), **{n: window[n] for n in ("cpu", "memory")}})


def test_whisperx_listens_on_the_preparing_machine_alone() -> None:
    assert "transcribe-window" not in own_machines(model="large-v3", transcriber="whisperx")
