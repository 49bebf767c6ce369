"""Moments begin and end with sentences, and titles are whole clauses, in several kinds of talks."""

import pytest

from clipflow.domain.transcript import Transcript, Word, sentences
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.highlights.titles import TITLE_LIMIT, title_of
from tests.clipflow.highlights.transcripts import spread

HOUSES = [
    "Houses in the U.S. are dear, said Dr. Weiss.",
    "He paid No. 7 about 3. 5 million, i.e. too much.",
]
LIGHTHOUSE = [
    "My grandfather kept a lighthouse on a rock that is smaller than this room.",
    "Every evening he carried the oil up ninety steps, and every morning he carried the can down.",
    "People ask whether the lighthouse keeper was lonely.",
    "He said that the lamp was company, because the lamp needed him.",
    "In the winter of 1962 no boat came for seven weeks, and he ate potatoes.",
    "Then they put in an electric lamp, and nobody asked the keeper.",
    "The new lamp never failed, and he never forgave it.",
    "What does a man do with ninety steps and no oil to carry?",
    "He climbed them anyway.",
    "I think that work is a staircase, and the lamp is only the reason to climb it.",
]
BREAD = [
    "The first mistake with sourdough is too much flour, e.g. when the dough sticks to your hands.",
    "Sticky dough is good dough, so wet your hands and leave the flour alone.",
    "Prof. Lind measured forty loaves at her bakery in St. Gallen.",
    "The wettest dough made the lightest bread.",
    "The second mistake is a cold oven.",
    "Heat the oven for an hour, about 250 degrees, with a stone inside.",
    "The stone keeps the heat when you open the door.",
    "The third mistake is the knife, because everybody cuts the bread too early.",
    "Hot bread is still cooking inside, etc. but nobody believes it.",
    "Wait one hour and the crust will sing to you.",
]


def talk(texts: list[str], until: float = 180) -> list[Word]:
    """The sentences repeated, with a pause in the middle of each."""
    words: list[Word] = []
    at = 0.5
    while at < until:
        for text in texts:
            spoken = spread(at, at + 0.06 * len(text), None, text)
            half = len(spoken) // 2
            words += spoken[:half]
            words += [
                word.model_copy(update={"start": word.start + 0.8, "end": word.end + 0.8})
                for word in spoken[half:]
            ]
            at = words[-1].end + 0.3
    return words


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [(HOUSES, 10), (HOUSES, 15), (LIGHTHOUSE, 15), (LIGHTHOUSE, 40), (BREAD, 15), (BREAD, 40)],
)
def test_moments_and_titles_consist_of_whole_sentences(texts: list[str], seconds: int) -> None:
    words = talk(texts)
    found = pick(Transcript(tuple(words), "en"), Brief(3, seconds, words[-1].end + 1))
    assert found
    for moment in found:
        inside = [w for w in words if moment.start <= w.start and w.end <= moment.end]
        text = " ".join(word.text for word in inside)
        assert any(text.startswith(sentence) for sentence in texts)
        assert any(text.endswith(sentence) for sentence in texts)
        assert len(moment.title) <= TITLE_LIMIT and "…" not in moment.title
        assert not moment.title.endswith(("U.S", "Dr.", "St.", "i.e."))
        assert any(moment.title.casefold() in sentence.casefold() for sentence in texts)
        assert len(moment.title.split()) >= 3


def test_abbreviations_and_pauses_do_not_end_a_sentence() -> None:
    words = talk([*HOUSES, *BREAD], until=1)
    assert [line.text for line in sentences(words, "en")] == [*HOUSES, *BREAD]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("fr", "Une batterie coûtait env. 3 millions, c.-à-d. plus qu'une maison. M. Dupont rit."),
        ("fr", "C'est Mme. Weiss, c.à.d. Anna, en déc. avec Mgr. Roy. Il est 9 h."),
        ("de", "Hrn. Huber sah z.B. Anna, ca. Zehn Leute, u.a. Meyer. Im Okt. kam er."),
        ("es", "Vino D. Luis, p.ej. a comprar aprox. diez panes. Se fue."),
        ("it", "Il sig. Rossi e l'avv. Bianchi, nel 40 a.C. in Italia. Poi dormì."),
        ("pt", "A Profa. Ana pagou no máx. Dez reais. Saiu."),
        ("nl", "Er was bijv. Anna, d.w.z. mevr. Bos, o.a. met brood. Zij ging."),
        ("pl", "To jest tzw. Wawel, tj. zamek, m.in. dr. Nowak. Poszedł."),
        ("ru", "Это напр. Анна, т.е. она, на ул. Мира. Он ушёл."),
        ("en", "Ms. Lind came at approx. nine p.m. from the U.S. and left. It was 9 p.m. We ate."),
    ],
)
def test_abbreviations_of_other_languages_do_not_end_a_sentence(language: str, text: str) -> None:
    found = [line.text for line in sentences(spread(0, 9, None, text), language)]
    whole = {"de": 2, "en": 3}.get(language, 2)
    assert len(found) == whole and " ".join(found) == text
    assert found[-1] == text[-len(found[-1]) :] and len(found[-1].split()) <= 5


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("de", ["Am 3. Okt. kam er.", "Der 2. Mann blieb im 21. Stock."]),
        ("de", ["Dann, 24. Dez. abends, schneite es.", "Wir waren 5.", "Das reichte."]),
        ("nb", ["Den 3. mai kom han.", "Vi var 5.", "Så gikk han."]),
        ("cs", ["Dne 3. května přišel.", "Pak odešel."]),
        ("en", ["We were 5.", "it was late."]),
    ],
)
def test_only_ordinal_numbers_do_not_end_a_sentence(language: str, texts: list[str]) -> None:
    found = [line.text for line in sentences(spread(0, 9, None, " ".join(texts)), language)]
    assert found == texts


def test_a_title_does_not_begin_with_the_dash_of_a_dialogue() -> None:
    words = [Word(text=text, start=n, end=n + 1) for n, text in enumerate(["- Where", "is", "it?"])]
    assert title_of([words], [1.0]) == "Where is it?"


def test_a_longer_clause_is_preferred_as_the_title() -> None:
    spoken = spread(
        0, 4, None, "That sounds strict, what if the story needs a long introduction to it?"
    )
    assert title_of([spoken], [1.0]) == "What if the story needs a long introduction to it?"
    thanks = spread(4, 5, None, "Thank you.")
    short = spread(0, 4, None, "That sounds strict, " + "endless " * 20 + "talk.")
    assert title_of([short, thanks], [1.0, 1.0]) == "That sounds strict"


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        ("Bonjour à tous et bienvenue chez nous.", "Les abeilles dansent dans le noir."),
        ("皆さん、こんにちは。", "蜜蜂は暗闇で踊ります。"),
        ("ご視聴ありがとうございました。", "蜜蜂は暗闇で踊ります。"),
        ("Good evening, and welcome back everyone.", "Thanks to the bees we have honey."),
        ("Guten Morgen zusammen, schön hier zu sein.", "Gute Bienen tanzen im Dunkeln."),
    ],
)
def test_a_greeting_is_a_title_only_without_another_sentence(greeting: str, sentence: str) -> None:
    first, second = (spread(at, at + 3, None, text) for at, text in ((0, greeting), (3, sentence)))
    assert title_of([first, second], [2.0, 1.0]) == sentence.rstrip(".。")
    assert title_of([first], [1.0]).rstrip(".。") == greeting.rstrip(".。")


def test_speech_without_full_stops_is_split_at_pauses_with_complete_titles() -> None:
    words = [
        Word(text=word.text.strip(".,?").lower(), start=word.start, end=word.end)
        for word in talk(LIGHTHOUSE)
    ]
    assert len(sentences(words)) > 10
    found = pick(Transcript(tuple(words)), Brief(3, 15, words[-1].end + 1))
    assert found
    for moment in found:
        assert "…" not in moment.title and len(moment.title.split()) >= 3
