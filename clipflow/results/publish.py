"""Putting a page beside its videos, with a poster of each."""

import logging
from collections.abc import Callable, Mapping, Sequence

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.errors import ClipflowError, redact
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.jobs.segment import checkpoint, fingerprint, is_made_from, is_ours, open_source
from clipflow.jobs.shorts import read_transcript
from clipflow.results.pages import clip_page, shorts_page
from clipflow.results.posters import poster
from clipflow.storage.objects import ObjectHead, ObjectStore

_LOG = logging.getLogger(__name__)

# Pixels: a short is a column of its page, a clip is the page.
_SHORT_WIDTH, _CLIP_WIDTH = 270, 640

# The page with these posters, by the key of their video.
Page = Callable[[Mapping[str, str]], str]


def put_shorts_page(
    keys: ShortsKeys, shorts: Sequence[Short], objects: ObjectStore
) -> dict[str, str]:
    """The page of `shorts`, those that failed too, unless the same is there. Raises what reading
    the transcript and storing raise.

    Its posters, as data: URIs by the key of their video; none where the page was there.
    """
    spoken = read_transcript(keys, objects)
    videos = [short.s3_key for short in shorts if short.code is None]

    def page(posters: Mapping[str, str]) -> str:
        return shorts_page(keys, shorts, spoken, posters)

    return _put(keys.page, page, videos, _SHORT_WIDTH, objects)


def put_clip_page(
    keys: ClipKeys, segments: Sequence[Segment], made: ClipResult, objects: ObjectStore
) -> dict[str, str]:
    """The page of a clip, unless the same is there; its poster, as that of shorts. Raises what
    storing raises."""

    def page(posters: Mapping[str, str]) -> str:
        return clip_page(keys, segments, made, posters)

    return _put(keys.page, page, [made.s3_key], _CLIP_WIDTH, objects)


def _put(
    key: str, page: Page, videos: list[str], width: int, objects: ObjectStore
) -> dict[str, str]:
    heads = [head for head in map(objects.head, videos) if head]
    etags = fingerprint([head.etag for head in heads])
    # Posters follow from the videos, so that they need not be made to know the page.
    made_from = fingerprint([page({}), etags])
    there = objects.head(key)
    if is_made_from(there, made_from):
        return {}
    if there and not is_ours(there):
        _LOG.warning("%s is not ours, and is left as it is.", key)
        return {}
    posters = _posters(heads, width, objects)
    # Without all of its posters, the next run makes it again.
    whole = made_from if len(posters) == len(videos) else fingerprint([made_from, list(posters)])
    objects.put_text(page(posters), key, checkpoint(etags, whole), "text/html")
    return posters


def _posters(heads: list[ObjectHead], width: int, objects: ObjectStore) -> dict[str, str]:
    """As many as can be made: a page is of use without them."""
    posters = {}
    for head in heads:
        try:
            posters[head.key] = poster(open_source(head, objects), width)
        except ClipflowError as error:
            _LOG.warning("%s has no poster: %s", head.key, redact(str(error)))
    return posters
