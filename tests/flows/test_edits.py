"""A person's edits of a video: what is made again because of them, and what is not."""

import json
from typing import Any

import pytest

from clipflow.reframe import director
from tests.faulty_proxy import FaultyProxy
from tests.flows.warehouse import CONFIG, Warehouse

pytestmark = pytest.mark.slow


class Counter:
    """Counts the shorts that are rendered, and the pictures that are analysed."""

    def __init__(self, proxy: FaultyProxy, patch: pytest.MonkeyPatch) -> None:
        self._proxy = proxy
        self._analyses = 0
        plan_frames = director.plan_frames

        def counted(*arguments: Any) -> Any:
            self._analyses += 1
            return plan_frames(*arguments)

        # It analyses the picture in a process of its own.
        patch.setattr(director, "plan_frames", counted)

    def reset(self) -> None:
        self._proxy.requests.clear()
        self._analyses = 0

    @property
    def work(self) -> tuple[list[int], int]:
        """The numbers of the shorts that were rendered, and how many pictures were analysed."""
        puts = [r.path for r in self._proxy.requests if r.method == "PUT"]
        shorts = [n for n in (1, 2, 3) if any(f"segment_{n}_cropped_" in put for put in puts)]
        return shorts, self._analyses


@pytest.fixture
def counter(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(proxy, monkeypatch)


def test_only_what_changed_is_made_again(warehouse: Warehouse, counter: Counter) -> None:
    warehouse.put("shorts_config.json", {**CONFIG, "layout": "crop", "aspect": "1:1"})

    def work(edits: dict[str, Any]) -> tuple[list[int], int]:
        warehouse.put("edits.json", edits)
        counter.reset()
        state = warehouse.generate()
        assert state.is_completed(), state.message
        return counter.work

    assert work({}) == ([1, 2], 2)
    first, second = warehouse.record["shorts"]
    moments = json.loads(warehouse.text("important_segments_videos.json"))
    assert [(m["id"], m["index"]) for m in moments] == [(first["id"], 1), (second["id"], 2)]

    texts: dict[str, Any] = {"title": "<b>Another</b>", "description": "Long\ntext", "hook": "Oh"}
    texts["hashtags"] = ["Own", "tags"]
    shorts = {first["id"]: {**texts, "decision": "approved"}}
    assert work({"shorts": shorts}) == ([], 0)
    found = warehouse.record["shorts"][0]
    assert {name: found[name] for name in texts} == texts
    assert found["decision"] == "approved"
    assert "&lt;b&gt;Another" in warehouse.text("index.html")

    # A word of the first short: its captions alone.
    words = json.loads(warehouse.text("original.words.json"))
    number = next(n for n, word in enumerate(words) if word["start"] > seconds(first["start"]) + 1)
    correction = {"original": words[number]["word"], "text": "Zanzibar"}
    edits = {"shorts": shorts, "words": {str(number): correction}}
    assert work(edits) == ([1], 0)
    assert "Zanzibar" in warehouse.text("important-segment-videos/segment_1.srt")
    assert "Zanzibar" in warehouse.text("index.html")
    assert "Zanzibar" not in warehouse.text("original.words.json")
    assert work(edits) == ([], 0)

    # The second short loses its last words.
    last = max(n for n, word in enumerate(words) if word["end"] <= seconds(second["end"]))
    begin = min(n for n, word in enumerate(words) if word["start"] >= seconds(second["start"]))
    span = {"first": begin, "last": last - 2, "last_word": words[last - 2]["word"]}
    edits["shorts"] = {**shorts, second["id"]: {"span": span}}
    assert work(edits) == ([2], 1)
    moved = warehouse.record["shorts"][1]
    assert moved["id"] == second["id"]
    ends = seconds(moved["end"])
    assert words[last - 2]["end"] <= ends <= words[last - 1]["start"]

    # Refused: not rendered, not even anew, and shown as such.
    edits["shorts"][first["id"]]["decision"] = "refused"
    edits["words"] = {}
    assert work(edits) == ([], 0)
    refused = warehouse.record["shorts"][0]
    assert refused["status"] == "Refused"
    assert not {"fileSize", "error", "code"} & set(refused)
    assert "Refused" in warehouse.text("index.html")
    assert warehouse.history[-1] == "Generation Complete"

    # Another choosing, of fewer and shorter moments, renumbers and drops neither.
    warehouse.put("shorts_config.json", {**CONFIG, "layout": "crop", "aspect": "1:1"} | FEWER)
    assert work(edits)[0] in ([], [3])
    again = warehouse.record["shorts"]
    assert [(s["index"], s["id"]) for s in again][:2] == [(1, first["id"]), (2, second["id"])]
    assert again[1]["end"] == moved["end"]


FEWER = {"segment_count": 1, "target_short_video_duration_in_seconds": 5}


def seconds(time: str) -> float:
    hours, minutes, rest = time.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@pytest.mark.parametrize(
    ("edits", "says", "state"),
    [
        ("{", "edits.json is not JSON", "ReadConfigFailed"),
        (
            {"shorts": {"m1-2": {"title": "x" * 10_000}}},
            "edits.json is not valid: shorts.m1-2.title: String should have at most 200",
            "ReadConfigFailed",
        ),
        (
            {"words": {"0": {"original": "a", "text": "b", "<i>": 1}}},
            "words.0.<i>: Extra inputs are not permitted",
            "ReadConfigFailed",
        ),
    ],
)
def test_invalid_edits_fail_before_any_work_and_name_the_field(
    warehouse: Warehouse, edits: Any, says: str, state: str
) -> None:
    warehouse.put("edits.json", edits)
    assert warehouse.generate().name == state
    assert says in warehouse.record["processingError"]["message"]
    assert warehouse.record["processingError"]["code"] == "VALIDATION_ERROR"
    assert "original.words.json" not in warehouse.names()
