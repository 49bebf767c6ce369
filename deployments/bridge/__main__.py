"""`python -m deployments.bridge`: forwards events and runs the sweep until SIGTERM or SIGINT."""

import asyncio
import logging
import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import boto3
from botocore.config import Config
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import Field

from clipflow.domain.errors import InvalidInputError, TransientError
from clipflow.settings import AwsSettings
from clipflow.storage.outbox import outbox
from clipflow.storage.records import record_store
from clipflow.telemetry.logging import SWEEP_ENDED, emit_metric
from clipflow.telemetry.tracing import BRIDGE, configure
from deployments.bridge.consumer import Consumer, Queue, Timings
from deployments.bridge.prefect_server import Server, check, check_forever, check_warm
from deployments.bridge.sweep import Sweep
from deployments.work_pools.warm import WarmSettings

# Not `__name__`, because that is `__main__` here.
logger = logging.getLogger("deployments.bridge")


class BridgeSettings(AwsSettings):
    """The bridge's environment variables. Prefect's own settings name the Prefect server."""

    queue_name: str = Field(
        default="clipflow-events",
        validation_alias="CLIPFLOW_QUEUE_NAME",
        description="The SQS queue from which events are received.",
    )
    alive_file: Path | None = Field(
        default=None,
        validation_alias="CLIPFLOW_BRIDGE_ALIVE_FILE",
        description="A file that the bridge touches on each turn, by which a health check notices a"
        " bridge that hangs.",
    )


async def run_bridge(settings: BridgeSettings, stop: asyncio.Event, timings: Timings) -> None:
    """Runs until `stop` is set, then forwards or releases the messages in flight."""
    sqs = boto3.client(
        "sqs",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2}),
    )
    # No retries by the client: they would block for a minute in an outage, during which messages in
    # flight could become visible again.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client() as client:
            server = client.api_url.copy_with(userinfo=b"")
            logger.info("queue=%s server=%s", settings.queue_name, server)
            queue = Queue(sqs, settings.queue_name)
            server_of_events = Server(client, timings.request_timeout)
            consumer = Consumer(queue, server_of_events, stop, timings, settings.alive_file)
            consuming = asyncio.create_task(consumer.run())
            sweeping = asyncio.create_task(sweep_forever(client, queue, timings))
            checking = asyncio.create_task(check_server(client, timings))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({consuming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({consuming}, timeout=timings.shutdown_grace)
                consuming.cancel()
                with suppress(asyncio.CancelledError):
                    await consuming
            finally:
                sweeping.cancel()
                checking.cancel()
                stopping.cancel()
                await consumer.release()


async def check_server(client: PrefectClient, timings: Timings) -> None:
    """Runs the checks whose results are metrics, that of warm machines only if there can be any."""
    settings = WarmSettings()
    at_once, seconds = settings.runs, timings.request_timeout
    async with asyncio.TaskGroup() as group:
        group.create_task(check_forever(lambda: check(client, seconds), timings.check_interval))
        if settings.most:
            interval = timings.warm_check_interval
            group.create_task(check_forever(lambda: check_warm(client, at_once, seconds), interval))


async def sweep_forever(client: PrefectClient, queue: Queue, timings: Timings) -> None:
    """Runs the sweep periodically. Returns if the environment names no table of records."""
    try:
        sweep = Sweep(client, record_store(), outbox(), timings.request_timeout, queue.dead_letter)
    except InvalidInputError as error:
        logger.warning("no sweep for lost runs and events: %s", error)
        return
    outage, limited = "", 0.0
    while True:
        await asyncio.sleep(max(timings.sweep_interval, limited))
        limited = 0.0
        try:
            found = await sweep.turn()
        except TransientError as error:
            if str(error) != outage:
                logger.warning("not swept: %s", error)
            outage = str(error)
            limited = timings.pause(getattr(error, "retry_after", 0.0))
        except Exception:
            logger.exception("not swept, by a defect in clipflow")
        else:
            emit_metric(SWEEP_ENDED, f"swept: {found}", **asdict(found))
            outage = ""


async def run_until_signalled() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_bridge(BridgeSettings(), stop, Timings())


def main() -> None:
    """Runs the bridge. Exits with a message if PREFECT_API_URL is not set."""
    logging.basicConfig(format="%(asctime)s %(levelname)s bridge: %(message)s")
    logging.getLogger("deployments.bridge").setLevel(logging.INFO)
    if not PREFECT_API_URL.value():
        # Prefect's client would start a temporary server, and the events would be lost with it.
        raise SystemExit("PREFECT_API_URL is not set: set it to the Prefect server's address.")
    configure(BRIDGE)
    asyncio.run(run_until_signalled())


if __name__ == "__main__":
    main()
