"""Moments chosen without a language model: in the sample, in other scripts, in long talks."""

import random
import time
from fractions import Fraction

import pytest

from clipflow.domain.errors import NoMomentsError
from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Transcript, Word
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.highlights.titles import TITLE_LIMIT, shortened
from tests.clipflow.highlights.transcripts import sample, sample_lines, spread

# Lines of the sample that belong together, as labelled by its author.
NATURAL = [(3, 4), (6, 7), (9, 10), (12, 13), (14, 15), (17, 18), (20, 21)]
SAMPLE_SECONDS = 180.1
CHINESE = [
    "今天我们讲怎样种番茄。番茄需要很多阳光和水。早上浇水最好,晚上浇水容易生病。",
    "番茄的叶子发黄怎么办?先看土是不是太湿。太湿的土让根不能呼吸。",
    "第二个问题是肥料。肥料太多,番茄只长叶子不结果。开花以后再加肥料。",
    "最后说说采收。番茄变红以前一天采,味道最甜。采下来的番茄不要放冰箱。",
]
ARABIC = [
    "اليوم نتحدث عن صناعة الخبز في البيت. الخبز الجيد يحتاج إلى وقت طويل وماء قليل.",
    "العجين يرتاح ليلة كاملة في مكان بارد. هل تعرفون لماذا؟ لأن الراحة تعطي الخبز طعما أفضل.",
    "الفرن يجب أن يكون ساخنا جدا قبل أن يدخل العجين. البخار يجعل قشرة الخبز رقيقة ولامعة.",
    "لا تقطعوا الخبز وهو ساخن. انتظروا ساعة واحدة حتى يبرد من الداخل ثم قدموه مع الزيت.",
]


def pick_from(words: list[Word], brief: Brief, language: str | None = None) -> list[Moment]:
    return pick(Transcript(tuple(words), language), brief)


def talk(paragraphs: list[str], *, by_character: bool = False) -> list[Word]:
    """The paragraphs three times, each spoken in ten seconds after a second of silence."""
    words = []
    for at, text in enumerate(paragraphs * 3):
        spaced = " ".join(text) if by_character else text
        words += spread(at * 11 + 1, at * 11 + 11, None, spaced)
    return words


def share_in_natural(moment: Moment) -> float:
    lines = sample_lines()
    spans = [(lines[first][0], lines[last][1]) for first, last in NATURAL]
    shared = [min(float(moment.end), end) - max(float(moment.start), start) for start, end in spans]
    return max(shared) / float(moment.end - moment.start)


def test_the_best_three_moments_of_the_sample_lie_in_its_labelled_moments() -> None:
    found = pick(sample(), Brief(3, 15, SAMPLE_SECONDS))
    assert len(found) == 3
    assert [share_in_natural(moment) > 0.75 for moment in found] == [True] * 3
    assert found[0].why == "About clip, idea, rule."
    assert found[0].title == "The first rule is, one clip, one idea"


def test_without_punctuation_or_speakers_moments_mostly_lie_in_labelled_moments() -> None:
    unpunctuated = [
        Word(text=word.text.lower().strip(".,?"), start=word.start, end=word.end)
        for word in sample().words
    ]
    found = pick_from(unpunctuated, Brief(3, 15, SAMPLE_SECONDS))
    assert [share_in_natural(moment) > 0.6 for moment in found] == [True] * 3


@pytest.mark.parametrize("language", ["en-US", "EN"])
def test_equivalent_language_codes_give_the_same_moments(language: str) -> None:
    words, brief = list(sample().words), Brief(8, 15, SAMPLE_SECONDS)
    assert pick_from(words, brief, language) == pick_from(words, brief, "en")


def test_there_are_no_more_moments_than_fit_into_the_talk() -> None:
    found = pick(sample(), Brief(20, 60, SAMPLE_SECONDS))
    assert 3 <= len(found) <= 6
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)


def test_fillers_and_silences_are_not_moments() -> None:
    until = sample_lines()[-1][1]
    fillers = "um yeah right okay so um well yeah " * 3
    words = [*sample().words]
    for at in range(60):
        words += spread(until + 2 + at * 10, until + 10 + at * 10, "host", fillers)
    words.append(Word(text="Bye.", start=until + 900, end=until + 901))
    found = pick_from(words, Brief(50, 30, until + 1000))
    assert 4 <= len(found) <= 8
    # The last moment of the talk may extend into the following text.
    assert all(moment.start < until - 5 for moment in found)


@pytest.mark.parametrize(
    ("words", "language", "term"),
    [
        (talk(CHINESE, by_character=True), "zh", "肥料"),
        (talk(CHINESE), "zh", "肥料"),
        (talk(ARABIC), "ar", "العجين"),
    ],
    ids=["Chinese, a word a character", "Chinese, a word a line", "Arabic"],
)
def test_moments_are_found_in_other_scripts(words: list[Word], language: str, term: str) -> None:
    found = pick_from(words, Brief(3, 15, 140), language)
    assert len(found) == 3
    assert any(term in moment.why + moment.title for moment in found)
    assert all(0 < len(moment.title) <= TITLE_LIMIT for moment in found)


@pytest.mark.slow
@pytest.mark.parametrize("target", [15, 60, 600])
def test_ninety_minutes_take_less_than_twenty_seconds(target: float) -> None:
    chance = random.Random(7)
    vocabulary = [f"w{n}" for n in range(3000)]
    likely = [1 / (n + 1) for n in range(3000)]
    words: list[Word] = []
    while len(words) < 15_000:
        text = " ".join(chance.choices(vocabulary, likely, k=chance.randint(3, 18))) + "."
        start = (words[-1].end if words else 0.0) + chance.random()
        words += spread(start, start + text.count(" ") * 0.3 + 0.3, None, text)
    before = time.monotonic()
    found = pick_from(words, Brief(200, target, words[-1].end))
    assert time.monotonic() - before < 20
    assert len(found) >= 4500 / (1.5 * target) / 2


def test_a_short_video_is_one_moment_and_a_silent_one_has_none() -> None:
    words = spread(2, 8, None, "All that is said here.")
    for duration in (20, None):
        [moment] = pick_from(words, Brief(5, 60, duration))
        assert (moment.start, moment.end) == (Fraction("1.75"), Fraction("8.35"))
        assert moment.title == "All that is said here"
    assert pick_from(words, Brief(5, 60, 600)) == []
    with pytest.raises(NoMomentsError, match="nothing is said") as caught:
        pick_from([Word(text=" ", start=1, end=2)], Brief(5, 60, 20))
    assert caught.value.remedy
    assert pick_from(spread(0, 8, None, "… — !"), Brief(1, 5, 20)) == []


def test_titles_end_with_a_whole_word() -> None:
    long = "what a very long title this is, and it goes on and on, well beyond what is shown"
    assert shortened(long) == "What a very long title this is, and it goes on and on, well…"
    assert len(shortened("番茄" * 50)) == TITLE_LIMIT
