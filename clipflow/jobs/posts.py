"""The text that is posted with each short, and `segment_{n}.json`, the file that holds it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from clipflow.domain.corrections import corrected
from clipflow.domain.edits import Edits
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortPost
from clipflow.domain.transcript import Transcript
from clipflow.highlights.summaries import Summarizer
from clipflow.jobs import fingerprints
from clipflow.jobs.segment import checkpoint, is_made_from
from clipflow.storage.objects import ObjectStore

# Requests to S3 at the same time.
_REQUESTS = 8


def with_texts(moments: Sequence[Moment], edits: Edits, recognized: Transcript) -> list[Moment]:
    """The moments, each with a description and hashtags.

    Those that a person or the language model has written are kept. Otherwise they are taken from
    the corrected words of the moment.
    """
    if all(each.description is not None and each.hashtags is not None for each in moments):
        return list(moments)
    summarizer = Summarizer(corrected(recognized, edits).transcript)
    return [_with_texts(moment, summarizer) for moment in moments]


def _with_texts(moment: Moment, summarizer: Summarizer) -> Moment:
    start, end = float(moment.start), float(moment.end)
    description, hashtags = moment.description, moment.hashtags
    if description is None:
        description = summarizer.description(start, end)
    if hashtags is None:
        hashtags = summarizer.hashtags(start, end)
    return moment.model_copy(update={"description": description, "hashtags": hashtags})


def put_posts(
    keys: ShortsKeys, shorts: Sequence[Short], language: str | None, objects: ObjectStore
) -> None:
    """Stores `segment_{n}.json` of each short that is made, unless the same is stored."""

    def put(short: Short) -> None:
        text = ShortPost.of(short, language).model_dump_json(exclude_none=True, indent=1)
        key, made_from = keys.post(short.index), fingerprints.of_post(text)
        if not is_made_from(objects.head(key), made_from):
            objects.put_text(text, key, checkpoint(short.etag or "", made_from), "application/json")

    with ThreadPoolExecutor(_REQUESTS) as pool:
        list(pool.map(put, [short for short in shorts if short.is_made]))
