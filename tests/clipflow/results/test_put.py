"""A page in the bucket: beside what it shows, with posters, put again only when that changed."""

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
    answer = results.objects.client.get_object(Bucket=results.objects.bucket, Key=results.keys.page)
    assert answer["ContentType"] == "text/html; charset=utf-8"
    # So that two hundred shorts make a page of a few megabytes.
    assert len(results.text(results.keys.page)) < 120_000


def test_a_page_is_put_again_only_when_something_on_it_changed(results: Results) -> None:
    def is_put() -> bool:
        """Whether the page is put, by a note in the metadata of what was there before."""
        head = results.objects.head(results.keys.page)
        assert head
        noted = {**head.metadata, "note": "before"}
        results.objects.put_text(results.text(head.key), head.key, noted, "text/html")
        results.show()
        head = results.objects.head(results.keys.page)
        return head is not None and "note" not in head.metadata

    results.put()
    assert not is_put()
    results.titles = ("Another title", *results.titles[1:])
    assert is_put()
    assert "Another title" in results.text(results.keys.page)
    assert not is_put()
    # The same short, made anew.
    results.objects.upload(results.clip, results.keys.short(1), {})
    assert is_put()
    results.said = words([("host", "Something else was heard.")])
    results.put()
    assert "Something else" in results.text(results.keys.page)


def test_a_video_without_a_picture_leaves_its_place_on_the_page(
    results: Results, caplog: pytest.LogCaptureFixture
) -> None:
    results.put()
    results.objects.put_text("no video", results.keys.short(1), {}, "video/mp4")
    with caplog.at_level(logging.WARNING):
        results.show()
    page = results.text(results.keys.page)
    assert sizes(page) == [(270, 480)]
    assert page.count("<video") == 2
    assert f"{results.keys.short(1)} has no poster" in caplog.text


def test_a_page_that_a_person_uploaded_is_not_replaced(
    results: Results, caplog: pytest.LogCaptureFixture
) -> None:
    results.objects.put_text("mine", results.keys.page, {}, "text/html")
    with caplog.at_level(logging.WARNING):
        results.put()
    assert results.text(results.keys.page) == "mine"
    assert f"{results.keys.page} was not made by clipflow" in caplog.text
