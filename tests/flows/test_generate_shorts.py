"""`generate-shorts`: its record, objects and final state, and each way in which it fails."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from clipflow.domain.shorts import ShortsConfig
from clipflow.jobs.transcription import plan_windows
from clipflow.settings import models
from tasks.shorts import choose_moments, render_short
from tests.clipflow.highlights.model_server import Reply, model_server
from tests.faulty_proxy import Fault, FaultyProxy
from tests.flows.test_generate_clip import is_put_of
from tests.flows.warehouse import CONFIG, SENTENCES, Warehouse
from tests.made_media import a_machine, make_source
from tests.programs import ROOT

pytestmark = pytest.mark.slow

MADE = ["Generation in Progress", "Generation Complete"]
FAILED = ["Generation in Progress", "Generation Failed"]
OBJECTS = {
    "original.mp4",
    "original.srt",
    "original.txt",
    "original.words.json",
    "shorts_config.json",
    "thumbnail.png",
    "important_segments_videos.json",
    "index.html",
    *(f"reframe/segment_{n}.json" for n in (1, 2)),
    *(
        f"important-segment-videos/segment_{n}.{kind}"
        for n in (1, 2)
        for kind in ("mp4", "srt", "json")
    ),
    *(f"videos-cropped-stacked/segment_{n}_cropped_stacked.mp4" for n in (1, 2)),
    *(f"videos-cropped-stacked/segment_{n}_cropped_stacked.jpg" for n in (1, 2)),
}


@pytest.fixture
def no_retry_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry tasks without a delay."""
    for task in (render_short, choose_moments):
        monkeypatch.setattr(task, "retry_delay_seconds", [0, 0])


@pytest.fixture
def use_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Configure a language model at an address to choose the moments."""

    def use(url: str) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("CLIPFLOW_HIGHLIGHT_MODEL", "openai-chat:any")
        models.cache_clear()

    yield use
    models.cache_clear()


def test_a_long_video_becomes_shorts_and_the_objects_of_the_contract(warehouse: Warehouse) -> None:
    state = warehouse.generate()
    assert (state.name, state.message) == ("Completed", "2 of 2 shorts made.")
    assert warehouse.names() == OBJECTS
    assert warehouse.history == MADE
    record = warehouse.record
    assert record["segmentCount"] == 2
    moments = json.loads(warehouse.text("important_segments_videos.json"))
    recorded = [{name: short[name] for name in moments[0]} for short in record["shorts"]]
    assert recorded == moments
    for number, short in enumerate(record["shorts"], start=1):
        assert short["index"] == number
        assert short["s3Key"] == warehouse.keys.short(number)
        head = warehouse.objects.head(short["s3Key"])
        assert head and head.size == short["fileSize"]
        assert short["status"] == "Generation Complete"
        assert "00:00:03" <= short["duration"] <= "00:00:09"
    subtitled = warehouse.text("important-segment-videos/segment_1.srt")
    assert any(sentence[:20] in subtitled for sentence in SENTENCES)
    # The description and hashtags for a post are from the words of the short.
    post = json.loads(warehouse.text("important-segment-videos/segment_1.json"))
    schema = json.loads((ROOT / "docs/schemas/segment.schema.json").read_text())
    jsonschema.validate(post, schema, jsonschema.Draft202012Validator)
    best = record["shorts"][0]
    for name in ("id", "title", "description", "hashtags", "s3Key", "thumbnail"):
        assert post[name] == best[name]
    assert any(sentence in post["description"] for sentence in SENTENCES)
    assert 1 <= len(post["hashtags"]) <= 5
    # Existing objects are not made again.
    before = warehouse.versions()
    assert warehouse.generate().is_completed()
    assert warehouse.versions() == before


def test_a_run_has_its_tags_and_a_table_of_shorts(warehouse: Warehouse) -> None:
    state = warehouse.generate()
    keys, run = warehouse.keys, state.state_details.flow_run_id
    assert run
    with get_client(sync_client=True) as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        shown = {one.type: one for one in client.read_artifacts(artifact_filter=only)}
        assert set(client.read_flow_run(run).tags) == {
            f"user:{keys.user_id}",
            f"video:{keys.video_id}",
        }
    rows = json.loads(str(shown["table"].data))
    assert [(row["Short"], row["State"]) for row in rows] == [(1, "made"), (2, "made")]
    assert all(row["Link"].endswith(f"/{keys.short(row['Short'])})") for row in rows)
    assert "2 of 2 shorts" in str(shown["table"].description)
    assert str(shown["image"].data).startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "There is no object"),
        ("{", "is not JSON"),
        ({}, "segment_count: Field required"),
        ({"segment_count": 0}, "greater than or equal to 1"),
        ({"segment_count": 3000}, "less than or equal to 200"),
        ({"segment_count": "five"}, "segment_count: Input should be a valid integer"),
        (
            {"segment_count": 1, "layout": "side"},
            "'auto', 'crop', 'stack', 'split', 'grid', 'screen' or 'fit'",
        ),
        ({"segment_count": 1, "background_video": "none.mp4"}, "none.mp4"),
        ({"segment_count": 1, "background_video": "u/sound.m4a"}, "has no moving picture"),
    ],
)
def test_an_invalid_config_fails_before_any_work(
    warehouse: Warehouse, config: Any, expected: str, tmp_path: Path
) -> None:
    if config is None:
        warehouse.delete("shorts_config.json")
    else:
        warehouse.put("shorts_config.json", config)
    sound = make_source(tmp_path / "sound.m4a", seconds=1, picture=("-vn",), sound=("-c:a", "aac"))
    warehouse.objects.upload(sound, "u/sound.m4a", {})
    state = warehouse.generate()
    assert (state.name, state.is_failed()) == ("ReadConfigFailed", True)
    assert expected in str(state.message)
    assert warehouse.history == FAILED
    assert warehouse.record["failedState"] == "ReadConfigFailed"
    assert expected in warehouse.record["processingError"]["message"]
    assert "original.words.json" not in warehouse.names()


@pytest.mark.parametrize(
    ("sound", "expected"), [(None, "has no sound"), (("-c:a", "aac"), "nothing is said")]
)
def test_a_video_without_speech_fails_the_parent_task(
    warehouse: Warehouse, sound: tuple[str, ...] | None, expected: str, tmp_path: Path
) -> None:
    video = make_source(tmp_path / "silent.mp4", seconds=3, sound=sound)
    warehouse.put("original.mp4", video)
    warehouse.delete("original.srt")
    state = warehouse.generate()
    assert state.name == "ParentTaskFailed"
    assert expected in str(state.message)
    assert warehouse.record["failedState"] == "ParentTaskFailed"


def test_audio_is_extracted_once_for_repeated_transcriptions(
    warehouse: Warehouse, proxy: FaultyProxy
) -> None:
    def source_reads() -> int:
        return sum(r.method == "GET" and "original.mp4" in r.path for r in proxy.requests)

    config = ShortsConfig.read({"segment_count": 1}, "the config")
    warehouse.delete("original.srt")
    plan_windows(warehouse.keys, config, warehouse.objects, a_machine(), models(), force=False)
    first_count = source_reads()
    assert first_count > 0
    plan_windows(warehouse.keys, config, warehouse.objects, a_machine(), models(), force=False)
    assert source_reads() == first_count
    assert "transcript/window_1.flac" in warehouse.names()


@pytest.mark.usefixtures("no_retry_delays")
def test_a_failed_short_does_not_stop_others_and_is_the_only_one_made_by_the_next_run(
    warehouse: Warehouse, proxy: FaultyProxy
) -> None:
    proxy.faults = [Fault(lambda r: is_put_of("segment_1_cropped_stacked.mp4", r))]
    state = warehouse.generate()
    assert state.name == "ChildTasksFailed"
    assert "1 of 2 shorts failed" in str(state.message)
    record = warehouse.record
    assert (record["status"], record["failedState"]) == (FAILED[1], "ChildTasksFailed")
    assert [s["status"] for s in record["shorts"]] == ["Generation Failed", "Generation Complete"]
    assert record["processingError"]["code"] == "STORAGE_ERROR"
    assert OBJECTS - warehouse.names() == {
        "videos-cropped-stacked/segment_1_cropped_stacked.mp4",
        "videos-cropped-stacked/segment_1_cropped_stacked.jpg",
        "important-segment-videos/segment_1.json",
    }
    proxy.faults, before = [], warehouse.versions()
    before.pop("index.html")  # The page names the short that failed.
    assert warehouse.generate().is_completed()
    assert before.items() <= warehouse.versions().items()
    assert warehouse.history == [*FAILED, *MADE]
    assert not {"failedState", "processingError"} & set(warehouse.record)


@pytest.mark.usefixtures("no_retry_delays")
def test_a_moment_that_cannot_be_cut_does_not_fail_others(
    warehouse: Warehouse, proxy: FaultyProxy
) -> None:
    best = "important-segment-videos/segment_1.mp4"
    proxy.faults = [Fault(lambda r: is_put_of(best, r))]
    state = warehouse.generate()
    assert state.name == "ChildTasksFailed"
    record = warehouse.record
    assert [s["status"] for s in record["shorts"]] == ["Generation Failed", "Generation Complete"]
    error = record["shorts"][0]["error"]
    assert best in error
    # The page names the failed moment, and the thumbnail shows the best remaining one.
    assert best in warehouse.text("index.html")
    missing = {"important-segment-videos/segment_1.srt", best, "reframe/segment_1.json"}
    missing |= {"videos-cropped-stacked/segment_1_cropped_stacked.mp4"}
    missing |= {"important-segment-videos/segment_1.json"}
    missing |= {"videos-cropped-stacked/segment_1_cropped_stacked.jpg"}
    assert OBJECTS - warehouse.names() == missing
    proxy.faults = []
    assert warehouse.generate().is_completed()
    assert not OBJECTS - warehouse.names()
    proxy.faults = [Fault(lambda r: r.method == "PUT" and r.path.endswith("_1.mp4"))]
    proxy.faults += [Fault(lambda r: r.method == "PUT" and r.path.endswith("_2.mp4"))]
    assert warehouse.generate(force=True).name == "ChildTasksFailed"


def test_fewer_moments_than_requested_make_fewer_shorts(warehouse: Warehouse) -> None:
    warehouse.put("shorts_config.json", {**CONFIG, "segment_count": 20})
    state = warehouse.generate()
    assert state.is_completed()
    found = len(warehouse.record["shorts"])
    assert 2 <= found <= 4
    assert warehouse.record["segmentCount"] == 20
    assert state.message == f"{found} of 20 shorts made."


def test_a_language_model_chooses_the_moments(
    warehouse: Warehouse, use_model: Callable[[str], None]
) -> None:
    chosen_moment = {
        "first_line": 3,
        "last_line": 3,
        "score": 88,
        "why": "It is short.",
        "title": "Silence",
    }
    with model_server([chosen_moment]) as server:
        use_model(server.url)
        assert warehouse.generate().is_completed()
        assert SENTENCES[2] in json.dumps(server.requests)
    [short] = warehouse.record["shorts"]
    assert (short["title"], short["why"], short["score"]) == ("Silence", "It is short.", 88)
    assert "00:00:12,000" < short["start"] < "00:00:12,500"
    assert "00:00:17,500" < short["end"] < "00:00:18,500"


@pytest.mark.usefixtures("no_retry_delays")
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (429, "429"),
        ("Sure! Here are the best moments of your talk.", "did not return moments"),
        ([{"start": "00:09:00", "end": "00:10:00"}], "did not return moments"),
        (401, "OPENAI_API_KEY"),
    ],
)
def test_an_unusable_response_of_a_language_model_fails_the_parent_task(
    reply: Reply, expected: str, warehouse: Warehouse, use_model: Callable[[str], None]
) -> None:
    with model_server(reply) as server:
        use_model(server.url)
        state = warehouse.generate()
        attempts = len(server.requests)
    assert state.name == "ParentTaskFailed"
    assert expected in str(state.message)
    assert "sk-secret" not in str(state.message)
    assert (attempts > 4) is (reply != 401)
    assert warehouse.record["failedState"] == "ParentTaskFailed"
