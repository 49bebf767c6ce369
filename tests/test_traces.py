"""One trace from an event to ffmpeg in a collector, and the log lines of its runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.local_stack import RunningStack, running_stack
from tests.collector import Collected, Collector, collecting
from tests.made_media import make_source
from tests.programs import eventually, free_port
from tests.test_end_to_end import SEGMENTS, UserAccess

pytestmark = [pytest.mark.slow]


class TracedClip:
    """One clip made by one event: its spans, and the output of the worker and the bridge."""

    def __init__(self, collector: Collector, episode_id: str, logs: Path) -> None:
        self.collector = collector
        self.episode_id = episode_id
        self.lines = _lines(logs / "worker.log") + _lines(logs / "bridge.log")

    @property
    def above_clip(self) -> list[str]:
        """The names of the ancestors of the clip's run."""
        return ["start generate-clip", self.episode_id, "start begin-clip-generation", "event"]

    def one(self, name: str) -> Collected:
        (span,) = self.collector.named(name)
        return span


def _lines(log: Path) -> list[dict[str, Any]]:
    """The JSON log lines, without other output of the commands of Prefect."""
    written = log.read_text().splitlines()
    return [json.loads(line) for line in written if line.startswith("{")]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TracedClip, Collector]]:
    """A clip that is made by its own run, and the spans of one that is cut by other runs."""
    home = tmp_path_factory.mktemp("traced")
    source = make_source(home / "main.mp4", seconds=8, sound=("-c:a", "aac"))
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        with running_stack(home / "stack", free_port(), free_port()) as stack:
            user = UserAccess(stack)
            episode_id = user.episode(source, "one")
            user.put_event(episode_id)
            user.wait_for_status(episode_id, "one", "Generation Complete")
            eventually(lambda: collector.named("event") and collector.named("one"))
            made = TracedClip(Collector(spans=list(collector.spans)), episode_id, stack.logs)
            collector.spans.clear()
            make_remotely(stack, user.episode(source, "two"), "two")
            eventually(lambda: [span for span in collector.named("two") if span.kind == "SERVER"])
        yield made, collector


@pytest.fixture
def made(both: tuple[TracedClip, Collector]) -> TracedClip:
    return both[0]


def make_remotely(stack: RunningStack, episode_id: str, clip_id: str) -> None:
    """Start a run that makes the clip, each segment by a run of its own."""
    with SyncPrefectClient(stack.env["PREFECT_API_URL"]) as client:
        client.create_flow_run_from_deployment(
            client.read_deployment_by_name("generate-clip/clipflow").id,
            parameters={"tenant_id": "t", "episode_id": episode_id, "clip_id": clip_id},
            job_variables={
                "env": {"CLIPFLOW_FAN_OUT": "remote", "CLIPFLOW_MACHINE_CPU_SECONDS": "0"}
            },
        )


def test_all_spans_are_in_the_trace_named_by_the_event_id(made: TracedClip) -> None:
    (trace_id,) = {span.trace_id for span in made.collector.spans}
    (forwarded,) = [line for line in made.lines if line["message"].startswith("forwarded")]
    assert f"event={_dashed(trace_id)} " in forwarded["message"]
    assert forwarded["trace_id"] == trace_id


def test_the_service_map_connects_the_bridge_with_the_runs(made: TracedClip) -> None:
    assert made.collector.service_map() == {
        ("clipflow-bridge", "clipflow-begin-clip-generation"),
        ("clipflow-begin-clip-generation", "clipflow-generate-clip"),
    }
    services = {span.service for span in made.collector.spans if span.kind == "SERVER"}
    assert services == {span.service for span in made.collector.spans}


def test_the_service_map_connects_a_run_with_its_children(
    both: tuple[TracedClip, Collector],
) -> None:
    _, collector = both
    assert len({span.trace_id for span in collector.spans}) == 1
    assert collector.service_map() == {("clipflow-generate-clip", "clipflow-extract-segment")}
    assert {span.service for span in collector.named("ffmpeg cutting")} == {
        "clipflow-extract-segment"
    }


def test_a_step_is_a_child_of_its_flow_and_the_flow_of_the_event(made: TracedClip) -> None:
    event, begin, clip = made.one("event"), made.one(made.episode_id), made.one("one")
    assert [span for span in made.collector.spans if not span.parent_id] == [event]
    assert made.collector.ancestors(begin) == ["start begin-clip-generation", "event"]
    assert made.collector.ancestors(clip) == made.above_clip
    cuts = made.collector.named("ffmpeg cutting")
    assert sorted(made.collector.ancestors(cut) for cut in cuts) == [
        ["segment", name, "one", *made.above_clip]
        for name in ("extract 0: 00:00:01.52-00:00:02", "extract 1: 00:00:05-00:00:06")
    ]
    stitching = [made.collector.ancestors(span) for span in made.collector.named("stitch")]
    assert ["stitch", "one", *made.above_clip] in stitching


def test_spans_have_the_costs_of_the_work_and_its_owner(made: TracedClip) -> None:
    ids = {"tenant_id": "t", "episode_id": made.episode_id, "clip_id": "one"}
    owner_ids = {f"clipflow.{name}": value for name, value in ids.items()}
    segments, cuts = made.collector.named("segment"), made.collector.named("ffmpeg cutting")
    assert len(segments) == len(cuts) == len(SEGMENTS)
    for span in segments:
        attributes = span.attributes
        assert owner_ids.items() <= attributes.items()
        assert attributes["clipflow.step"].startswith("extract ")
        assert attributes["clipflow.cut_way"] == "encoded" and attributes["clipflow.retries"] == 0
        assert (
            attributes["clipflow.bytes_read"] > 1000 and attributes["clipflow.bytes_written"] > 1000
        )
        # The CPU time of ffmpeg is at most the duration of the step on each of 64 cores.
        assert 0.01 < attributes["clipflow.cpu_seconds"] < 64 * (span.ended - span.began) / 1e9
    for span in (made.one("one"), *made.collector.named("ffmpeg")):
        assert owner_ids.items() <= span.attributes.items()
    for cut in cuts:
        attributes = cut.attributes
        assert (
            attributes["clipflow.bytes_read"] > 1000 and attributes["clipflow.bytes_written"] > 1000
        )
    step = made.one("extract 0").attributes
    assert (step["clipflow.clip_id"], step["clipflow.retries"]) == ("one", 0)


def test_metrics_can_be_derived_from_the_log_lines(made: TracedClip) -> None:
    measured = {name: [line for line in made.lines if line.get("event") == name] for name in NAMES}
    assert {name: len(lines) for name, lines in measured.items()} == NAMES
    (complete,) = measured["record_complete"]
    assert (complete["job"], complete["clip_id"], complete["step"]) == (
        "clips",
        "one",
        "Set Complete",
    )
    assert complete["bytes"] > 1000 and 0 <= complete["seconds"] < 120
    for line in measured["segment_made"]:
        assert {"seconds", "bytes", "bytes_read", "cpu_seconds"} <= line.keys()
        assert (line["cut_way"], line["tenant_id"]) == ("encoded", "t")


NAMES = {"record_complete": 1, "segment_made": len(SEGMENTS), "record_failed": 0}


def test_every_log_line_of_a_run_has_its_ids(made: TracedClip) -> None:
    of_clip = [line for line in made.lines if line.get("clip_id") == "one"]
    assert len(of_clip) > 10
    (run_id,) = {line["run_id"] for line in of_clip if line["logger"] == "prefect.flow_runs"}
    for line in of_clip:
        is_of_run = not line["logger"].startswith("deployments.bridge")
        if is_of_run and not line.get("step", "").startswith("start "):
            assert (line["run_id"], line["episode_id"]) == (run_id, made.episode_id)
            assert line["trace_id"] == made.one("event").trace_id


def _dashed(trace_id: str) -> str:
    parts = (trace_id[:8], trace_id[8:12], trace_id[12:16], trace_id[16:20], trace_id[20:])
    return "-".join(parts)
