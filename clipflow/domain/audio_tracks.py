"""Selection of one of a source's audio tracks, by its number or its language."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

# ISO 639-1 codes, each with its ISO 639-2 codes, which containers have. Some languages have two: a
# bibliographic one ("ger") and a terminological one ("deu").
_CODES = """
aa aar|ab abk|ae ave|af afr|ak aka|am amh|an arg|ar ara|as asm|av ava|ay aym|az aze|ba bak|be bel
bg bul|bi bis|bm bam|bn ben|bo bod tib|br bre|bs bos|ca cat|ce che|ch cha|co cos|cr cre|cs ces cze
cu chu|cv chv|cy cym wel|da dan|de deu ger|dv div|dz dzo|ee ewe|el ell gre|en eng|eo epo|es spa
et est|eu eus baq|fa fas per|ff ful|fi fin|fj fij|fo fao|fr fra fre|fy fry|ga gle|gd gla|gl glg
gn grn|gu guj|gv glv|ha hau|he heb|hi hin|ho hmo|hr hrv|ht hat|hu hun|hy hye arm|hz her|ia ina
id ind|ie ile|ig ibo|ii iii|ik ipk|io ido|is isl ice|it ita|iu iku|ja jpn|jv jav|ka kat geo|kg kon
ki kik|kj kua|kk kaz|kl kal|km khm|kn kan|ko kor|kr kau|ks kas|ku kur|kv kom|kw cor|ky kir|la lat
lb ltz|lg lug|li lim|ln lin|lo lao|lt lit|lu lub|lv lav|mg mlg|mh mah|mi mri mao|mk mkd mac|ml mal
mn mon|mr mar|ms msa may|mt mlt|my mya bur|na nau|nb nob|nd nde|ne nep|ng ndo|nl nld dut|nn nno
no nor|nr nbl|nv nav|ny nya|oc oci|oj oji|om orm|or ori|os oss|pa pan|pi pli|pl pol|ps pus|pt por
qu que|rm roh|rn run|ro ron rum|ru rus|rw kin|sa san|sc srd|sd snd|se sme|sg sag|si sin|sk slk slo
sl slv|sm smo|sn sna|so som|sq sqi alb|sr srp|ss ssw|st sot|su sun|sv swe|sw swa|ta tam|te tel
tg tgk|th tha|ti tir|tk tuk|tl tgl|tn tsn|to ton|tr tur|ts tso|tt tat|tw twi|ty tah|ug uig|uk ukr
ur urd|uz uzb|ve ven|vi vie|vo vol|wa wln|wo wol|xh xho|yi yid|yo yor|za zha|zh zho chi|zu zul
"""
_SHORT = {
    code: codes[0]
    for codes in (entry.split() for entry in _CODES.replace("\n", "|").split("|") if entry)
    for code in codes
}
_LARGEST_NUMBER = 255


def parse_audio_track(value: object) -> int | str | None:
    """Parses an audio track's number or language tag; None for None. Raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
        if _is_tag(text):
            return text
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None
    elif value is None:
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = float(value)
        if number.is_integer() and 0 <= number <= _LARGEST_NUMBER:
            return int(number)
    raise ValueError(
        f"an audio track is a number from 0 to {_LARGEST_NUMBER} or a language such as en or pt-BR"
    )


def _is_tag(text: str) -> bool:
    first, *others = text.replace("_", "-").split("-")
    subtags = all(1 <= len(part) <= 8 and part.isascii() and part.isalnum() for part in others)
    return 2 <= len(first) <= 3 and first.isascii() and first.isalpha() and subtags


# The number of an audio track among those of its source, from 0, or a language tag (BCP 47).
AudioTrack = Annotated[
    int | str,
    BeforeValidator(parse_audio_track),
    WithJsonSchema({"type": ["integer", "string"]}),
]


def by_language(languages: Sequence[str | None], wanted: str) -> list[int]:
    """The indices in `languages` that match the language `wanted`, exact matches first.

    `languages` has each track's language from the container (BCP 47, ISO 639-1 or ISO 639-2), or
    None for a track without one.
    """
    tags = [_normal(language) for language in languages]
    primary, *_ = tag = _normal(wanted)
    matching = [place for place, found in enumerate(tags) if found[0] == primary]
    return sorted(matching, key=lambda place: tags[place] != tag)


def _normal(language: str | None) -> tuple[str, ...]:
    first, *others = (language or "").lower().replace("_", "-").split("-")
    return (_SHORT.get(first, first), *others)
