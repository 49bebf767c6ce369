"""The sounds that people make while they think, such as "um", by language.

Only sounds without a meaning of their own are listed. Words that can carry one, such as "like",
"you know", "well", "also" or "genre", are not: whether they do cannot be decided from the text. For
the same reason "hmm", "mhm" and "uh-huh", which may be answers, "eh" where it asks for agreement,
and "er" in German, which is a pronoun, are not listed.
"""

import re
from functools import cache
from unicodedata import category, normalize

# Regular expressions of whole words in lower case, by ISO 639-1 code. Recognisers repeat letters if
# a sound is long.
_FILLERS = {
    "cs": r"e{2,}|e+h+m+|e+m{2,}",
    "da": r"ø+h+m*|ø{2,}h*m*|e+h+m+",
    "de": r"ä+h+m*|ä{2,}h*m*|ö+h+m*|e+h+m+",
    "el": r"ε{2,}μ*|εμ{2,}",
    "en": r"u+m+|u+h+|u+h+m+|e+rm+|er|er{3,}",
    "es": r"e+h?m+|e{3,}|u+h+m+",
    "fi": r"ö{2,}h*m*|ö+h+m*",
    "fr": r"e+u+h+m*|h+e+u+",
    "hu": r"ö{2,}|ő{2,}|ö+m+",
    "it": r"e+h+m+|u+h+m+",
    "ko": r"음+",
    "nl": r"e+u*h+m*|u+h+m*",
    "no": r"ø+h+m*|ø{2,}h*m*|e+h+m*",
    "pl": r"e{2,}|y{2,}|y+m+|e+h?m{2,}",
    "pt": r"ã+h+n*|é+h+|u+h+m+|a+h+m+",
    "ru": r"э{2,}м*|эм+",
    "sv": r"ö+h+m*|e+h+m*|ä+h+m+",
    "tr": r"ı{2,}|e{3,}",
    "uk": r"е{2,}м*|ем{2,}",
    "zh": r"呃+",
}
# Used if the language is unknown: the fillers of English that are not words in other languages.
_ANYWHERE = r"u+m{2,}|u+h+m+|e+h+m+|e+rm+"


def is_filler(text: str, language: str | None) -> bool:
    """Whether a word, with any punctuation around it, is a filler in a language (BCP 47)."""
    composed = normalize("NFC", text)
    bare = "".join(character for character in composed if category(character)[0] not in "PSZ")
    return bool(_pattern((language or "").lower().split("-")[0]).fullmatch(bare.casefold()))


@cache
def _pattern(language: str) -> re.Pattern[str]:
    same = {"nb": "no", "nn": "no"}.get(language, language)
    return re.compile(_FILLERS.get(same, _ANYWHERE))
