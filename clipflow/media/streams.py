"""The selection of a container's audio and video streams, and how these are decoded and displayed.

Audio is selected by number or language. A display matrix says how a picture is rotated and mirrored
for display.
"""

import ctypes
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from math import atan2, degrees, hypot
from struct import unpack_from
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clipflow.domain.errors import InvalidInputError, MediaRefusedError
from clipflow.domain.model import AudioTrack
from clipflow.machine import LARGEST_PICTURE
from clipflow.media.shown_times import as_shown
from clipflow.media.source import stream_start

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


# Packets that are searched for the first frame: a group of pictures is shorter.
_MAX_PACKETS = 3000
# The longest side that x264 accepts, in pixels.
_MAX_SIDE = 16_384
_COVER = av.stream.Disposition.attached_pic


def has_video(container: InputContainer) -> bool:
    """Whether the container has a video stream that is not a cover image."""
    return any(not stream.disposition & _COVER for stream in container.streams.video)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream to cut: the best one that can be decoded and is not a cover image.

    Raises MediaRefusedError if there is none.
    """
    moving = [s for s in container.streams.video if not s.disposition & _COVER and has_decoder(s)]
    if not moving:
        raise MediaRefusedError(
            f"{name} has no moving picture that can be decoded.", "Use a source that has one."
        )
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in moving else moving[0]


def first_frame(
    container: InputContainer, picture: VideoStream, name: str
) -> tuple[VideoFrame, Fraction] | None:
    """The first frame near the beginning that can be decoded, and the source's time zero.

    The time is in seconds on the container's clock. None if no frame with a timestamp can be
    decoded. Raises MediaRefusedError for a picture that is too large to be decoded safely.
    """
    check_picture_size(picture.codec_context.width, picture.codec_context.height, name)
    picture.codec_context.options = {"max_pixels": str(LARGEST_PICTURE)}
    # Seconds by which the first frame is shown later than it is decoded.
    delay: Fraction | None = None
    # Only the first packets are searched, so that hours of packets without a frame are not read.
    packets = as_shown(container.demux(picture), container, picture, name)
    for packet in islice(packets, _MAX_PACKETS):
        if delay is None and packet.pts is not None:
            delay = (packet.pts - (packet.pts if packet.dts is None else packet.dts)) * (
                packet.time_base
            )
        for frame in packet.decode():
            if isinstance(frame, VideoFrame) and frame.pts is not None:
                return frame, _time_zero(container, frame.pts * packet.time_base, delay)
    return None


# Seconds by which the sound may begin before the picture in any source, since encoders and
# containers delay one of them by a few frames.
_MAX_PICTURE_DELAY = Fraction(1, 10)


def _time_zero(container: InputContainer, first: Fraction, delay: Fraction | None) -> Fraction:
    """The time that a player shows as zero, in seconds on the container's clock.

    That is the time of the first frame, `first`, or the start of the sound if the picture begins
    noticeably later. `delay` is the seconds between decoding the first frame and showing it.
    """
    sound = min((stream_start(s) for s in container.streams.audio if s.start_time is not None),
                default=first)  # fmt: skip
    is_late = first - max(delay or Fraction(0), Fraction(0)) - sound > _MAX_PICTURE_DELAY
    return sound if is_late else first


def check_picture_size(width: int, height: int, name: str) -> None:
    """Raises MediaRefusedError for a picture that is too large for every level of H.264."""
    if width * height > LARGEST_PICTURE or max(width, height) > _MAX_SIDE:
        raise MediaRefusedError(
            f"{name} has a picture of {width}x{height}, which is too large.",
            f"A picture has at most {LARGEST_PICTURE} pixels, {_MAX_SIDE} at a side.",
        )


def check_start(container: InputContainer, name: str) -> None:
    """Raises MediaRefusedError for a Matroska file that begins more than a second before zero.

    libavformat returns no times for such a beginning, so it cannot be cut, and no player that uses
    libavformat shows it.
    """
    if "matroska" in container.format.name and container.start_time is None:
        raise MediaRefusedError(
            f"{name} begins before its time zero, and that part has no usable times.",
            "Remux it with times that begin at zero.",
        )


# Degrees by which a matrix may deviate from a multiple of 90; larger deviations are ignored.
_MAX_TILT = 1.0


def orientation(matrix: Sequence[int]) -> tuple[int, bool]:
    """The rotation of a display matrix in degrees counter-clockwise, and whether it mirrors.

    `matrix` is that of ISO/IEC 14496-12 (8.3.2), row by row; empty for none. The rule is ffmpeg's
    own, so that a clip looks as in players, except that a matrix that is no multiple of 90 degrees
    is ignored.
    """
    if not matrix:
        return 0, False
    a, b, _, c, d = matrix[:5]
    scales = hypot(a, c), hypot(b, d)
    if not all(scales):
        return 0, False
    clockwise = degrees(atan2(b / scales[1], a / scales[0])) % 360
    quarters = round(clockwise / 90)
    if abs(clockwise - 90 * quarters) >= _MAX_TILT:
        return 0, False
    match quarters % 4:
        case 1:
            return 270, c > 0
        case 2:
            # The matrix flips the picture horizontally, vertically, or both (a half turn).
            return (180, False) if d < 0 else (0, True)
        case 3:
            return 90, c < 0
        case _:
            return (180, True) if d < 0 else (0, False)


def display_matrix(frame: VideoFrame) -> Sequence[int]:
    """The display matrix of a decoded frame, row by row; empty if it has none."""
    # PyAV's own `rotation` is a whole number of degrees and cannot represent mirroring.
    found: Any = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
    return unpack_from("=9i", bytes(found)) if found else ()


def seek_before(container: InputContainer, time: Fraction, name: str) -> bool:
    """Seek to a keyframe before `time`, in seconds on its clock; returns whether it is possible."""
    # A transport stream whose pictures are far apart can only be searched by its sound.
    for stream in (video_stream(container, name), *container.streams.audio):
        if stream.time_base:
            with suppress(av.error.PermissionError):
                container.seek(int(time / stream.time_base), stream=stream, backward=True)
                return True
    return False
