"""The thumbnail of each short: a frame of it as a JPEG, beside it."""

import logging
from pathlib import Path

from clipflow.domain.errors import ClipflowError, redact
from clipflow.domain.shorts import Thumbnail
from clipflow.jobs import fingerprints
from clipflow.jobs.brand import part_seconds
from clipflow.jobs.segment import checkpoint, is_made_from
from clipflow.machine import Machine, work_folder
from clipflow.media import ffmpeg
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
            one = ["-frames:v", "1", "-update", "1", "-q:v", _QUALITY]
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
        objects.download(short.key, path)
        return put_thumbnail(key, short, path, objects, machine, models)
