"""The Prefect server of the local stack handles concurrent writes on SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.programs import PrefectServer


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    server = PrefectServer(tmp_path)
    server.start()
    yield server.url
    server.stop()


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
