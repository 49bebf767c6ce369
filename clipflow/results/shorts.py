"""The page of a long video: its shorts, and the transcript with their moments marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.domain.transcript import Transcript
from clipflow.results.page import render
from clipflow.results.spoken import Marks, captions, shown_lines


@dataclass(frozen=True)
class Card:
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
        return self.short.code is None


def shorts_page(
    keys: ShortsKeys, shorts: Sequence[Short], spoken: Transcript, posters: Mapping[str, str]
) -> str:
    """The page, to lie at `keys.page`; `posters` are data: URIs by the key of their short.

    Its links name the shorts by their places from there, so it works wherever it lies beside them:
    on a disk, or in a bucket that is served as a site. Behind a presigned URL it shows no videos,
    since each of them would need an address of its own.
    """
    marks = Marks.of(spoken.words, shorts)
    cards = [_card(keys, short, spoken, marks, posters.get(short.s3_key)) for short in shorts]
    made = [card for card in cards if card.is_made]
    return render(
        "shorts.html",
        name=keys.video_id,
        language=spoken.language,
        cards=cards,
        made=len(made),
        lasting=sum((card.duration for card in made), Fraction(0)),
        lines=shown_lines(spoken, marks),
        words=len(spoken.words),
    )


def _card(
    keys: ShortsKeys, short: Short, spoken: Transcript, marks: Marks, poster: str | None
) -> Card:
    return Card(
        short=short,
        title=" ".join(short.title.split()) or f"Short {short.index}",
        duration=short.end - short.start,
        file=quote(short.s3_key.removeprefix(f"{keys.folder}/")),
        poster=poster,
        captions=captions(spoken, marks, short),
        anchor=f"moment-{short.index}" if short.index in marks.first else None,
    )
