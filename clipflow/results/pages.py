"""The results page of a job, `index.html`: a single file that loads nothing but its videos."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from hashlib import sha256
from html import escape, unescape
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clipflow.domain.clips import ClipResult, Segment, in_play_order
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.removals import Timeline, TimeRange
from clipflow.domain.shorts import Short, ShortStatus
from clipflow.domain.timecode import format_clock
from clipflow.domain.transcript import Transcript, Word, joined, lines
from clipflow.subtitles.cue_files import vtt_text

_LINK = re.compile(r'\b(src|href)="([^"]*)"')


def render(template: str, **values: Any) -> str:
    """The HTML of `template` with `values`, which are escaped."""
    environment, style = _environment(), _style()
    return environment.get_template(template).render(
        # It is not escaped, because the page's policy allows exactly this text by its hash.
        style=Markup(style),
        style_hash=f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}",
        **values,
    )


def replace_links(page: str, files: Mapping[str, str]) -> str:
    """`page` with its links replaced, for a folder in which the files have other names.

    `files` maps old to new names, both as relative URLs with special characters quoted.
    """

    def link(match: re.Match[str]) -> str:
        old = unescape(match[2])
        return f'{match[1]}="{escape(files[old])}"' if old in files else match[0]

    return _LINK.sub(link, page)


def clock(seconds: Fraction | float) -> str:
    """A time as `0:36`, `15:30` or `1:02:03`, rounded down to the second."""
    hour, minute, second = format_clock(Fraction(seconds)).split(":")
    return f"{int(minute)}:{second}" if hour == "00" else f"{int(hour)}:{minute}:{second}"


def size(count: int) -> str:
    """A number of bytes as `840 kB` or `4.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clipflow.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "size": size}
    return environment


@cache
def _style() -> str:
    environment = _environment()
    assert environment.loader
    text, _, _ = environment.loader.get_source(environment, "style.css")
    return text


# A recognizer's confidence, from 0 to 1, below which a word is marked for review. Measured with the
# model `base` on 709 words of the demo's sample and of real speech in English, French and Swedish,
# of which 22 were wrong: 55 % of the wrong words and 5 % of the right ones are below 0.6, together
# 1 word in 15. It is 36 % and 3 % below 0.5, 68 % and 12 % below 0.8.
UNCERTAIN = 0.6


@dataclass(frozen=True)
class TextPart:
    """Adjacent words that are all uncertain or all not; `gap` is the space before them, if any."""

    gap: str
    text: str
    is_uncertain: bool


@dataclass(frozen=True)
class WordRun:
    """Adjacent words that are in the same shorts.

    `begins` and `ends` are the numbers of the shorts whose first or last word is in this run.
    """

    parts: tuple[TextPart, ...]
    shorts: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def gap(self) -> str:
        """The space before it, if any."""
        return self.parts[0].gap

    @property
    def text(self) -> str:
        return "".join(part.gap + part.text for part in self.parts)[len(self.gap) :]


@dataclass(frozen=True)
class ShownLine:
    """One line of the transcript; `start` in seconds, `speaker` only if the speaker changes."""

    start: float
    speaker: str | None
    runs: tuple[WordRun, ...]


def is_uncertain(word: Word) -> bool:
    """Whether the word's confidence is below `UNCERTAIN`."""
    return word.score is not None and word.score < UNCERTAIN


@dataclass(frozen=True)
class MomentMarks:
    """The numbers of the shorts that contain each word, and the first and last word of each
    short."""

    shorts: list[tuple[int, ...]]
    first: dict[int, int]
    last: dict[int, int]

    @classmethod
    def of(cls, words: Sequence[Word], shorts: Sequence[Short]) -> "MomentMarks":
        # A short contains a word if it contains its middle, as in the captions. Arrays are used
        # because hours of words times hundreds of shorts are millions.
        middles = np.array([(word.start + word.end) / 2 for word in words])
        marked: list[tuple[int, ...]] = [()] * len(words)
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for short in shorts:
            inside = (float(short.start) <= middles) & (middles < float(short.end))
            for place in map(int, np.flatnonzero(inside)):
                marked[place] += (short.index,)
                first.setdefault(short.index, place)
                last[short.index] = place
        return cls(marked, first, last)

    def runs(self, words: Sequence[Word], start: int) -> Iterator[WordRun]:
        """The runs of a line whose first word has the number `start` in the transcript."""
        done, before = 0, ""
        for shorts, group in groupby(range(len(words)), key=lambda at: self.shorts[start + at]):
            begun, parts = done, []
            for uncertain, some in groupby(group, key=lambda at: is_uncertain(words[at])):
                done += len(list(some))
                # The text of the line so far, since spaces between words depend on the script.
                whole = joined(words[:done])
                text, before = whole[len(before) :], whole
                stripped = text.lstrip()
                parts.append(TextPart(text[: len(text) - len(stripped)], stripped, uncertain))
            here = range(start + begun, start + done)
            yield WordRun(
                parts=tuple(parts),
                shorts=shorts,
                begins=tuple(number for number in shorts if self.first[number] in here),
                ends=tuple(number for number in shorts if self.last[number] in here),
            )


def shown_lines(transcript: Transcript, marks: MomentMarks) -> list[ShownLine]:
    """Every line of the transcript, with its marked words."""
    shown: list[ShownLine] = []
    place, speaker = 0, None
    for line in lines(transcript.words, transcript.language):
        current = line.words[0].speaker
        runs = tuple(marks.runs(line.words, place))
        shown.append(ShownLine(line.start, current if current != speaker else None, runs))
        place, speaker = place + len(line.words), current
    return shown


def player_captions(
    transcript: Transcript, marks: MomentMarks, short: Short, intro: float = 0
) -> str | None:
    """A short's words as WebVTT in a data: URI, for its player; None if it has no words.

    `intro` are the seconds of a brand's intro, after which the moment begins.
    It is not a separate file, because browsers do not let a page on a disk read other files.
    """
    if short.index not in marks.first:
        return None
    around = transcript.words[marks.first[short.index] : marks.last[short.index] + 1]
    removed = short.tightening.removed if short.tightening else ()
    # A word is taken out if its middle is within a removal.
    spans = [(removal.start, removal.end) for removal in removed]
    left = (w for w in around if not any(a <= (w.start + w.end) / 2 < b for a, b in spans))
    inside = Transcript(tuple(left)).within(float(short.start), float(short.end))
    if spans:
        cuts = [TimeRange(*(Fraction(str(t)) - short.start for t in span)) for span in spans]
        timeline = Timeline.without(cuts, short.end - short.start)
        inside = Transcript(tuple(timeline.words(inside.words)))
    if intro:
        # `within` subtracts the start.
        inside = inside.within(-intro, float(short.end - short.start))
    encoded = b64encode(vtt_text(inside).encode()).decode()
    return f"data:text/vtt;base64,{encoded}"


@dataclass(frozen=True)
class ClipPart:
    """One segment of a clip; `begins` is its start within the clip, in seconds."""

    segment: Segment
    begins: Fraction


def clip_page(
    keys: ClipKeys, segments: Sequence[Segment], made: ClipResult, posters: Mapping[str, str]
) -> str:
    """The page of a clip, for `keys.page`.

    Its link to the clip is relative. `posters` are data: URIs by the key of their video.
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


def _parts(segments: Sequence[Segment]) -> list[ClipPart]:
    parts, begins = [], Fraction(0)
    for segment in segments:
        parts.append(ClipPart(segment, begins))
        begins += segment.end_time - segment.start_time
    return parts


@dataclass(frozen=True)
class ShortCard:
    """One short on the page; `file` is its relative URL, `anchor` that of its words in the text."""

    short: Short
    title: str
    duration: Fraction
    file: str
    poster: str | None
    captions: str | None
    anchor: str | None

    @property
    def is_made(self) -> bool:
        return self.short.is_made


def shorts_page(
    keys: ShortsKeys,
    shorts: Sequence[Short],
    transcript: Transcript,
    posters: Mapping[str, str],
    intros: Mapping[str, float] = {},
) -> str:
    """The page of a video's shorts, for `keys.page`.

    Its links to the shorts are relative, so the page works on a disk and in a bucket that is served
    as a site. At a presigned URL it shows no videos, since each of them would need its own.
    `posters` are data: URIs, and `intros` seconds before the moment, by the key of their short.
    """
    marks = MomentMarks.of(transcript.words, shorts)
    cards = [
        _card(
            keys,
            short,
            posters.get(short.s3_key),
            player_captions(transcript, marks, short, intros.get(short.s3_key, 0)),
            marks,
        )
        for short in shorts
    ]
    made = [card for card in cards if card.is_made]
    return render(
        "shorts.html",
        name=keys.video_id,
        language=transcript.language,
        cards=cards,
        made=len(made),
        refused=sum(short.status is ShortStatus.REFUSED for short in shorts),
        lasting=sum((card.duration for card in made), Fraction(0)),
        lines=shown_lines(transcript, marks),
        words=len(transcript.words),
        uncertain=sum(map(is_uncertain, transcript.words)),
    )


def _card(
    keys: ShortsKeys, short: Short, poster: str | None, captions: str | None, marks: MomentMarks
) -> ShortCard:
    return ShortCard(
        short=short,
        title=" ".join(short.title.split()) or f"Short {short.index}",
        duration=short.seconds,
        file=quote(short.s3_key.removeprefix(f"{keys.folder}/")),
        poster=poster,
        captions=captions,
        anchor=f"moment-{short.index}" if short.index in marks.first else None,
    )
