"""The moments that shorts are made of, chosen once and kept."""

import json

from clipflow.domain.errors import InvalidInputError, NoMomentsError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.model import parsed
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.highlights.brief import Brief
from clipflow.highlights.pick import pick
from clipflow.media.probe import probe
from clipflow.segments.checkpoint import checkpoint, fingerprint, is_made_from
from clipflow.segments.source import find_source, open_source
from clipflow.settings import models
from clipflow.shorts.transcript import read_transcript
from clipflow.storage.objects import ObjectStore

_LARGEST_BYTES = 1 << 20


def choose_moments(
    keys: ShortsKeys, config: ShortsConfig, objects: ObjectStore, *, force: bool
) -> list[Moment]:
    """The best moments, best first, as many as there are up to `segment_count`.

    What was chosen before from the same words for the same config is kept: a language model would
    choose others, and every short would be made anew. Raises what `pick` raises.
    """
    video, words = find_source([keys.original], objects), find_source([keys.words], objects)
    asked = [config.segment_count, config.target_seconds, models().highlight_model]
    made_from = fingerprint([words.etag, *asked])
    if not force and is_made_from(objects.head(keys.moments), made_from):
        return read_moments(keys, objects)
    duration = probe(open_source(video, objects)).duration
    brief = Brief(config.segment_count, config.target_seconds, duration)
    moments = pick(read_transcript(keys, objects), brief)
    if not moments:
        raise NoMomentsError(
            f"Nothing said in {keys.original} makes a moment of about {config.target_seconds:g} s.",
            "Ask for shorter ones, or see in original.txt what was heard.",
        )
    text = json.dumps(
        [moment.model_dump(mode="json") for moment in moments], ensure_ascii=False, indent=2
    )
    objects.put_text(text, keys.moments, checkpoint(video.etag, made_from), "application/json")
    return moments


def read_moments(keys: ShortsKeys, objects: ObjectStore) -> list[Moment]:
    """The moments chosen before, best first. Raises InvalidInputError where they cannot be read."""
    text = objects.text(keys.moments, _LARGEST_BYTES)
    values = parsed(text, keys.moments, "Delete it.")
    if not isinstance(values, list):
        raise InvalidInputError(f"{keys.moments} is not a list of moments.", "Delete it.")
    return [Moment.read(value, f"a moment of {keys.moments}") for value in values]
