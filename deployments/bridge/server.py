"""The Prefect server's side, by Prefect's own client, each call with its failures as
`OutageError`."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.exceptions import ObjectNotFound

from deployments.bridge.message import OutageError, Refused

PAGE = 50  # the most events that /events/filter gives in one answer
_NO_EVENT = UUID(int=0)
_ABOUT_THE_REQUEST = {400, 413, 422}  # any other error status is the server's or its set-up's


class Server:
    """Posts events and asks for them. `patience`: seconds for the server to answer one request."""

    def __init__(self, client: PrefectClient, patience: float) -> None:
        self._client = client
        self._patience = patience

    async def stored(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of at most `PAGE` events the server has; raises OutageError where it does not
        answer."""
        # Without an id the filter would mean every event. By itself it means events of the last 180
        # days until now, by the clock of this machine: the one that `occurred` is taken from.
        wanted = EventFilter(id=EventIDFilter(id=list(ids) or [_NO_EVENT]))
        async with answering(self._patience):
            page = await self._client.read_events(wanted, limit=PAGE)
        return {event.id for event in page.events} & set(ids)

    async def post(self, events: dict[UUID, bytes]) -> dict[UUID, str]:
        """Posts all of them; gives those that the server refuses for what they are, and why."""
        try:
            async with answering(self._patience):
                await self._client.request(
                    "POST",
                    "/events",
                    content=b"[" + b",".join(events.values()) + b"]",
                    headers={"Content-Type": "application/json"},
                )
        except Refused as refusal:
            if len(events) == 1:
                return dict.fromkeys(events, refusal.message)
            refused: dict[UUID, str] = {}
            for id, event in events.items():
                refused |= await self.post({id: event})
            return refused
        return {}


@asynccontextmanager
async def answering(patience: float) -> AsyncIterator[None]:
    """Within it, a request that fails or takes longer than `patience` seconds is an OutageError;
    one that the server will not have is Refused."""
    try:
        # The client itself waits as long as a Retry-After header or a maintenance tells it to.
        async with asyncio.timeout(patience):
            yield
    except httpx.HTTPStatusError as error:
        # Not the error's own text: it holds the server's answer, which repeats the request.
        status = error.response.status_code
        kind = Refused if status in _ABOUT_THE_REQUEST else OutageError
        raise kind(f"The Prefect server answers HTTP {status}.") from None
    except ObjectNotFound as error:
        raise Refused("The Prefect server has no such deployment: deploy prefect.yaml.") from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise OutageError(f"The Prefect server does not answer: {type(error).__name__}.") from None
    except ValueError as error:
        raise OutageError("What answers at PREFECT_API_URL is no Prefect server.") from error
