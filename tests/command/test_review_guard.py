"""The server of `clipflow review`: access control, content security policy and range requests."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from clipflow.domain.keys import ShortsKeys
from clipflow.storage.objects import ObjectStore
from deployments.command.review.app import review_app
from deployments.command.review.video import ReviewedVideo

HOME = "http://127.0.0.1:8080"
OWN = {"Origin": HOME}


@pytest.fixture
def client(objects: ObjectStore, tmp_path: Path) -> TestClient:
    keys = ShortsKeys("u", tmp_path.name, "warehouse")
    objects.put_text("0123456789", keys.short(1), {}, "video/mp4")
    app = review_app(ReviewedVideo(keys, objects), "secret", 8080)
    return TestClient(app, base_url=HOME, raise_server_exceptions=False)


def test_the_page_loads_nothing_from_other_origins(client: TestClient) -> None:
    page = client.get("/secret/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-frame-options"] == "DENY"
    assert client.get("/secret/static/main.js").status_code == 200
    assert "http" not in page.text


@pytest.mark.parametrize(
    "path", ["/", "/api/state", "/static/main.js", "/wrong/", "/secre/api/state", "//secret/"]
)
def test_without_the_token_every_path_is_not_found(path: str, client: TestClient) -> None:
    assert client.get(f"{HOME}{path}").status_code == 404


def test_an_unknown_host_header_is_refused_to_prevent_dns_rebinding(client: TestClient) -> None:
    for host in ("evil.example:8080", "127.0.0.1:9090", ""):
        assert client.get("/secret/", headers={"Host": host}).status_code == 421
    assert client.get("/secret/", headers={"Host": "localhost:8080"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9090"},
        {**OWN, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_only_the_page_itself_may_write(headers: dict[str, str], client: TestClient) -> None:
    for method, path in (("PUT", "/secret/api/edits"), ("POST", "/secret/api/render")):
        assert client.request(method, path, json={}, headers=headers).status_code == 403


def test_a_document_that_is_not_valid_is_refused_with_its_field(client: TestClient) -> None:
    hostile = {"shorts": {"m1-2": {"title": "x" * 10_000}}}
    answer = client.put("/secret/api/edits", json=hostile, headers=OWN)
    assert answer.status_code == 422
    assert "shorts.m1-2.title" in answer.json()["message"]
    large = {**OWN, "Content-Length": str(1 << 30)}
    assert client.put("/secret/api/edits", content=b"{}", headers=large).status_code == 413


def test_a_video_is_read_by_range(client: TestClient) -> None:
    part = client.get("/secret/media/short/1", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert client.get("/secret/media/short/1").content == b"0123456789"
    assert client.get("/secret/media/short/1", headers={"Range": "bytes=99-"}).status_code == 416
    assert client.get("/secret/media/short/2").status_code == 404
    for path in ("/secret/media/short/..%2f1", "/secret/media/edits.json"):
        assert client.get(path).status_code in (404, 422)
