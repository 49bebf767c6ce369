"""The Prefect server with a change for SQLite, for the local stack.

On SQLite, Prefect 3.8 begins a transaction as a read transaction and upgrades it at the first
write. If another client has written meanwhile, SQLite rejects the upgrade immediately, regardless
of its busy timeout. The server then answers 503, and its client retries after 2, 4 and 8 s. Of 20
simultaneous events, 15 were rejected. Here, each transaction is a write transaction from the
beginning, so it waits for the others. This can be removed when Prefect does the same, or if the
local stack moves to PostgreSQL, which does not have this problem.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_begin = AioSqliteConfiguration.begin_transaction


@asynccontextmanager
async def begin_as_writer(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = True
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    """Begins every transaction as a write transaction, which Prefect calls `with_for_update`."""
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


def main() -> None:
    """`prefect server start`, with the settings of the environment."""
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]
    sys.argv = ["prefect", "--no-prompt", "server", "start"]
    app()


if __name__ == "__main__":
    main()
