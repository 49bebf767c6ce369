"""One short of a video, on a machine of its own."""

from typing import Any

from prefect import flow

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import Identifier
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.machine import cores
from clipflow.settings import settings
from clipflow.shorts.render import Render
from tasks.ownership import while_wanted
from tasks.shorts import render_short as render


@flow(name="render-short")
def render_short(
    user_id: Identifier,
    video_id: Identifier,
    config: dict[str, Any],
    number: int,
    moment: dict[str, Any],
    force: bool = False,
) -> None:
    """Put short `number` of a video, of one of its moments."""
    keys = ShortsKeys(user_id, video_id, settings().shorts_prefix)
    asked = Render(
        keys,
        ShortsConfig.read(config, "the config"),
        number,
        Moment.read(moment, f"moment {number}"),
    )
    with while_wanted(keys):
        render(asked, cores(), force)
