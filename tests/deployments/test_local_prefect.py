"""The Prefect server of the local stack: concurrent writes on SQLite, and its new database."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import SchemaError

from deployments.local_stack import local_prefect
from deployments.local_stack.local_prefect import NEW_DATABASE, copy_new_database
from tests.programs import PrefectServer, running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    server = PrefectServer(tmp_path)
    with running(server):
        yield server.url


@pytest.mark.slow
def test_concurrent_writes_succeed(api: str) -> None:
    """With `prefect server start` and its defaults, some of these requests fail with 503."""
    with httpx.Client(base_url=api, timeout=60) as client:
        flow = client.post("/flows/", json={"name": "f"}).json()["id"]
        body = {"name": "d", "flow_id": flow, "entrypoint": "f:f"}
        deployment = client.post("/deployments/", json=body).json()["id"]

        def run(_: int) -> set[int]:
            made = client.post(f"/deployments/{deployment}/create_flow_run", json={})
            states = [
                client.post(f"/flow_runs/{made.json().get('id')}/set_state", json=body)
                for body in ({"state": {"type": name}} for name in ("PENDING", "RUNNING"))
            ]
            return {response.status_code for response in (made, *states)}

        with ThreadPoolExecutor(8) as callers:
            codes = set().union(*callers.map(run, range(40)))
    assert codes == {201}


@pytest.mark.slow
def test_a_server_without_a_database_begins_with_the_installed_one(
    api: str, tmp_path: Path
) -> None:
    assert httpx.post(f"{api}/flows/count", json={}).json() == 0
    with (
        sqlite3.connect(NEW_DATABASE) as installed,
        sqlite3.connect(tmp_path / "prefect.db") as own,
    ):
        revisions = [each.execute("SELECT * FROM alembic_version") for each in (installed, own)]
        assert revisions[0].fetchall() == revisions[1].fetchall() != []


def test_automations_look_up_the_application_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, bool]] = []

    def prefects_own(**options: bool) -> FastAPI:
        calls.append(options)
        return FastAPI()

    monkeypatch.setattr(local_prefect, "_create_app", prefects_own)
    local_prefect.own_app.cache_clear()
    # As the server creates its application, and as its automations look it up.
    local_prefect.create_app(final=True)
    assert local_prefect.create_app() is local_prefect.create_app()
    assert calls == [{"final": True}, {}]
    local_prefect.own_app.cache_clear()


def test_a_database_is_copied_only_to_a_home_without_one(tmp_path: Path) -> None:
    new, target = tmp_path / "new.db", tmp_path / "home" / "prefect.db"
    copy_new_database(new, target)
    assert not target.exists()
    with sqlite3.connect(new) as database:
        database.execute("CREATE TABLE t (x)")
    copy_new_database(new, target)
    with sqlite3.connect(target) as database:
        database.execute("INSERT INTO t VALUES (1)")
    copy_new_database(new, target)
    with sqlite3.connect(target) as database:
        assert database.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_a_schema_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    local_prefect.check_schema_text.cache_clear()
    checked = list[object]()
    check = local_prefect._check_schema

    def count(schema: Any, **options: Any) -> None:
        checked.append(schema)
        check(schema, **options)

    monkeypatch.setattr(local_prefect, "_check_schema", count)
    schemas: list[dict[str, Any]] = [{"type": "object"}, {"type": "string"}]
    for schema in schemas * 3:
        local_prefect.check_schema(schema)
    assert checked == schemas
    for _ in range(2):
        with pytest.raises(SchemaError):
            local_prefect.check_schema({"type": "none"})
