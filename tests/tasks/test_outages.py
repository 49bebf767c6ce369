"""How long the clients of a run, and those of a command, wait for Prefect."""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpx import ConnectError
from prefect.client import base
from prefect.client.orchestration import SyncPrefectClient
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    temporary_settings,
)

from deployments.run_environment import OUTAGES
from tasks.outages import outlast_outages, warn_once
from tests.deployments.event_queue import prefect_proxy
from tests.programs import PrefectServer, eventually, free_port

LOGGERS = ("prefect.events.clients", "prefect._internal.concurrency", "clipflow.outages")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients would wait."""
    found = list[float]()
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@contextmanager
def patience_of_a_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in the process of a run."""
    for kind in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
        monkeypatch.setattr(kind, "_has_connected", False, raising=False)
    monkeypatch.setattr(base, "clamped_poisson_interval", base.clamped_poisson_interval)  # type: ignore[attr-defined]
    monkeypatch.setattr(PrefectEventsClient, "_reconnect", PrefectEventsClient._reconnect)
    outlast_outages()
    retries, codes = OUTAGES.values()
    with temporary_settings(
        {PREFECT_CLIENT_MAX_RETRIES: retries, PREFECT_CLIENT_RETRY_EXTRA_CODES: codes}
    ):
        yield


def test_a_run_waits_for_an_hour_and_tries_every_half_minute(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a client that has not been connected before."""
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    with (
        patience_of_a_run(monkeypatch),
        SyncPrefectClient(nowhere) as client,
        pytest.raises(ConnectError),
    ):
        client.hello()
    assert 3600 < sum(waits) < 6000
    assert max(waits) <= 36


@pytest.mark.services
def test_a_run_repeats_what_a_server_without_its_database_refuses(
    prefect_server: PrefectServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([500, 504, 502, 503])
    with (
        prefect_proxy(prefect_server, lambda _path, _body: next(answers, None)) as url,
        patience_of_a_run(monkeypatch),
        SyncPrefectClient(url) as client,
    ):
        assert client.hello().is_success
    assert next(answers, None) is None


def test_a_command_has_prefects_patience(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setattr(base.PrefectHttpxSyncClient, "_has_connected", False, raising=False)
    with SyncPrefectClient(nowhere) as client, pytest.raises(ConnectError):
        client.hello()
    assert sum(waits) < 5


@pytest.mark.services
def test_an_outage_is_one_line_of_the_log_and_its_end_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the queue that sends a run's events."""
    server, lines = PrefectServer(tmp_path), list[str]()
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(record.getMessage()))
    monkeypatch.setattr(PrefectEventsClient, "_reconnect", PrefectEventsClient._reconnect)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for each in loggers:
        monkeypatch.setattr(each, "handlers", [handler])
        monkeypatch.setattr(each, "filters", [])
    warn_once()
    server.start()
    options = (("api_url", server.url), ("reconnection_attempts", 0), ("checkpoint_interval", 1))
    monkeypatch.setattr(EventsWorker, "_client_override", (PrefectEventsClient, options))
    with temporary_settings({PREFECT_API_URL: server.url}):
        events = EventsWorker.instance()
    try:
        events.send(event(0))
        events.wait_until_empty()
        with server.killed():
            for number in range(1, 4):
                events.send(event(number))
            events.wait_until_empty()
        eventually(lambda: "Prefect takes events again." in lines)
        warning, _ = lines
        assert warning.startswith("Unable to connect to")
    finally:
        events.drain()
        server.stop(signal.SIGKILL)


def event(number: int) -> Event:
    return Event(event=f"tested.{number}", resource={"prefect.resource.id": "test"})
