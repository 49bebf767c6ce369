"""The flow that transcribes one window of a long video's audio, usually on another machine."""

from typing import Any

from prefect import flow

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import Identifier
from clipflow.machine import cores
from clipflow.settings import settings
from tasks.child_requests import window_of_child
from tasks.flow_runs import NO_RESULTS
from tasks.recovery import cancel_if_orphaned
from tasks.shorts import transcribe_window as transcribe


@flow(name="transcribe-window", **NO_RESULTS)
def transcribe_window(
    user_id: Identifier, video_id: Identifier, window: dict[str, Any], force: bool = False
) -> None:
    """Recognise the speech in a window of a video's audio, and store its words.

    Args:
        user_id: The user: the folder above the video's.
        video_id: The video: the folder of its `original.mp4`.
        window: The window's number, samples and language, as the preparing run has planned them.
        force: Transcribe the window again even if a result from the same inputs exists.
    """
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    with cancel_if_orphaned(keys):
        transcribe(window_of_child(keys, window), cores(), force)
