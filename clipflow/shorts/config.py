"""`shorts_config.json`, read and checked before any hours of work."""

import logging

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import parsed
from clipflow.domain.shorts import ShortsConfig
from clipflow.media.probe import probe
from clipflow.segments.source import find_source, open_source
from clipflow.storage.objects import ObjectStore

logger = logging.getLogger(__name__)

_LARGEST_CONFIG_BYTES = 1 << 20


def read_config(keys: ShortsKeys, objects: ObjectStore) -> ShortsConfig:
    """What the video's config asks for.

    Raises SourceNotFoundError where there is none, or no such background; InvalidInputError where it cannot
    be meant; what `probe` raises where the background is no video.
    """
    text = objects.text(keys.config, _LARGEST_CONFIG_BYTES)
    config = ShortsConfig.read(parsed(text, keys.config, "Correct it."), keys.config)
    for name, said, known in (
        ("user_id", config.user_id, keys.user_id),
        ("video_id", config.video_id, keys.video_id),
    ):
        if said not in (None, known):
            logger.warning("%s says %s %s: %s is meant.", keys.config, name, said, known)
    if config.background_video:
        probe(open_source(find_source([config.background_video], objects), objects))
    return config
