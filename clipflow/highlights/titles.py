"""Terms of a text, for counting, and titles of moments."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from unicodedata import category

from clipflow.domain.transcript import Word, is_abbreviation, is_unspaced, joined

# The characters of a title that a phone shows.
TITLE_LIMIT = 60
_ELLIPSIS = "…"
# The different terms that an informative title has; "Thank you" has fewer.
INFORMATIVE_TERMS = 3
# How many terms a whole sentence and a clause need to be a title, in the order they are tried.
_NEEDED = (
    (INFORMATIVE_TERMS, INFORMATIVE_TERMS + 1),
    (INFORMATIVE_TERMS, INFORMATIVE_TERMS),
    (1, 1),
)
# How a greeting, thanks or a farewell begins in some languages, without case and punctuation. A
# sentence that begins so is a title only if no other is informative.
_GREETINGS = re.compile(
    r"(?:hello|hi|hey|welcome|good (?:morning|afternoon|evening|night)|thank you|thanks(?! to)"
    r"|goodbye|see you|bonjour|bonsoir|salut|coucou|bienvenue|merci|au revoir|à bientôt|hallo"
    r"|guten (?:morgen|tag|abend)|(?:herzlich )?willkommen|danke|vielen dank|tschüss|bis bald"
    r"|auf wiedersehen|hola|bienvenid[oa]s?|buen[oa]s (?:días|tardes|noches)|gracias"
    r"|muchas gracias|adiós|hasta (?:luego|pronto)|ciao|buongiorno|buonasera|benvenut[ioae]|grazie"
    r"|arrivederci|olá|oi|bom dia|boa (?:tarde|noite)|bem vind[oa]s?|obrigad[oa]|goedemorgen"
    r"|goedenavond|welkom|bedankt|dank je|hej|välkomna|tack|cześć|dzień dobry|witam|dziękuję"
    r"|привет|здравствуйте|добрый (?:день|вечер)|доброе утро|спасибо|до свидания|merhaba"
    r"|teşekkürler)\b|(?:(?:皆さん|みなさん|みんな|どうも) ?)?(?:こん(?:にち|ばん)は|おはよう"
    r"|ありがとう|はじめまして|ようこそ)|ご(?:視聴|清聴)|さようなら|(?:大家|你|您|各位)好|欢迎|歡迎|谢谢|謝謝"
    r"|再见|再見|안녕하세요|여러분 안녕|감사합니다"
)
# Words of a sentence in which a greeting is looked for; in Japanese, each may be one character.
_GREETING_WORDS = 12
_CLAUSE_ENDS = (",", ";", ":", "،", "؛", "、", "，", "；", "：", "–", "—")
_LOOSE_ENDS = " ,;:.-–—،؛、，。；："


def terms(words: Sequence[Word]) -> list[str]:
    """The words in lower case without punctuation; pairs of characters in scripts without
    spaces."""
    found: list[str] = []
    for token in joined(words).casefold().split():
        for kind, group in groupby(token, _kind):
            run = "".join(group)
            if kind == "unspaced" and len(run) > 1:
                found += [run[at : at + 2] for at in range(len(run) - 1)]
            elif kind:
                found.append(run)
    return found


def title_of(sentences: Sequence[Sequence[Word]], weights: Sequence[float]) -> str:
    """The sentence with the most weight that fits a title, else a clause of one that does.

    If none fits, as in speech without punctuation, the title ends at a pause.
    """
    order = sorted(range(len(sentences)), key=lambda n: (_is_greeting(sentences[n]), -weights[n]))
    ranked = [sentences[number] for number in order]
    # A clause of three terms often only leads to the next one: "That sounds strict, what if …".
    for of_sentence, of_clause in _NEEDED:
        whole = (words for words in ranked if _fits(words, of_sentence))
        clauses = (
            clause for words in ranked for clause in _clauses(words) if _fits(clause, of_clause)
        )
        for words in (*islice(whole, 1), *islice(clauses, 1)):
            return _as_title(words)
    return _as_title(_until_pause(ranked[0]))


def _is_greeting(words: Sequence[Word]) -> bool:
    bare = "".join(c if _kind(c) else " " for c in joined(words[:_GREETING_WORDS]).casefold())
    return bool(_GREETINGS.match(" ".join(bare.split())))


def _fits(words: Sequence[Word], needed: int) -> bool:
    # A word has at least one character, so more words than characters cannot fit.
    if len(words) > TITLE_LIMIT or len(joined(words)) > TITLE_LIMIT:
        return False
    return len(set(terms(words))) >= needed


def _clauses(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Parts of a sentence between commas or similar marks, each as long as fits a title."""
    ends = [n + 1 for n, word in enumerate(words) if word.text.endswith(_CLAUSE_ENDS)]
    starts = [0, *ends]
    ends.append(len(words))
    for first in starts:
        fitting = [end for end in ends if end > first and _fits(words[first:end], 1)]
        if fitting:
            yield words[first : fitting[-1]]


def _until_pause(words: Sequence[Word]) -> Sequence[Word]:
    """The first words that fit a title, up to the longest silence in their second half."""
    room = 1
    while room < min(len(words), TITLE_LIMIT) and len(joined(words[: room + 1])) <= TITLE_LIMIT:
        room += 1
    if room == len(words):
        return words
    ends = range(max(1, room // 2), room + 1)
    return words[: max(ends, key=lambda end: (words[end].start - words[end - 1].end, end))]


def _as_title(words: Sequence[Word]) -> str:
    # The dash of a dialogue is part of its first word.
    text = joined(words).lstrip("-–— ")
    # A clause ends with a comma, and a title needs no full stop, except after "U.S.".
    bare = text.rstrip(_LOOSE_ENDS)
    if text.startswith(bare + ".") and (is_abbreviation(words[-1]) or "." in bare.split()[-1]):
        bare += "."
    return shortened(bare or text)


def shortened(text: str) -> str:
    """`text` in one line of at most `TITLE_LIMIT` characters, cut between words."""
    text = " ".join(text.split())
    if len(text) > TITLE_LIMIT:
        head = text[:TITLE_LIMIT]
        # Without a space, the script has none or it is a single long word.
        text = (head.rpartition(" ")[0] or head[:-1]).rstrip(_LOOSE_ENDS) + _ELLIPSIS
    return _capitalised(text)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _kind(character: str) -> str:
    # Punctuation, symbols, separators and control characters divide words.
    if category(character)[0] in "PSZC":
        return ""
    return "unspaced" if is_unspaced(character) else "spaced"
