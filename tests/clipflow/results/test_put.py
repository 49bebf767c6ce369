"""Storing results pages: beside their videos, with posters, and again only after a change."""

import logging
import re
from base64 import b64decode
from io import BytesIO

import av
import pytest

from tests.clipflow.results.conftest import Results, words

pytestmark = pytest.mark.slow

_POSTER = re.compile(r'poster="data:image/jpeg;base64,([^"]+)"')


def sizes(page: str) -> list[tuple[int, int]]:
    """Width and height of each poster."""
    found = []
    for poster in _POSTER.findall(page):
        with av.open(BytesIO(b64decode(poster)), "r") as picture:
            [frame] = picture.decode(video=0)
            found.append((frame.width, frame.height))
    return found


def test_each_page_is_stored_beside_its_videos_with_posters(results: Results) -> None:
    results.put()
    assert sizes(results.text(results.keys.page)) == [(270, 480), (270, 480)]
    assert sizes(results.text(results.clip_keys.page)) == [(640, 360)]
    response = results.objects.client.get_object(
        Bucket=results.objects.bucket, Key=results.keys.page
    )
    assert response["ContentType"] == "text/html; charset=utf-8"
    # At this size, the page of two hundred shorts has a few megabytes.
    assert len(results.text(results.keys.page)) < 120_000


def test_a_page_is_stored_again_only_if_its_content_changed(results: Results) -> None:
    def is_stored_again() -> bool:
        """Whether the page is stored again, which removes a note from its metadata."""
        head = results.objects.head(results.keys.page)
        assert head
        noted = {**head.metadata, "note": "before"}
        results.objects.put_text(results.text(head.key), head.key, noted, "text/html")
        results.store_pages()
        head = results.objects.head(results.keys.page)
        return head is not None and "note" not in head.metadata

    results.put()
    assert not is_stored_again()
    results.titles = ("Another title", *results.titles[1:])
    assert is_stored_again()
    assert "Another title" in results.text(results.keys.page)
    assert not is_stored_again()
    # Another video under the key of the same short.
    results.objects.upload(results.clip, results.keys.short(1), {})
    assert is_stored_again()
    results.spoken = words([("host", "Something else was heard.")])
    results.put()
    assert "Something else" in results.text(results.keys.page)


def test_a_video_without_a_poster_is_still_on_the_page(
    results: Results, caplog: pytest.LogCaptureFixture
) -> None:
    results.put()
    results.objects.put_text("no video", results.keys.short(1), {}, "video/mp4")
    with caplog.at_level(logging.WARNING):
        results.store_pages()
    page = results.text(results.keys.page)
    assert sizes(page) == [(270, 480)]
    assert page.count("<video") == 2
    assert f"{results.keys.short(1)} has no poster" in caplog.text


def test_a_page_that_a_user_uploaded_is_not_replaced(
    results: Results, caplog: pytest.LogCaptureFixture
) -> None:
    results.objects.put_text("mine", results.keys.page, {}, "text/html")
    with caplog.at_level(logging.WARNING):
        results.put()
    assert results.text(results.keys.page) == "mine"
    assert f"{results.keys.page} was not made by clipflow" in caplog.text
