"""The page of a clip: its player, and the segments it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath
from urllib.parse import quote

from clipflow.domain.clips import ClipResult, Segment, in_play_order
from clipflow.domain.keys import ClipKeys
from clipflow.results.page import render


@dataclass(frozen=True)
class Part:
    """One segment in play order; `begins` is when it does in the clip, in seconds."""

    segment: Segment
    begins: Fraction


def clip_page(
    keys: ClipKeys, segments: Sequence[Segment], made: ClipResult, posters: Mapping[str, str]
) -> str:
    """The page, to lie at `keys.page`; `posters` are data: URIs by the key of their video.

    As with the page of shorts, its link names the clip by its place from there.
    """
    width, _, height = made.resolution.partition("x")
    return render(
        "clip.html",
        name=keys.clip_id,
        episode=keys.episode_id,
        made=made,
        file=quote(PurePosixPath(made.s3_key).name),
        poster=posters.get(made.s3_key),
        width=width,
        height=height,
        parts=_parts(in_play_order(list(segments))),
    )


def _parts(segments: Sequence[Segment]) -> list[Part]:
    parts, begins = [], Fraction(0)
    for segment in segments:
        parts.append(Part(segment, begins))
        begins += segment.end_time - segment.start_time
    return parts
