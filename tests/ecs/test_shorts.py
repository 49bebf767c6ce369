"""Shorts made on several machines: one prepares the video, and each other one renders a short."""

import json
from pathlib import Path

import pytest

from benchmarks.programs import ffmpeg
from clipflow.domain.shorts import ShortsConfig
from clipflow.jobs.brand import part_seconds
from clipflow.jobs.transcription import plan_windows
from clipflow.settings import Models
from clipflow.speech import transcriber
from clipflow.speech.audio import RATE
from tests.clipflow.speech.conftest import SAMPLE, word_error_rate
from tests.ecs.machines import Machines
from tests.flows.test_generate_shorts import MADE, OBJECTS
from tests.flows.warehouse import CONFIG, Warehouse, subtitles
from tests.made_media import a_machine, make_source
from tests.programs import eventually

pytestmark = [pytest.mark.ecs, pytest.mark.slow]


@pytest.fixture
def warehouse(machines: Machines, tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path.name)
    talk = make_source(tmp_path / "talk.mp4", seconds=25, sound=("-c:a", "aac"), clicks=True)
    made.put("original.mp4", talk)
    made.put("original.srt", subtitles())
    made.put("shorts_config.json", CONFIG)
    return made


def test_a_long_video_is_prepared_on_one_machine_and_each_short_rendered_on_another(
    machines: Machines, warehouse: Warehouse, tmp_path: Path
) -> None:
    # One machine fails to start, so a third one renders its short.
    machines.ecs.failing_starts["render-short"] = 1
    keys = warehouse.keys
    intro = make_source(tmp_path / "i.mkv", size=(180, 320), seconds=1, sound=None)
    warehouse.objects.upload(intro, "brands/i.mkv", {})
    warehouse.put("shorts_config.json", {**CONFIG, "brand": {"intro": "brands/i.mkv"}})
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
    # The children have the brand.
    assert [round(part_seconds(head)[0]) for head in heads if head] == [1, 1]
    flows = [task.flow for task in machines.ecs.tasks.values()]
    assert sorted(flows) == ["generate-shorts", "prepare-video", *["render-short"] * 3]


@pytest.mark.parametrize(("worth", "flows"), [(30, ["render-shorts"]), (1000, [])])
def test_short_shorts_share_a_machine_or_are_made_by_the_run_of_the_video(
    worth: int, flows: list[str], machines: Machines, warehouse: Warehouse
) -> None:
    keys = warehouse.keys
    run_id = machines.start(
        "generate-shorts/clipflow",
        {"CLIPFLOW_MACHINE_CPU_SECONDS": f"{worth}"},
        user_id=keys.user_id,
        video_id=keys.video_id,
    )
    run = machines.finished(run_id, 400)
    assert run.state and run.state.message == "2 of 2 shorts made."
    assert warehouse.names() == OBJECTS
    assert [short["index"] for short in warehouse.record["shorts"]] == [1, 2]
    started = sorted(task.flow for task in machines.ecs.tasks.values())
    assert started == ["generate-shorts", "prepare-video", *flows]


@pytest.fixture
def spoken(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Warehouse, str]:
    """A video whose audio is already stored as three windows, and its spoken text."""
    lines = json.loads((SAMPLE / "conversation.json").read_text())[:3]
    seconds = float(lines[-1]["endTime"].rpartition(":")[2]) + 0.3
    talk = tmp_path / "spoken.mp4"
    small = ("-t", f"{seconds}", "-vf", "scale=320:-2", "-c:a", "copy")
    ffmpeg("-i", str(SAMPLE / "main.mp4"), *small, str(talk))
    warehouse.delete("original.srt")
    warehouse.put("original.mp4", talk)
    warehouse.put("shorts_config.json", {**CONFIG, "segment_count": 1})
    monkeypatch.setattr(transcriber, "WINDOW", 10 * RATE)
    monkeypatch.setattr(transcriber, "_LEEWAY", 2 * RATE)
    config = ShortsConfig.read({**CONFIG, "segment_count": 1}, "the config")
    windows = plan_windows(
        warehouse.keys, config, warehouse.objects, a_machine(), Models(), force=False
    )
    assert len(windows) == 3
    return warehouse, " ".join(line["text"] for line in lines)


def test_windows_are_transcribed_on_several_machines_and_only_a_killed_one_is_repeated(
    machines: Machines, spoken: tuple[Warehouse, str]
) -> None:
    warehouse, text = spoken
    keys = warehouse.keys
    with machines.paused_ffmpeg():
        run_id = machines.start(
            "generate-shorts/clipflow", user_id=keys.user_id, video_id=keys.video_id
        )
        killed, *others = machines.running_tasks("transcribe-window", 3)
        killed.kill()
        eventually(lambda: machines.state_of(killed) == "Crashed")
    run = machines.finished(run_id, 400)
    assert run.state and run.state.message == "1 of 1 shorts made."
    again = [task for task in machines.ecs.of("transcribe-window") if task not in (killed, *others)]
    assert [machines.run_of(task).name for task in again] == [machines.run_of(killed).name]
    assert {machines.state_of(task) for task in (*others, *again)} == {"Completed"}
    # The transcript has every word once.
    assert word_error_rate(text, warehouse.text("original.txt")) <= 0.1


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
