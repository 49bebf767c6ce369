"""Shorts made by many machines: one prepares the video, each short has its own."""

from pathlib import Path

import pytest

from tests.ecs.machines import Machines
from tests.flows.test_generate_shorts import MADE, OBJECTS, subtitles
from tests.flows.warehouse import CONFIG, Warehouse
from tests.made_media import make_source

pytestmark = [pytest.mark.ecs, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def warehouse(machines: Machines, tmp_path: Path) -> Warehouse:
    machines.ecs.forget()
    made = Warehouse(tmp_path.name)
    talk = make_source(tmp_path / "talk.mp4", seconds=25, sound=("-c:a", "aac"), clicks=True)
    made.put("original.mp4", talk)
    made.put("original.srt", subtitles())
    made.put("shorts_config.json", CONFIG)
    return made


def test_a_long_video_is_prepared_on_one_machine_and_each_short_rendered_on_its_own(
    machines: Machines, warehouse: Warehouse
) -> None:
    # Of three machines that render one is lost: its short is rendered by the third.
    machines.ecs.stillborn["render-short"] = 1
    keys = warehouse.keys
    run_id = machines.start(
        "generate-shorts/clipflow", user_id=keys.user_id, video_id=keys.video_id
    )
    run = machines.finished(run_id, 400)
    assert run.state and run.state.message == "2 of 2 shorts made."
    assert warehouse.names() == OBJECTS
    assert warehouse.history == MADE
    shorts = warehouse.record["shorts"]
    assert [short["status"] for short in shorts] == ["Generation Complete"] * 2
    heads = [warehouse.objects.head(short["s3Key"]) for short in shorts]
    assert [head and head.size for head in heads] == [short["fileSize"] for short in shorts]
    flows = [task.flow for task in machines.ecs.tasks.values()]
    assert sorted(flows) == ["generate-shorts", "prepare-video", *["render-short"] * 3]


def test_an_error_of_the_preparing_machine_is_in_the_record(
    machines: Machines, warehouse: Warehouse, tmp_path: Path
) -> None:
    keys = warehouse.keys
    warehouse.put("original.mp4", make_source(tmp_path / "silent.mp4", seconds=3, sound=None))
    warehouse.objects.client.delete_object(Bucket=warehouse.objects.bucket, Key=keys.subtitles)
    run_id = machines.start(
        "generate-shorts/clipflow", user_id=keys.user_id, video_id=keys.video_id
    )
    run = machines.finished(run_id)
    assert run.state_name == "ParentTaskFailed"
    error = warehouse.record["processingError"]
    assert error["code"] == "VALIDATION_ERROR"
    assert "has no sound" in error["message"]
    assert [task.flow for task in machines.ecs.of("prepare-video")] == ["prepare-video"]
