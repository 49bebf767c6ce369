"""The result of a clip and the failure that tests write into records."""

from clipflow.domain.clips import ClipResult
from clipflow.domain.errors import Failure, FailureCode

RESULT = ClipResult(
    s3_key="e/clips/c/clip.mp4",
    file_size=45728640,
    duration="00:02:15",
    duration_seconds=135.5,
    resolution="1920x1080",
    segment_count=3,
)
FAILURE = Failure(FailureCode.FFMPEG_ERROR, "It broke.")
