"""Edits of a video by a user: what the next run makes again, and what it reuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from clipflow.domain.transcript import words_json
from clipflow.jobs.brand import part_seconds
from clipflow.reframe import director
from tests.faulty_proxy import FaultyProxy
from tests.flows.warehouse import CONFIG, Warehouse
from tests.made_media import make_source
from tests.spoken import hesitant_words, make_spoken

pytestmark = pytest.mark.slow


class WorkCounter:
    """Counts the shorts that are rendered, and the moments whose framing is planned."""

    def __init__(self, proxy: FaultyProxy, patch: pytest.MonkeyPatch) -> None:
        self._proxy = proxy
        self._analyses = 0
        plan_frames = director.plan_frames

        def counting_plan_frames(*arguments: Any) -> Any:
            self._analyses += 1
            return plan_frames(*arguments)

        # Counts calls in this process; the function itself decodes in another process.
        patch.setattr(director, "plan_frames", counting_plan_frames)

    def reset(self) -> None:
        self._proxy.requests.clear()
        self._analyses = 0

    @property
    def work(self) -> tuple[list[int], int]:
        """The numbers of the rendered shorts, and how many moments had their framing planned."""
        puts = [r.path for r in self._proxy.requests if r.method == "PUT"]
        shorts = [n for n in (1, 2, 3) if any(f"segment_{n}_cropped_" in put for put in puts)]
        return shorts, self._analyses


@pytest.fixture
def work_counter(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> WorkCounter:
    return WorkCounter(proxy, monkeypatch)


def test_only_what_changed_is_made_again(warehouse: Warehouse, work_counter: WorkCounter) -> None:
    warehouse.put("shorts_config.json", {**CONFIG, "layout": "crop", "aspect": "1:1"})

    def work(edits: dict[str, Any]) -> tuple[list[int], int]:
        warehouse.put("edits.json", edits)
        work_counter.reset()
        state = warehouse.generate()
        assert state.is_completed(), state.message
        return work_counter.work

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

    # A corrected word of the first short changes only the captions of this short.
    words = json.loads(warehouse.text("original.words.json"))
    number = next(
        n for n, word in enumerate(words) if word["start"] > parse_seconds(first["start"]) + 1
    )
    correction = {"original": words[number]["word"], "text": "Zanzibar"}
    edits = {"shorts": shorts, "words": {str(number): correction}}
    assert work(edits) == ([1], 0)
    assert "Zanzibar" in warehouse.text("important-segment-videos/segment_1.srt")
    assert "Zanzibar" in warehouse.text("index.html")
    assert "Zanzibar" not in warehouse.text("original.words.json")
    assert work(edits) == ([], 0)

    # The second short is trimmed by its last two words.
    last_word = max(
        n for n, word in enumerate(words) if word["end"] <= parse_seconds(second["end"])
    )
    first_word = min(
        n for n, word in enumerate(words) if word["start"] >= parse_seconds(second["start"])
    )
    span = {"first": first_word, "last": last_word - 2, "last_word": words[last_word - 2]["word"]}
    edits["shorts"] = {**shorts, second["id"]: {"span": span}}
    assert work(edits) == ([2], 1)
    moved = warehouse.record["shorts"][1]
    assert moved["id"] == second["id"]
    end = parse_seconds(moved["end"])
    assert words[last_word - 2]["end"] <= end <= words[last_word - 1]["start"]

    # A refused short is not rendered again, and the record and the page show it as refused.
    edits["shorts"][first["id"]]["decision"] = "refused"
    edits["words"] = {}
    assert work(edits) == ([], 0)
    refused = warehouse.record["shorts"][0]
    assert refused["status"] == "Refused"
    assert not {"fileSize", "error", "code"} & set(refused)
    assert "Refused" in warehouse.text("index.html")
    assert warehouse.history[-1] == "Generation Complete"

    # When fewer and shorter moments are chosen, edited shorts keep their numbers and are not
    # dropped.
    warehouse.put("shorts_config.json", {**CONFIG, "layout": "crop", "aspect": "1:1"} | FEWER)
    assert work(edits)[0] in ([], [3])
    again = warehouse.record["shorts"]
    assert [(s["index"], s["id"]) for s in again][:2] == [(1, first["id"]), (2, second["id"])]
    assert again[1]["end"] == moved["end"]


def test_restored_words_render_only_their_short_and_unknown_ids_are_reported(
    warehouse: Warehouse, work_counter: WorkCounter, tmp_path: Path
) -> None:
    words = hesitant_words()
    warehouse.put("original.mp4", make_spoken(tmp_path / "talk.mp4", words, seconds=25))
    warehouse.delete("original.srt")
    warehouse.put("original.json", words_json(words))
    looks = {"layout": "crop", "aspect": "1:1", "caption_style": "none", "tighten": True}
    warehouse.put("shorts_config.json", {**CONFIG, **looks})
    assert warehouse.generate().is_completed()
    assert work_counter.work == ([1, 2], 2)
    first, second = warehouse.record["shorts"]
    [removed] = first["tightening"]["removed"]
    assert (removed["kind"], removed["text"]) == ("filler", "erm,")
    page = warehouse.text("index.html")
    assert page.count("<summary>1 taken out, ") == 2
    assert f"<code>{removed['id']}</code>" in page

    # The next word is not a filler word, so it was not removed and cannot be restored.
    no_filler = removed["word"] + 1
    restored = {removed["id"]: "erm,", f"w{no_filler}": words[no_filler].text, "p3": "another"}
    warehouse.put("edits.json", {"shorts": {first["id"]: {"restored": restored}}})
    work_counter.reset()
    assert warehouse.generate().is_completed()
    assert work_counter.work == ([1], 0)
    back, same = warehouse.record["shorts"]
    assert same == second
    assert back["tightening"] == {
        "removed": [],
        "restored": [removed],
        "ignored": [f"w{no_filler}", "p3"],
        "seconds": 0,
    }
    assert back["fileSize"] > first["fileSize"]
    assert warehouse.text("index.html").count("<summary>1 taken out, ") == 1


def test_an_invalid_style_of_a_short_fails_only_it_and_that_of_the_video_fails_before_any_work(
    warehouse: Warehouse, work_counter: WorkCounter, tmp_path: Path
) -> None:
    intro = make_source(tmp_path / "i.mkv", size=(180, 320), seconds=1, sound=None)
    warehouse.objects.upload(intro, "brands/i.mkv", {})
    looks: dict[str, Any] = {"layout": "fit", "aspect": "1:1", "caption_style": "none"}
    looks["brand"] = {"intro": "brands/i.mkv"}
    warehouse.put("style.json", {"size": "large"})
    bad = f"{warehouse.keys.folder}/style.json"
    warehouse.put("shorts_config.json", {**CONFIG, **looks, "caption_style": bad})
    assert warehouse.generate().name == "ReadConfigFailed"
    field = f"caption_style: {bad} is not valid: size"
    assert field in warehouse.record["processingError"]["message"]
    assert "original.words.json" not in warehouse.names()

    # The ids of the shorts are known once they are chosen.
    warehouse.put("shorts_config.json", {**CONFIG, **looks})
    assert warehouse.generate().is_completed()
    ids = [short["id"] for short in warehouse.record["shorts"]]
    head = warehouse.objects.head(warehouse.keys.short(2))
    assert head and part_seconds(head) == pytest.approx((1, 0), abs=0.01)
    warehouse.put("edits.json", {"shorts": {ids[1]: {"caption_style": bad}}})
    work_counter.reset()
    assert warehouse.generate().name == "ChildTasksFailed"
    assert work_counter.work == ([], 0)
    good, failed = warehouse.record["shorts"]
    assert (good["status"], failed["code"]) == ("Generation Complete", "VALIDATION_ERROR")
    assert field in failed["error"]


FEWER = {"segment_count": 1, "target_short_video_duration_in_seconds": 5}


def parse_seconds(time: str) -> float:
    hours, minutes, rest = time.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@pytest.mark.parametrize(
    ("edits", "expected", "state"),
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
    warehouse: Warehouse, edits: Any, expected: str, state: str
) -> None:
    warehouse.put("edits.json", edits)
    assert warehouse.generate().name == state
    assert expected in warehouse.record["processingError"]["message"]
    assert warehouse.record["processingError"]["code"] == "VALIDATION_ERROR"
    assert "original.words.json" not in warehouse.names()
