"""The page beside a job's results: `index.html`, one file that needs nothing from elsewhere."""

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
from clipflow.domain.shorts import Short, ShortStatus
from clipflow.domain.timecode import format_clock
from clipflow.domain.transcript import Transcript, Word, joined, lines
from clipflow.subtitles.cues import vtt_text

_LINK = re.compile(r'\b(src|href)="([^"]*)"')


def render(template: str, **values: Any) -> str:
    """`template` rendered with `values`, which are escaped."""
    environment, style = _environment(), _style()
    return environment.get_template(template).render(
        # Not escaped: the browser allows the style by the hash of exactly this text.
        style=Markup(style),
        style_hash=f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}",
        **values,
    )


def replace_links(page: str, files: Mapping[str, str]) -> str:
    """`page` for a folder where its files have other names, which `files` maps from the old ones.

    Both are relative URLs from the page: what a file system allows and a URL does not is quoted.
    """

    def link(match: re.Match[str]) -> str:
        old = unescape(match[2])
        return f'{match[1]}="{escape(files[old])}"' if old in files else match[0]

    return _LINK.sub(link, page)


def clock(seconds: Fraction | float) -> str:
    """A time for people, `0:36`, `15:30` or `1:02:03`, rounded down to the second."""
    hour, minute, second = format_clock(Fraction(seconds)).split(":")
    return f"{int(minute)}:{second}" if hour == "00" else f"{int(hour)}:{minute}:{second}"


def size(count: int) -> str:
    """A number of bytes for people: `840 kB`, `4.2 MB`."""
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


# A recognizer's confidence, from 0 to 1, below which a word is marked for a person to look at.
# Measured with `base` on 709 words of the demo's sample and of real speech in English, French and
# Swedish, of which 22 were wrong: below 0.6 are 55 % of the wrong words and 5 % of the right ones,
# 1 word in 15 of all. Below 0.5 there are 36 % and 3 %, below 0.8 68 % and 12 %.
UNCERTAIN = 0.6


@dataclass(frozen=True)
class TextPart:
    """Words in a row that are all uncertain or all not; `gap` is the space before them, or none."""

    gap: str
    text: str
    is_uncertain: bool


@dataclass(frozen=True)
class WordRun:
    """Words in a row that are in the same shorts.

    `begins` and `ends` are the numbers of the shorts whose first and last words are here.
    """

    parts: tuple[TextPart, ...]
    shorts: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def gap(self) -> str:
        """What separates it from the words before."""
        return self.parts[0].gap

    @property
    def text(self) -> str:
        return "".join(part.gap + part.text for part in self.parts)[len(self.gap) :]


@dataclass(frozen=True)
class ShownLine:
    """One line; `start` in seconds, `speaker` where another one begins to speak."""

    start: float
    speaker: str | None
    runs: tuple[WordRun, ...]


def is_uncertain(word: Word) -> bool:
    """Whether the recognizer gave the word a confidence below `UNCERTAIN`."""
    return word.score is not None and word.score < UNCERTAIN


@dataclass(frozen=True)
class MomentMarks:
    """The numbers of the shorts that each word is in, and each short's first and last word."""

    shorts: list[tuple[int, ...]]
    first: dict[int, int]
    last: dict[int, int]

    @classmethod
    def of(cls, words: Sequence[Word], shorts: Sequence[Short]) -> "MomentMarks":
        # A word is where its middle is, as in the short's own captions. Arrays, since hours of
        # words times hundreds of shorts are millions.
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
        """A line's words, of which the first is the transcript's `start`-th."""
        done, before = 0, ""
        for shorts, group in groupby(range(len(words)), key=lambda at: self.shorts[start + at]):
            begun, parts = done, []
            for uncertain, some in groupby(group, key=lambda at: is_uncertain(words[at])):
                done += len(list(some))
                # Of the whole line: whether two words have a space between them depends on their
                # script.
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
    """Every line of the transcript, with the marked words in it."""
    shown: list[ShownLine] = []
    place, speaker = 0, None
    for line in lines(transcript.words, transcript.language):
        current = line.words[0].speaker
        runs = tuple(marks.runs(line.words, place))
        shown.append(ShownLine(line.start, current if current != speaker else None, runs))
        place, speaker = place + len(line.words), current
    return shown


def player_captions(transcript: Transcript, marks: MomentMarks, short: Short) -> str | None:
    """A short's words as WebVTT in a data: URI, for its player; None if it has no words.

    Not a file of its own: browsers let a page on a disk read no other file.
    """
    if short.index not in marks.first:
        return None
    around = transcript.words[marks.first[short.index] : marks.last[short.index] + 1]
    inside = Transcript(around).within(float(short.start), float(short.end))
    encoded = b64encode(vtt_text(inside).encode()).decode()
    return f"data:text/vtt;base64,{encoded}"


@dataclass(frozen=True)
class ClipPart:
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


def _parts(segments: Sequence[Segment]) -> list[ClipPart]:
    parts, begins = [], Fraction(0)
    for segment in segments:
        parts.append(ClipPart(segment, begins))
        begins += segment.end_time - segment.start_time
    return parts


@dataclass(frozen=True)
class ShortCard:
    """One short as the page shows it; `file` is its place from the page, `anchor` in the text."""

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
    keys: ShortsKeys, shorts: Sequence[Short], transcript: Transcript, posters: Mapping[str, str]
) -> str:
    """The page, to lie at `keys.page`; `posters` are data: URIs by the key of their short.

    Its links name the shorts by their places from there, so it works wherever it lies beside them:
    on a disk, or in a bucket that is served as a site. Behind a presigned URL it shows no videos,
    since each of them would need an address of its own.
    """
    marks = MomentMarks.of(transcript.words, shorts)
    cards = [_card(keys, short, transcript, marks, posters.get(short.s3_key)) for short in shorts]
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
    keys: ShortsKeys, short: Short, transcript: Transcript, marks: MomentMarks, poster: str | None
) -> ShortCard:
    return ShortCard(
        short=short,
        title=" ".join(short.title.split()) or f"Short {short.index}",
        duration=short.end - short.start,
        file=quote(short.s3_key.removeprefix(f"{keys.folder}/")),
        poster=poster,
        captions=player_captions(transcript, marks, short),
        anchor=f"moment-{short.index}" if short.index in marks.first else None,
    )
