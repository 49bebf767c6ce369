"""Descriptions and hashtags of moments: sentences and terms of the transcript, no common words."""

import re

import pytest

from clipflow.domain.post_text import hashtag
from clipflow.domain.transcript import Transcript, split_words, spread_words
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.highlights.summaries import Summarizer
from tests.clipflow.highlights.transcripts import sample


def summarizer_of(text: str, language: str | None) -> Summarizer:
    return Summarizer(
        Transcript(tuple(spread_words(split_words(text), 0, len(text) / 20)), language)
    )


def test_a_description_has_whole_sentences_of_the_moment_in_their_order() -> None:
    talk = sample()
    summarizer = Summarizer(talk)
    spoken = " ".join(talk.text.split())
    found = pick(talk, Brief(5, 20, 180.1))
    assert len(found) == 5
    for moment in found:
        start, end = float(moment.start), float(moment.end)
        description = summarizer.description(start, end)
        inside = " ".join(talk.within(start, end).text.split())
        assert inside.startswith(description.split(". ")[0])
        assert len(description) <= 300
        places = [inside.index(part) for part in re.findall(r"[^.?!]+[.?!]", description)]
        assert places and places == sorted(places)
        tags = summarizer.hashtags(start, end)
        assert 3 <= len(tags) <= 5
        assert all(tag.casefold() in spoken.casefold() for tag in tags)


def test_titles_and_descriptions_have_no_fillers() -> None:
    text = "Um, so uh the glacier moves, um. It carries whole houses."
    talk = Transcript(tuple(spread_words(split_words(text), 0, 5)), "en")
    assert Summarizer(talk).description(0, 5) == ("So the glacier moves. It carries whole houses.")
    [moment] = pick(talk, Brief(1, 20))
    assert moment.title in ("So the glacier moves", "It carries whole houses")
    # Nothing else was said.
    assert summarizer_of("Um, uh.", "en").description(0, 1) == "Um, uh."


@pytest.mark.parametrize(
    ("language", "text", "tags"),
    [
        (
            "en",
            "So I think that, you know, we're going to New York City. Elon Musk didn't say that "
            "Tesla's batteries are cheap, and they don't last.",
            {"NewYorkCity", "Musk", "Tesla", "batteries"},
        ),
        (
            "fr",
            "Bonjour, nous parlons avec vous de l'énergie. Et puis Curie a étudié la "
            "radioactivité, mais pas celle-là.",
            {"énergie", "radioactivité"},
        ),
        ("de", "Also, wir fahren mit der Deutsche Bahn zu den Bergen.", {"DeutscheBahn", "Bergen"}),
        (
            "zh",
            "人工智能正在改变世界。很多人担心人工智能。机器学习要数据，机器学习难。",
            {"人工智能", "机器学习"},
        ),
        (
            "ja",
            "今日はデータサイエンスと東京の大学についてお話しします。",
            {"データサイエンス", "大学"},
        ),
    ],
)
def test_hashtags_are_names_and_terms_of_any_language(
    language: str, text: str, tags: set[str]
) -> None:
    found = set(summarizer_of(text, language).hashtags(0, 60))
    assert tags <= found
    assert all(hashtag(tag) == tag for tag in found)
    common = {"think", "that", "you", "know", "going", "say", "they", "didn", "don", "avec", "nous"}
    assert not found & (common | {"puis", "mais", "celle", "also", "wir", "mit", "今天", "我们"})


def test_speech_without_sentences_is_cut_between_words() -> None:
    words = spread_words(("word after word without a full stop " * 12).split(), 0, 14)
    description = Summarizer(Transcript(tuple(words))).description(0, 60)
    assert description.endswith("…")
    assert len(description) <= 300
    assert summarizer_of("um yeah so okay and then the", "en").description(0, 60)
    assert Summarizer(Transcript((), "en")).description(0, 60) == ""
    assert Summarizer(Transcript((), "en")).hashtags(0, 60) == ()
