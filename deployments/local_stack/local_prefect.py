"""The Prefect server as the local stack needs it.

On SQLite, Prefect 3.8 begins a transaction as a reader's and makes it a writer's at its first
write. Where another client has written meanwhile, SQLite refuses that at once, whatever its busy
timeout; the server answers 503, and its client retries after 2, 4, 8 s. Of 20 events that came
together, 15 were refused. Here each transaction is a writer's from its beginning, and waits for
its turn. This can go when Prefect does so itself, or with PostgreSQL, which knows none of it.
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
    """Begins every transaction as `with_for_update` does elsewhere in Prefect."""
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


def main() -> None:
    """`prefect server start`, with the settings of the environment."""
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]
    sys.argv = ["prefect", "--no-prompt", "server", "start"]
    app()


if __name__ == "__main__":
    main()
