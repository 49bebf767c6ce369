"""The Prefect server with changes for one machine and SQLite, for the local stack.

On SQLite, Prefect 3.8 begins a transaction as a read transaction and upgrades it at the first
write. If another client has written meanwhile, SQLite rejects the upgrade immediately, regardless
of its busy timeout. The server then answers 503, and its client retries after 2, 4 and 8 s. Of 20
simultaneous events, 15 were rejected. Here, each transaction is a write transaction from the
beginning, so it waits for the others. This can be removed when Prefect does the same, or if the
local stack moves to PostgreSQL, which does not have this problem.

For each run that an automation starts, Prefect 3.8 looks up its own application by a hash of all
settings and configures logging again, which takes 0.15 s of a core. Here it is looked up once.

For each run that is created, Prefect 3.8 checks twice whether the schema of its pool's variables is
a JSON schema, which takes a third of the time of its creation. Here each schema is checked once.

A new database begins as a copy of the one that `make` created when it installed Prefect, because
the migrations of a new one take 4 s.
"""

import json
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prefect.cli import app
from prefect.server.api import server
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import get_current_settings
from prefect.utilities.schema_tools.validation import _VALIDATOR
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

NEW_DATABASE = Path(sys.prefix) / "prefect" / "prefect.db"

_begin = AioSqliteConfiguration.begin_transaction
_create_app = server.create_app
_check_schema = _VALIDATOR.check_schema


@asynccontextmanager
async def begin_as_writer(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = True
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    """Begins every transaction as a write transaction, which Prefect calls `with_for_update`."""
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


@cache
def own_app() -> FastAPI:
    """The application of this process: `create_app` without arguments."""
    return _create_app()


def create_app(*arguments: Any, **options: Any) -> FastAPI:
    """As Prefect's, which without arguments always returns the same application."""
    return _create_app(*arguments, **options) if arguments or options else own_app()


@cache
def check_schema_text(schema: str) -> None:
    """Raises jsonschema's SchemaError if the text is not that of a JSON schema."""
    _check_schema(json.loads(schema), format_checker=_VALIDATOR.FORMAT_CHECKER)


def check_schema(schema: object, **_options: object) -> None:
    """As jsonschema's, with Prefect's format checker, but checks a schema once."""
    check_schema_text(json.dumps(schema, sort_keys=True))


def copy_new_database(new: Path, target: Path) -> None:
    """Copy the database `new`, if there is one, to `target` if there is none."""
    if target.exists() or not new.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    unfinished.rename(target)


def main() -> None:
    """`prefect server start`, with the settings of the environment."""
    settings = get_current_settings()
    database, url = settings.home / "prefect.db", settings.server.database.connection_url
    if url and url.get_secret_value() == f"sqlite+aiosqlite:///{database}":
        copy_new_database(NEW_DATABASE, database)
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]
    server.create_app = create_app
    _VALIDATOR.check_schema = check_schema  # type: ignore[assignment, method-assign]
    sys.argv = ["prefect", "--no-prompt", "server", "start"]
    app()


if __name__ == "__main__":
    main()
