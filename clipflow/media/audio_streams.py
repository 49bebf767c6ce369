"""The selection and decoding of a container's audio stream."""

import ctypes
import re
from collections.abc import Iterable
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from clipflow.domain.audio_tracks import AudioTrack, by_language
from clipflow.domain.errors import InvalidInputError, MediaRefusedError

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
