"""Addresses of objects for browsers: without credentials, and without an expiry."""

import pytest

from clipflow.settings import Settings
from clipflow.storage.objects import public_url

KEY = "a b/clips/c#1/clip.mp4"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
            "http://127.0.0.1:4566/media/a%20b/clips/c%231/clip.mp4",
        ),
        (
            {"AWS_REGION": "eu-west-1"},
            "https://eu-west-1.console.aws.amazon.com/s3/object/media"
            "?region=eu-west-1&prefix=a%20b%2Fclips%2Fc%231%2Fclip.mp4",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://s3", "CLIPFLOW_PUBLIC_URL": "https://cdn.example/x/"},
            "https://cdn.example/x/a%20b/clips/c%231/clip.mp4",
        ),
        (
            {"CLIPFLOW_PUBLIC_URL": "https://{bucket}.example"},
            "https://media.example/a%20b/clips/c%231/clip.mp4",
        ),
    ],
)
def test_an_object_has_an_address_that_a_browser_can_open(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "CLIPFLOW_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"BUCKET_NAME": "media", "TABLE_NAME": "t", **environment}.items():
        monkeypatch.setenv(name, value)
    assert public_url(Settings(), "media", KEY) == url
