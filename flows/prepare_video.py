"""The flow that prepares a long video: transcribe it, and choose the moments."""

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import Identifier
from clipflow.domain.shorts import Moment
from clipflow.settings import settings
from tasks.fan_out import run_concurrency, transcribe_all
from tasks.flow_runs import NO_RESULTS
from tasks.recovery import cancel_if_orphaned
from tasks.run_page import identify_run
from tasks.shorts import choose_moments, read_config, read_edits


@flow(
    name="prepare-video",
    task_runner=ThreadPoolTaskRunner(max_workers=run_concurrency()),  # type: ignore[arg-type]
    **NO_RESULTS,
)
def prepare_video(user_id: Identifier, video_id: Identifier, force: bool = False) -> list[Moment]:
    """Store a video's transcript and its moments.

    Returns the moments, best first, as they were chosen, without the user's edits.

    Args:
        user_id: The user: the folder above the video's.
        video_id: The video: the folder of its `original.mp4` and `shorts_config.json`.
        force: Make everything again even if results from the same inputs exist.
    """
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    identify_run(keys, f"prepare {video_id}")
    with cancel_if_orphaned(keys):
        config, edits = read_config(keys), read_edits(keys)
        transcribe_all(keys, config, force=force)
        return choose_moments(keys, config, edits, force)
