"""Result events reach their subscriber through an outage of EventBridge and through SIGKILL."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from clipflow.domain.errors import StorageUnavailableError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.storage.outbox import outbox
from clipflow.storage.records import RecordStore
from deployments.bridge.result_events import UnsentEvents
from tests.clipflow.storage.outcomes import RESULT
from tests.clipflow.storage.test_outbox import shorts
from tests.faulty_proxy import Fault, FaultyProxy, Request
from tests.subscriber import Subscriber

# Seconds between two turns of the bridge's sweep.
INTERVAL = 10


@pytest.fixture
def subscriber(storage: None) -> Subscriber:
    drain(UnsentEvents(outbox()), later())  # what other tests have left
    return Subscriber()


@pytest.fixture
def proxy(local_aws: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(local_aws).running() as faulty:
        yield faulty


def later() -> datetime:
    """After the time in which a run sends its events itself."""
    return datetime.now(UTC) + timedelta(minutes=1)


def drain(events: UnsentEvents, now: datetime, seconds: int = 0) -> int:
    """Take all turns within some seconds, without waiting; returns how many events are sent."""
    sent = 0
    for second in range(0, seconds + 1, INTERVAL):
        try:
            sent += asyncio.run(events.send(now + timedelta(seconds=second)))
        except StorageUnavailableError:
            continue
    return sent


def put_events(proxy: FaultyProxy) -> int:
    return sum(request.operation == "PutEvents" for request in proxy.requests)


def of_bus(proxy: FaultyProxy) -> Any:
    """A client of EventBridge whose requests are those of the outbox, without repetitions."""
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("events", endpoint_url=proxy.url, config=config)


def test_nothing_is_lost_in_an_hour_without_eventbridge(
    records: RecordStore, subscriber: Subscriber, proxy: FaultyProxy
) -> None:
    episode = f"e-{uuid4().hex}"
    for number in range(12):
        keys = ClipKeys("t", episode, f"c{number}")
        records.claim(keys, "run", {})
        records.complete(keys, "run", RESULT)
    events = UnsentEvents(replace(outbox(), client=of_bus(proxy)))
    proxy.faults = [Fault(lambda request: request.operation == "PutEvents")]
    start = later()
    assert drain(events, start, 3600) == 0
    # Three records in each turn, at first after pauses of 10, 20, 40, … seconds, then of five
    # minutes. All 12 in each turn would be 4300.
    assert 3 * 12 <= put_events(proxy) <= 3 * 20
    assert subscriber.of(episode) == []
    proxy.faults = []
    assert drain(events, start + timedelta(hours=1), 300) == 12
    assert len({event["detail"]["clipId"] for event in subscriber.wait_for(episode, 12)}) == 12


def test_a_refused_event_does_not_repeat_those_that_were_accepted(
    records: RecordStore, subscriber: Subscriber
) -> None:
    video = ShortsKeys("u", f"v-{uuid4().hex}", "warehouse")
    records.claim(video, "run", {})
    records.complete(video, "run", shorts(video, {n: f"{n:032}" for n in range(1, 26)}))
    box = outbox()

    class Refusing:
        """An EventBridge that refuses the event of the 13th short."""

        refuses = True

        def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
            refused = [self.refuses and '"index":13,' in entry["Detail"] for entry in Entries]
            taken = [entry for entry, no in zip(Entries, refused, strict=True) if not no]
            if taken:
                box.client.put_events(Entries=taken)  # type: ignore[arg-type]
            answers = [{"ErrorCode": "ThrottlingException"} if no else {} for no in refused]
            return {"FailedEntryCount": sum(refused), "Entries": answers}

    bus: Any = Refusing()
    events, start = UnsentEvents(replace(box, client=bus)), later()
    drain(events, start, 3600)
    bus.refuses = False
    drain(events, start + timedelta(hours=1), 300)
    received = Counter(e["detail"]["eventId"] for e in subscriber.wait_for(video.video_id, 26))
    assert set(received.values()) == {1}


def test_records_that_cannot_be_sent_do_not_stop_others(
    records: RecordStore, subscriber: Subscriber, proxy: FaultyProxy
) -> None:
    broken, sound = (f"e-{uuid4().hex}" for _ in range(2))
    for number in range(5):
        keys = ClipKeys("t", broken, f"c{number}")
        records.claim(keys, "run", {})
        records.complete(keys, "run", RESULT)
        update = "SET outbox[0].detail_type = :type"
        values = {":type": "Unknown"}
        records.table.update_item(
            Key=keys.record, UpdateExpression=update, ExpressionAttributeValues=values
        )
    events, start = UnsentEvents(outbox()), later()
    drain(events, start, 600)
    keys = ClipKeys("t", sound, "c")
    records.claim(keys, "run", {})
    records.complete(keys, "run", RESULT)
    assert drain(events, start + timedelta(seconds=600), 310) == 1
    subscriber.wait_for(sound, 1)
    for number in range(5):
        records.table.delete_item(Key=ClipKeys("t", broken, f"c{number}").record)


FINISH = """
from clipflow.domain.keys import ClipKeys
from clipflow.storage.outbox import outbox
from clipflow.storage.records import record_store
from tests.clipflow.storage.outcomes import RESULT
import sys
keys = ClipKeys("t", sys.argv[1], "c")
record_store().claim(keys, "run", {})
record_store().complete(keys, "run", RESULT)
outbox().send(keys)
"""


@pytest.mark.parametrize(
    ("killed_at", "received"),
    [
        ("between the record and the event", 1),
        ("between the event and its removal", 2),
    ],
)
def test_the_event_of_a_killed_process_is_sent(
    killed_at: str,
    received: int,
    records: RecordStore,
    subscriber: Subscriber,
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    episode = f"e-{uuid4().hex}"
    reached, killed = threading.Event(), threading.Event()
    proxy.faults = [Fault(blocks(proxy, killed_at, reached, killed))]
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    process = subprocess.Popen([sys.executable, "-c", FINISH, episode])
    assert reached.wait(60)
    process.kill()
    process.wait()
    killed.set()
    keys = ClipKeys("t", episode, "c")
    assert records.table.get_item(Key=keys.record)["Item"]["status"] == "Generation Complete"
    assert drain(UnsentEvents(outbox()), later()) == 1
    events = subscriber.wait_for(episode, received)
    assert len({event["detail"]["eventId"] for event in events}) == 1


def blocks(
    proxy: FaultyProxy, killed_at: str, reached: threading.Event, killed: threading.Event
) -> Callable[[Request], bool]:
    """Holds the request at which the process is killed until it is, and refuses it then."""

    def matches(request: Request) -> bool:
        removes = request.operation == "UpdateItem" and put_events(proxy) > 0
        sends = request.operation == "PutEvents"
        if not (sends if "the record" in killed_at else removes):
            return False
        reached.set()
        return killed.wait(60)

    return matches
