"""The results of a run as Markdown tables and summaries, with all values escaped."""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from clipflow.domain.clips import ClipResult, Segment, in_play_order
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.media.window import Span
from clipflow.results.pages import clock, size
from clipflow.storage.objects import ObjectHead

# Returns the URL of an object, given its key.
Link = Callable[[str], str]
Row = dict[str, str | int | float]

# Characters that are markup in Markdown or HTML. Prefect's UI renders every cell as Markdown,
# including links with `javascript:`.
_MARKUP = re.compile(r"[\\`*_\[\]<>&#~|!]|^[-+=]")


def clip_rows(
    keys: ClipKeys, segments: Sequence[Segment], heads: Mapping[str, ObjectHead], link: Link
) -> list[Row]:
    """A row for each of a clip's segments, in play order.

    Of a segment that is not in `heads` only the times are known, since the segments of a finished
    clip are deleted after a while.
    """
    rows: list[Row] = []
    for index, segment in enumerate(in_play_order(list(segments))):
        head = heads.get(keys.segment(index))
        rows.append(
            {
                "Segment": index,
                "Link": f"[open]({link(head.key)})" if head else "",
                "Speaker": text(segment.speaker or ""),
                "Times": str(Span(segment.start_time, segment.end_time)),
                "Seconds": round(float(segment.end_time - segment.start_time), 2),
                "Cut": text(head.metadata.get("cut-way", "")) if head else "",
                "Size": size(head.size) if head else "",
                "State": "made" if head else "no longer kept",
            }
        )
    return rows


def short_rows(shorts: Sequence[Short], link: Link) -> list[Row]:
    """A row for each short, best first; a failed one has its error."""
    return [
        {
            "Short": short.index,
            "Link": f"[open]({link(short.s3_key)})" if short.is_made else "",
            "Title": text(short.title),
            "Score": short.score,
            "Times": str(Span(short.start, short.end)),
            "Size": size(short.file_size) if short.file_size is not None else "",
            "State": _state(short),
        }
        for short in shorts
    ]


def _state(short: Short) -> str:
    if short.code:
        return text(f"failed: {short.error}")
    return "made" if short.is_made else "refused"


def clip_summary(keys: ClipKeys, made: ClipResult, link: Link) -> str:
    """One line on the clip, with links to it and to its page."""
    facts = [made.duration, made.resolution, size(made.file_size)]
    title = f"**Clip {text(keys.clip_id)}** of {text(keys.episode_id)}"
    return " · ".join([title, *facts, *_links(keys.page, made.s3_key, link)])


def shorts_summary(keys: ShortsKeys, shorts: Sequence[Short], link: Link) -> str:
    """One line on the shorts, with a link to their page."""
    made = [short for short in shorts if short.is_made]
    lasting = sum((short.end - short.start for short in made), Fraction(0))
    title = f"**{len(made)} of {len(shorts)} shorts** of {text(keys.video_id)}"
    return " · ".join([title, f"{clock(lasting)} in all", *_links(keys.page, "", link)])


def text(value: str) -> str:
    """`value` in one line, with Markdown's markup escaped."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(value.split()))


def _links(page: str, video: str, link: Link) -> list[str]:
    watch = [f"[watch it]({link(video)})"] if video else []
    return [*watch, f"[results page]({link(page)})"]
