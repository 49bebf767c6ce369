"""What is posted with each short: its thumbnail, and its text, stored as `segment_{n}.json`."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clipflow.domain.edits import Edits, corrected
from clipflow.domain.errors import ClipflowError, redact
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Moment, Short, ShortPost, Thumbnail
from clipflow.domain.transcript import Transcript
from clipflow.highlights.summaries import Summarizer
from clipflow.jobs import fingerprints
from clipflow.jobs.brand import part_seconds
from clipflow.jobs.segment import checkpoint, is_made_from
from clipflow.machine import Machine, work_folder
from clipflow.media import ffmpeg
from clipflow.media.output_format import AS_JPEG
from clipflow.settings import Models
from clipflow.storage.objects import ObjectHead, ObjectStore

logger = logging.getLogger(__name__)

# The name of the frame's time in the object's metadata, in seconds.
_TIME = "time-seconds"
# Seconds that taking one frame may last, and bytes on disk for it.
_DEADLINE, _NEEDED = 120.0, 16 << 20
# ffmpeg's quality of JPEG, of which 2 is the best: 100 to 400 kB for 1080x1920.
_QUALITY = "3"


def stored_thumbnail(
    key: str, short: ObjectHead, objects: ObjectStore, models: Models
) -> Thumbnail | None:
    """The thumbnail that is stored for this short; None if there is none of it yet."""
    head = objects.head(key)
    if head is None or not is_made_from(head, fingerprints.of_short_thumbnail(short, models)):
        return None
    return Thumbnail(s3_key=key, time=float(head.metadata.get(_TIME, 0)))


def put_thumbnail(
    key: str, short: ObjectHead, path: Path, objects: ObjectStore, machine: Machine, models: Models
) -> Thumbnail | None:
    """Stores the best frame of the short, whose file is at `path`, without its intro and outro.

    A short does not fail because of its thumbnail: an error is logged, and None is returned.
    """
    # Imported here, because it imports OpenCV, which no other step needs.
    from clipflow.reframe.best_frame import best_time

    try:
        intro, outro = part_seconds(short)
        time = round(best_time(path, models.face_model, intro, outro), 3)
        with work_folder(machine.scratch, _NEEDED) as scratch:
            picture = scratch / "thumbnail.jpg"
            # Half a millisecond earlier, since the time is rounded.
            read = ["-ss", f"{max(0.0, time - 0.0005):.4f}", "-f", "mp4", "-i", str(path)]
            colour = "scale=" + ":".join(f"{name}={value}" for name, value in AS_JPEG.items())
            one = ["-vf", colour, "-frames:v", "1", "-update", "1", "-q:v", _QUALITY]
            ffmpeg.run([*read, *one, str(picture)], f"making {key}", machine, _DEADLINE)
            metadata = checkpoint(short.etag, fingerprints.of_short_thumbnail(short, models)) | {
                _TIME: str(time)
            }
            objects.upload(picture, key, metadata, "image/jpeg")
    except ClipflowError as error:
        logger.warning("%s has no thumbnail: %s", short.key, redact(str(error)))
        return None
    return Thumbnail(s3_key=key, time=time)


def fetch_and_put_thumbnail(
    key: str, short: ObjectHead, objects: ObjectStore, machine: Machine, models: Models
) -> Thumbnail | None:
    """Like `put_thumbnail`, for a short that is already stored, as by an older version."""
    with work_folder(machine.scratch, short.size + _NEEDED) as scratch:
        path = scratch / "short.mp4"
        objects.download(short, path)
        return put_thumbnail(key, short, path, objects, machine, models)


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
