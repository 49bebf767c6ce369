"""The selection of a container's audio stream, by number or language, and its decoding."""

import ctypes
import re
from collections.abc import Iterable, Sequence
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from clipflow.domain.errors import InvalidInputError, MediaRefusedError
from clipflow.domain.model import AudioTrack

# Tracks that players choose only if there is no other.
_SECONDARY = (
    Disposition.comment
    | Disposition.visual_impaired
    | Disposition.hearing_impaired
    | Disposition.descriptions
)


def audio_stream(
    container: InputContainer, name: str, track: AudioTrack | None = None
) -> AudioStream | None:
    """The audio stream `track`, or the one that players choose; None if there is no audio.

    That is the first of those that are flagged as default, else the first; commentaries and
    descriptions come after the others. Tracks without samples and those that cannot be decoded are
    chosen only by their number. `track` is a number among all audio streams, or a language.

    Raises MediaRefusedError if there is audio, but none that can be decoded, InvalidInputError
    if there is no such track.
    """
    streams = list(container.streams.audio)
    candidates = streams
    if isinstance(track, int):
        candidates = streams[track : track + 1]
    if isinstance(track, str):
        candidates = [streams[place] for place in by_language(_languages(streams), track)]
    if track is not None and not candidates:
        raise InvalidInputError(
            f"{name} has no audio track {track}: {_listed(streams)}.", "Choose one of these."
        )
    decodable = [stream for stream in candidates if has_decoder(stream)]
    if candidates and not decodable:
        raise MediaRefusedError(f"No sound of {name} can be decoded.", "Re-encode its sound.")
    return min(decodable, key=_rank) if decodable else None


def _rank(stream: AudioStream) -> tuple[bool, bool, bool]:
    """Lower for those that players choose first; of equal ones, the first is chosen."""
    disposition = stream.disposition
    return (
        not stream.rate,
        bool(disposition & _SECONDARY),
        not disposition & Disposition.default,
    )


def _languages(streams: Iterable[Stream]) -> list[str | None]:
    return [stream.language for stream in streams]


def _listed(streams: list[AudioStream]) -> str:
    named = (
        f"{place} ({language or 'no language'})"
        for place, language in enumerate(_languages(streams))
    )
    return f"it has {', '.join(named)}" if streams else "it has no sound"


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


def has_decoder(stream: Stream) -> bool:
    """Whether libavcodec has a decoder for the stream."""
    # PyAV gives None if libavcodec has no decoder, although its type stubs do not say so.
    context: object = stream.codec_context
    return context is not None


def number_of(container: InputContainer, stream: AudioStream) -> int:
    """The stream's number among the container's audio streams, from 0."""
    return list(container.streams.audio).index(stream)


def channel_count(stream: AudioStream) -> int:
    """The number of channels that the container or the decoder declares."""
    return _never_freed(stream.layout).nb_channels


def decode(stream: AudioStream, packet: "Packet[Any] | None") -> list[AudioFrame]:
    """The frames of one packet; with None, the frames that are left in the decoder.

    Use it instead of PyAV's own methods, which may abort the process: see `_never_freed`. Raises
    FFmpegError if the packet cannot be decoded.
    """
    frames = stream.codec_context.decode(packet)
    for frame in frames:
        _never_freed(frame.layout)
    return frames


# libavutil's description of channels in a custom order, such as those of QuickTime's 6.1 and 7.1.
_CUSTOM_ORDER = re.compile(r"\d+ channels \(")
_increment_references = ctypes.pythonapi.Py_IncRef
_increment_references.argtypes = (ctypes.py_object,)
_increment_references.restype = None


def _never_freed(layout: AudioLayout) -> AudioLayout:
    """The layout, which is never freed if that would free its list of channels a second time.

    PyAV (17.1 to 18.1) copies libavutil's AVChannelLayout with the pointer to its list of channels,
    which only a custom order has, and both copies free the list: the process aborts. A layout that
    is never freed costs 48 bytes, 8 MB for an hour of PCM.
    """
    if _CUSTOM_ORDER.match(layout.name):
        _increment_references(layout)
    return layout
