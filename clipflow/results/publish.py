"""Storing the results page beside its videos, with a poster of each."""

import logging
from collections.abc import Callable, Mapping, Sequence

from clipflow.domain.clips import ClipResult, Segment
from clipflow.domain.errors import ClipflowError, redact
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.jobs.fingerprints import fingerprint
from clipflow.jobs.segment import checkpoint, is_made_from, is_ours, open_source
from clipflow.jobs.speech_windows import read_transcript
from clipflow.machine import Machine
from clipflow.results.pages import clip_page, shorts_page
from clipflow.results.posters import poster
from clipflow.storage.objects import ObjectHead, ObjectStore

logger = logging.getLogger(__name__)

# Pixels: a short is a column of its page, a clip is the page.
_SHORT_WIDTH, _CLIP_WIDTH = 270, 640

# Renders the page with these posters, by the key of their video.
Page = Callable[[Mapping[str, str]], str]


def put_shorts_page(
    keys: ShortsKeys, shorts: Sequence[Short], objects: ObjectStore, machine: Machine
) -> dict[str, str]:
    """Store the page of `shorts`, with those that failed, unless the same page is already there.

    Returns its posters, data: URIs by the key of their video; none where the page was there. Raises
    what reading the transcript and storing raise.
    """
    transcript = read_transcript(keys, objects)
    videos = [short.s3_key for short in shorts if short.code is None]

    def page(posters: Mapping[str, str]) -> str:
        return shorts_page(keys, shorts, transcript, posters)

    return _put(keys.page, page, videos, _SHORT_WIDTH, objects, machine)


def put_clip_page(
    keys: ClipKeys,
    segments: Sequence[Segment],
    made: ClipResult,
    objects: ObjectStore,
    machine: Machine,
) -> dict[str, str]:
    """Store the page of a clip, unless the same page is already there. Returns and raises what
    `put_shorts_page` does."""

    def page(posters: Mapping[str, str]) -> str:
        return clip_page(keys, segments, made, posters)

    return _put(keys.page, page, [made.s3_key], _CLIP_WIDTH, objects, machine)


def _put(
    key: str, page: Page, videos: list[str], width: int, objects: ObjectStore, machine: Machine
) -> dict[str, str]:
    heads = [head for head in map(objects.head, videos) if head]
    etags = fingerprint([head.etag for head in heads])
    # Posters follow from the videos: they need not be made to know whether the page would differ.
    made_from = fingerprint([page({}), etags])
    there = objects.head(key)
    if is_made_from(there, made_from):
        return {}
    if there and not is_ours(there):
        logger.warning("%s was not made by clipflow, and is left as it is.", key)
        return {}
    posters = _posters(heads, width, objects, machine)
    # A page that lacks a poster is made again by the next run.
    whole = made_from if len(posters) == len(videos) else fingerprint([made_from, list(posters)])
    objects.put_text(page(posters), key, checkpoint(etags, whole), "text/html")
    return posters


def _posters(
    heads: list[ObjectHead], width: int, objects: ObjectStore, machine: Machine
) -> dict[str, str]:
    """Posters of as many videos as possible: a page is of use without them."""
    posters = {}
    for head in heads:
        try:
            posters[head.key] = poster(open_source(head, objects), width, machine)
        except ClipflowError as error:
            logger.warning("%s has no poster: %s", head.key, redact(str(error)))
    return posters
