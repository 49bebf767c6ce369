"""Abbreviations whose full stop never ends a sentence, which the sentence splitter does not know.

The splitter (sentencex) has lists for many languages, in which common titles, months and words such
as the French "c.-à-d." are missing. Only those are here that something always follows, and that are
no words themselves: after "etc." a sentence may end.
"""

import re

_WORDS = {
    "de": """
        Abs. Aufl. Bd. Dez. Dipl. Frl. Hrn. Hrsg. Kap. Okt. Tel. ca. dt. engl. evtl. exkl. geb.
        gest. inkl. bspw. max. med. min. zzgl.
    """,
    "en": "Ms. Vol. approx. vol.",
    "es": "D. Dña. aprox. art. ca. cap. ej. máx. mín. núm. pág. tel. vol.",
    "fr": """
        Dr. J.-C. M. MM. Me. Mgr. Mlle. Mme. Pr. St. Ste. apr. av. bd. chap. déc. env. fig. févr.
        janv. juill. max. min. no. nov. oct. vol.
    """,
    "it": """
        S. arch. art. avv. ca. cap. dott. es. geom. ing. max. min. pag. pagg. prof. rag. sig. tel.
        vol.
    """,
    "nl": "bijv. ca. evt. excl. incl. ing. ir. max. mevr. min. mw. prof. resp.",
    "pl": "al. dr. godz. inż. mgr. nr. ok. pl. por. prof. str. tj. tzw. ul. wg. św.",
    "pt": "Av. Profa. aprox. art. cap. máx. mín. núm. obs. pág. tel. vol.",
    "ru": "акад. доц. им. напр. проф. рис. св. ул.",
}
_OF_LANGUAGE = {language: frozenset(words.split()) for language, words in _WORDS.items()}
# "i.e.", "c.-à-d.", "z.B.", "m.in.": short parts, of which at least one has a full stop inside.
_DOTTED = re.compile(r"(?=[^.]+\.[^.]+\.)[^\W\d_]{1,3}(?:(?:\.-?|-)[^\W\d_]{1,2})+\.")
# A sentence may end with these.
_FINAL = frozenset(("a.m.", "p.m.", "н.э.", "n.v.t."))
# Languages that write ordinal numbers with a full stop, and such a number. A sentence may also end
# with a number, but rarely with a small one.
_WITH_ORDINALS = re.compile("bs|cs|da|de|et|fi|fo|hr|hu|is|lb|lv|nb|nn|no|sk|sl|sr")
_ORDINAL = re.compile(r"\d{1,2}\.")
# German capitalises nouns, so what follows does not show whether the sentence has ended. Its
# ordinals follow one of these words, as in "am 3. Mai", or precede an abbreviated month.
_BEFORE_ORDINALS = re.compile(
    "ab|am|beim|bis|das|de[mnrs]|die|i[mn]s?|jede[mnrs]?|(?:[ms]ein|ihr|unser)(?:e[mn]?)?|seit|vom"
    "|zu[mr]"
)
_MONTHS = re.compile(r"(?:Jan|Feb|Mrz|Apr|Jun|Jul|Aug|Sept?|Okt|Nov|Dez)\.")


def never_ends_sentence(language: str, before: str, word: str, following: str) -> bool:
    """Whether the full stop at the end of `word`, between its neighbours, ends no sentence.

    `language` is an ISO 639-1 code.
    """
    bare = word.lstrip("\"'“‘«»„([")
    if bare in _OF_LANGUAGE.get(language, ()) or _is_ordinal(language, before, bare, following):
        return True
    if not _DOTTED.fullmatch(bare):
        return False
    is_lower = bare.islower() and bare not in _FINAL
    return is_lower or following[:1].islower()


def _is_ordinal(language: str, before: str, word: str, following: str) -> bool:
    if not _WITH_ORDINALS.fullmatch(language) or not _ORDINAL.fullmatch(word):
        return False
    if following[:1].islower():
        return True
    is_lead = bool(_BEFORE_ORDINALS.fullmatch(before.lower()))
    return language == "de" and (is_lead or bool(_MONTHS.match(following)))
