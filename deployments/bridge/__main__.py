"""`python -m deployments.bridge`: carries until SIGTERM or SIGINT."""

import asyncio
import logging
import signal
from contextlib import suppress
from dataclasses import asdict

import boto3
from botocore.config import Config
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import Field
from pydantic_settings import BaseSettings

from clipflow.domain.errors import InvalidInputError, TransientError
from clipflow.storage.records import record_store
from clipflow.telemetry.logging import SWEEP_ENDED, emit_metric
from clipflow.telemetry.tracing import configure
from deployments.bridge.consumer import Carrier, Pace, Queue, log
from deployments.bridge.prefect_server import Server
from deployments.bridge.sweep import Sweep


class BridgeSettings(BaseSettings):
    """The bridge's part of the environment; where the server is, Prefect's own settings say."""

    queue_name: str = Field(
        default="clipflow-events",
        validation_alias="CLIPFLOW_QUEUE_NAME",
        description="The SQS queue that events come by.",
    )
    aws_region: str = Field(
        default="us-east-1", validation_alias="AWS_REGION", description="As the AWS SDK knows it."
    )
    aws_endpoint_url: str | None = Field(
        default=None,
        validation_alias="AWS_ENDPOINT_URL",
        description="Another AWS than Amazon's, as the AWS SDK knows it.",
    )


async def carry(settings: BridgeSettings, stop: asyncio.Event, pace: Pace) -> None:
    """Carries until `stop` is set; what is then in hand is forwarded or given back."""
    sqs = boto3.client(
        "sqs",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2}),
    )
    # The client's own retries would sit out an outage for a minute, whatever is in hand.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client() as client:
            server = client.api_url.copy_with(userinfo=b"")
            log.info("queue=%s server=%s", settings.queue_name, server)
            queue = Queue(sqs, settings.queue_name)
            carrier = Carrier(queue, Server(client, pace.answer), stop, pace)
            turns = asyncio.create_task(carrier.run())
            sweeping = asyncio.create_task(sweep_on(client, pace))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({turns, stopping}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({turns}, timeout=pace.grace)
                turns.cancel()
                with suppress(asyncio.CancelledError):
                    await turns
            finally:
                sweeping.cancel()
                stopping.cancel()
                await carrier.give_back()


async def sweep_on(client: PrefectClient, pace: Pace) -> None:
    """Turn after turn, unless this environment knows of no table."""
    try:
        sweep = Sweep(client, record_store(), pace.answer)
    except InvalidInputError as error:
        log.warning("what is lost on the way is not looked for: %s", error)
        return
    outage = ""
    while True:
        await asyncio.sleep(pace.sweep)
        try:
            found = await sweep.turn()
        except TransientError as error:
            if str(error) != outage:
                log.warning("not swept: %s", error)
            outage = str(error)
        except Exception:  # noqa: BLE001 - whatever it is, without turns nothing is found
            log.exception("not swept, by a defect in clipflow")
        else:
            emit_metric(SWEEP_ENDED, f"swept: {found}", **asdict(found))
            outage = ""


async def carry_until_signalled() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await carry(BridgeSettings(), stop, Pace())


def main() -> None:
    """Exits with a message where no Prefect server is set."""
    logging.basicConfig(format="%(asctime)s %(levelname)s bridge: %(message)s")
    log.setLevel(logging.INFO)
    if not PREFECT_API_URL.value():
        # Prefect's client would start a server of its own, for the events to vanish in.
        raise SystemExit("PREFECT_API_URL is not set: set it to the Prefect server's address.")
    configure()
    asyncio.run(carry_until_signalled())


if __name__ == "__main__":
    main()
