"""The bridge between a real queue and a real Prefect server, with and without faults."""

import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.domain.events import PREFECT_EVENT, SOURCE
from deployments.bridge.consumer import Timings
from tasks.flow_runs import BEGIN_CLIP_GENERATION
from tests.deployments.event_queue import (
    EventQueue,
    prefect_proxy,
    running_bridge,
    stored_events,
)
from tests.envelopes import DETAIL, envelope
from tests.infra.templates import resources
from tests.lost_runs import deployed
from tests.programs import ROOT, PrefectServer, Program, eventually, throughout

pytestmark = pytest.mark.slow


@pytest.fixture
def event_queue(local_aws: str) -> Iterator[EventQueue]:
    queue = EventQueue(local_aws, f"queue-{uuid4().hex[:8]}")
    queue.create()
    yield queue
    queue.delete()


@pytest.fixture
def bridge(
    event_queue: EventQueue, prefect_server: PrefectServer, tmp_path: Path
) -> Iterator[Program]:
    """The bridge as a separate process. It must exit with code 0 when it is stopped."""
    env = {
        "CLIPFLOW_QUEUE_NAME": event_queue.name,
        "AWS_ENDPOINT_URL": event_queue.endpoint,
        "PREFECT_API_URL": prefect_server.url,
        "PREFECT_HOME": str(tmp_path),
        "CLIPFLOW_BRIDGE_ALIVE_FILE": str(tmp_path / "alive"),
    }
    program = Program(tmp_path / "log", "deployments.bridge", env)
    program.start()
    yield program
    assert program.stop() == 0, program.output()


def test_an_event_becomes_a_prefect_event(
    bridge: Program, event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    id = event_queue.put_event(DETAIL)
    eventually(lambda: stored_events(prefect_server, id))
    (event,) = stored_events(prefect_server, id)
    assert event["event"] == PREFECT_EVENT
    assert event["resource"]["prefect.resource.id"] == f"{SOURCE}.tenant-123.episode-456"
    assert json.loads(event["payload"]["detail"]) == DETAIL
    assert (event["payload"]["tenantId"], event["payload"]["episodeId"]) == (
        DETAIL["tenantId"],
        DETAIL["episodeId"],
    )
    eventually(event_queue.is_empty)
    assert f"receives=1 event={id} tenant=tenant-123 episode=episode-456" in bridge.output()


def test_an_old_event_triggers_once_however_often_it_is_delivered(
    bridge: Program, event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    trigger = {
        "type": "event",
        "posture": "Reactive",
        "expect": [PREFECT_EVENT],
        "match": {"prefect.resource.id": f"{SOURCE}.tenant-old.*"},
        "threshold": 1,
        "within": 0,
    }
    automation = {"name": "old", "trigger": trigger, "actions": [{"type": "do-nothing"}]}
    prefect_server.post("/automations/", automation)
    # The server deletes events that are older than its retention of 7 days.
    old = envelope(timedelta(days=8), detail={"tenantId": "tenant-old", "episodeId": "episode"})
    for _ in range(5):
        event_queue.send(json.dumps(old))

    def triggered() -> int:
        query = {"filter": {"event": {"name": ["prefect.automation.triggered"]}}, "limit": 50}
        return int(prefect_server.post("/events/filter", query).json()["total"])

    eventually(lambda: triggered() and event_queue.is_empty())
    assert triggered() == 1
    assert datetime.fromisoformat(stored_events(prefect_server, old["id"])[0]["occurred"]) > (
        datetime.now(UTC) - timedelta(minutes=1)
    )


def test_invalid_messages_go_to_the_dead_letter_queue_without_blocking_others(
    bridge: Program, event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    deep = "[" * 400 + "]" * 400
    invalid = {
        "not json": "is not JSON",
        json.dumps([envelope()]): "the event is not valid",
        json.dumps(envelope(id="not a uuid")): "id:",
        json.dumps(envelope(source="somebody.else")): "source:",
        json.dumps(envelope(detail={"episodeId": "e"})): "tenantId",
        json.dumps(envelope(detail={**DETAIL, "episodeId": "../up"})): "episodeId",
        json.dumps(
            envelope(detail={**DETAIL, "clips": [{"clipId": "c", "segments": []}]})
        ): "clips",
        json.dumps(envelope(detail={**DETAIL, "clips": [clip_with_text("a\0b")]})): "NUL",
        json.dumps(
            envelope(detail={**DETAIL, "clips": [clip_with_text("long" * 130_000)]})
        ): "bytes",
        json.dumps(envelope(detail={**DETAIL, "note": "\ud800"})): "lone surrogate",
        json.dumps(envelope(detail={**DETAIL, "note": "deep"})).replace('"deep"', deep): "nested",
    }
    valid = []
    for body in invalid:
        event_queue.send(body)
        valid.append(event_queue.put_event(DETAIL))
    count = len(invalid)
    eventually(
        lambda: len(stored_events(prefect_server, *valid)) == count and event_queue.is_empty()
    )
    dead_letters = event_queue.dead_letters()
    assert dead_letters.keys() == invalid.keys()
    for body, reason in dead_letters.items():
        assert invalid[body] in reason
        assert f"{reason}\n" in bridge.output()


def clip_with_text(text: str, **unknown: object) -> dict[str, object]:
    """A clip with one inline segment whose text is `text`."""
    segment = {"startTime": "00:00:01", "endTime": "00:00:02", "text": text}
    return {"clipId": "c-1", "segments": [segment], **unknown}


_TEMPLATE = {"__prefect_kind": "jinja", "template": "{{ 7 * 7 }}"}


@pytest.fixture
def triggered(prefect_server: PrefectServer) -> Iterator[None]:
    """Deploy `begin-clip-generation` on the server with its trigger from prefect.yaml."""
    (deployment, *_) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (trigger,) = deployment["triggers"]
    with (
        temporary_settings({PREFECT_API_URL: prefect_server.url}),
        get_client(sync_client=True) as client,
    ):
        id = str(deployed(client, BEGIN_CLIP_GENERATION))
    action = {"type": "run-deployment", "source": "selected", "deployment_id": id}
    automation = {
        "name": "begin-clip-generation",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": trigger["expect"],
            "match": trigger["match"],
            "threshold": 1,
            "within": 0,
        },
        "actions": [{**action, "parameters": trigger["parameters"]}],
    }
    made = prefect_server.post("/automations/", automation).json()["id"]
    yield
    httpx.delete(f"{prefect_server.url}/automations/{made}").raise_for_status()


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ({"meta": _TEMPLATE}, {}),
        (
            {"clips": [clip_with_text("{{ 7*7 }}", meta=_TEMPLATE)]},
            {"clips": [clip_with_text("{{ 7*7 }}")]},
        ),
        (
            {"clips": [{"clipId": "c-1", "meta": {"__prefect_kind": "json", "value": "{"}}]},
            {"clips": [{"clipId": "c-1"}]},
        ),
        ({"__prefect_kind": "workspace_variable", "variable_name": "secret"}, {}),
        ({"clips": [clip_with_text("x" * 300_000)]}, {"clips": [clip_with_text("x" * 300_000)]}),
    ],
    ids=["unknown field", "field of a clip", "invalid JSON", "variable", "300 kB"],
)
@pytest.mark.usefixtures("bridge", "triggered")
def test_templates_in_an_event_are_not_executed(
    detail: dict[str, object],
    kept: dict[str, object],
    event_queue: EventQueue,
    prefect_server: PrefectServer,
) -> None:
    ids = {"tenantId": "t-17", "episodeId": f"e-{uuid4().hex}"}
    # EventBridge accepts 256 kB, but other senders may put larger messages into the queue.
    event_queue.send(json.dumps(envelope(detail={**ids, **detail})))
    next_episode = f"e-{uuid4().hex}"
    event_queue.send(json.dumps(envelope(detail={**ids, "episodeId": next_episode})))

    def requests(episode: str) -> list[dict[str, Any]]:
        runs = prefect_server.post("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"}).json()
        return [
            json.loads(run["parameters"]["request"])
            for run in runs
            if run["parameters"].get("episode_id") == episode
        ]

    eventually(lambda: requests(ids["episodeId"]) and requests(next_episode))
    assert requests(ids["episodeId"]) == [{**ids, **kept}]
    assert requests(next_episode) == [{**ids, "episodeId": next_episode}]
    assert event_queue.dead_letters() == {}


def test_a_server_outage_loses_no_message_and_uses_no_receives(
    bridge: Program, event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    before = event_queue.put_event(DETAIL)
    eventually(lambda: event_queue.message_counts() == (0, 1))
    with prefect_server.killed():
        eventually(lambda: "does not answer" in bridge.output())
        during = event_queue.put_event(DETAIL)
        throughout(3, lambda: event_queue.message_counts() == (1, 1))
    eventually(lambda: len(stored_events(prefect_server, before, during)) == 2)
    eventually(event_queue.is_empty)
    for id in (before, during):
        assert f"receives=1 event={id}" in bridge.output()
    # The bridge has two clients of the server, and each logs an outage at most twice.
    assert bridge.output().count("does not answer") <= 4, bridge.output()


def test_a_message_stays_in_flight_during_an_outage_until_shutdown(
    event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    id = event_queue.put_event(DETAIL)
    posts: list[str] = []

    def unavailable_after_first_post(path: str, body: str) -> int | None:
        if path == "/api/events":
            posts.append(body)
        return 503 if posts else None

    timings = Timings(
        visibility=2, extend_below=1.5, first_delay=0.1, longest_delay=0.1, request_timeout=0.3
    )
    with prefect_proxy(prefect_server, unavailable_after_first_post) as url:
        with running_bridge(event_queue, url, timings):
            eventually(lambda: posts)
            throughout(4, lambda: event_queue.message_counts() == (0, 1))
        assert event_queue.message_counts() == (1, 0)
    assert id in posts[0]
    assert event_queue.receive_count() == 1


def test_an_event_accepted_but_not_stored_is_posted_again(
    event_queue: EventQueue, prefect_server: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    posts: list[str] = []
    at_second_post: list[object] = []

    def drop_first_post(path: str, body: str) -> int | None:
        if path != "/api/events":
            return None
        posts.append(body)
        if len(posts) == 1:
            return 204
        at_second_post.append(stored_events(prefect_server, json.loads(body)[0]["id"]))
        at_second_post.append(event_queue.message_counts())
        return None

    timings = Timings(repost_after=2)
    with (
        prefect_proxy(prefect_server, drop_first_post) as url,
        running_bridge(event_queue, url, timings),
    ):
        id = event_queue.put_event(DETAIL)
        eventually(event_queue.is_empty)
    assert at_second_post[:2] == [[], (0, 1)]
    assert stored_events(prefect_server, id)
    assert f"not stored yet: event={id}" in caplog.text


def test_a_redelivered_event_that_is_stored_is_not_posted_again(
    event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    # On SQLite, a batch of events that are already stored blocks Prefect: for half a minute it
    # stores no other event.
    posts: list[str] = []

    def record_post(path: str, body: str) -> None:
        if path == "/api/events":
            posts.append(body)

    event = json.dumps(envelope())
    with (
        prefect_proxy(prefect_server, record_post) as url,
        running_bridge(event_queue, url, Timings()),
    ):
        for _ in range(2):
            event_queue.send(event)
            eventually(event_queue.is_empty)
    assert len(posts) == 1


def test_client_errors_dead_letter_a_message_and_server_errors_do_not(
    event_queue: EventQueue, prefect_server: PrefectServer
) -> None:
    transient_codes = [401, 403, 404, 429, 500]

    def reject_one(path: str, body: str) -> int | None:
        if path == "/api/events":
            return 422 if "refused" in body else transient_codes.pop() if transient_codes else None
        return None

    bodies = [json.dumps(envelope(detail={**DETAIL, "episodeId": name})) for name in ("a", "b")]
    refused = json.dumps(envelope(detail={**DETAIL, "episodeId": "refused"}))
    for body in (bodies[0], refused, bodies[1]):
        event_queue.send(body)
    timings = Timings(first_delay=0.1, longest_delay=0.1, request_timeout=1)
    with (
        prefect_proxy(prefect_server, reject_one) as url,
        running_bridge(event_queue, url, timings),
    ):
        eventually(event_queue.is_empty)
    assert len(stored_events(prefect_server, *(json.loads(body)["id"] for body in bodies))) == 2
    assert event_queue.dead_letters() == {refused: "The Prefect server answers HTTP 422."}
    assert not transient_codes


def test_the_bridge_waits_for_its_queue_and_logs_a_remedy(
    local_aws: str, prefect_server: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    event_queue = EventQueue(local_aws, f"late-{uuid4().hex[:8]}")
    with running_bridge(event_queue, prefect_server.url, Timings(longest_delay=0.1)):
        eventually(lambda: "set CLIPFLOW_QUEUE_NAME" in caplog.text)
        event_queue.create()
        eventually(lambda: "working again" in caplog.text)
    event_queue.delete()
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) <= 2


def test_a_health_check_notices_a_bridge_that_hangs(
    bridge: Program, event_queue: EventQueue, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    eventually(alive.exists)
    long_ago = time.time() - 600
    os.utime(alive, (long_ago, long_ago))
    (definition,) = resources("bridge", "AWS::ECS::TaskDefinition").values()
    container, _ = definition["ContainerDefinitions"]
    kind, command = container["HealthCheck"]["Command"]
    [name] = [
        each["Value"]
        for each in container["Environment"]
        if isinstance(each, dict) and each["Name"] == "CLIPFLOW_BRIDGE_ALIVE_FILE"
    ]
    assert kind == "CMD-SHELL" and name in command
    check = command.replace(name, str(alive))

    def is_healthy() -> bool:
        return subprocess.run(["/bin/sh", "-c", check], check=False).returncode == 0

    eventually(is_healthy)
    with bridge.suspended():
        os.utime(alive, (long_ago, long_ago))
        assert not is_healthy()
    eventually(is_healthy)


def test_an_idle_bridge_stops_at_once(bridge: Program, event_queue: EventQueue) -> None:
    eventually(lambda: f"queue={event_queue.name}" in bridge.output())
    began = time.monotonic()
    assert bridge.stop() == 0
    # A long poll of the queue would take longer than this.
    assert time.monotonic() - began < 10
