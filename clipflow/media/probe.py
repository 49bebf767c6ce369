"""Probing a source: its streams, first frame, orientation, colour, audio and duration."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaRefusedError
from clipflow.domain.model import AudioTrack
from clipflow.media.h264 import ParameterSets, parameter_sets
from clipflow.media.isolation import isolated
from clipflow.media.joined_files import (
    STREAM_FORMATS,
    check_clock,
    check_header,
    check_pages,
    naming_joined_files,
)
from clipflow.media.source import FileSource, PlaylistSource, Source, stream_start
from clipflow.media.source_errors import source_errors
from clipflow.media.streams import (
    audio_stream,
    channel_count,
    check_picture_size,
    check_start,
    decode,
    display_matrix,
    first_frame,
    has_video,
    number_of,
    orientation,
    video_stream,
)

# H.273: the matrix coefficients of RGB, and the code point of any value that is unspecified.
RGB, UNSPECIFIED = 0, 2


@dataclass(frozen=True)
class Colour:
    """H.273 code points, 2 meaning "unspecified", and whether the range is full."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool = False


@dataclass(frozen=True)
class AudioInfo:
    """The source's audio: samples a second and channels.

    `track` is its number among the source's audio tracks, from 0.
    `grid` is the time of the first packet in seconds and the number of samples in each packet, if
    all packets have the same number and the container's clock is coarser than a sample; else None.
    """

    sample_rate: int
    channels: int
    grid: tuple[Fraction, int] | None = None
    track: int = 0

    def exact(self, time: Fraction, rounding: Fraction) -> Fraction:
        """The exact start, in seconds, of the packet whose container timestamp is `time`.

        Matroska, for example, rounds times to milliseconds. The time that follows from the number
        of samples since the first packet is exact, and is returned if it differs from `time` by at
        most `rounding` seconds. A larger difference is a gap, and `time` is returned.
        """
        if self.grid is None:
            return time
        first, length = self.grid
        step = Fraction(length, self.sample_rate)
        counted = first + round((time - first) / step) * step
        return counted if abs(counted - time) <= rounding else time


@dataclass(frozen=True)
class Probe:
    """The properties of a source, read from its header and first frame.

    Attributes:
        zero_pts: the source's time zero, in units of `time_base` seconds on the container's clock:
            the first frame's presentation timestamp, or the start of the sound if that is
            noticeably earlier. width, height: the size of the upright picture with square pixels.
        rotation: the degrees, a multiple of 90, by which the coded picture is turned
            counter-clockwise to be upright. If `mirrored`, left and right are then exchanged.
        coded_size: the size of the first frame as it is coded.
        audio: None if the source has no audio.
        duration: in seconds from time zero; None if the container does not declare it.
        parameter_sets: those of a video stream whose packets can be copied unchanged into a
            segment; otherwise None, and `reencode_reason` gives the reason.
        interlaced: whether frames may consist of two fields of different times. Each decoded frame
            is flagged, unless the container alone declares it.
        field_order: the field that is shown first in all frames, `tff` for the top one or `bff`, if
            the container alone declares it; otherwise empty.
    """

    name: str
    etag: str
    zero_pts: int
    time_base: Fraction
    width: int
    height: int
    square: bool
    rotation: int
    frame_rate: Fraction
    colour: Colour
    audio: AudioInfo | None
    duration: Fraction | None
    parameter_sets: ParameterSets | None = None
    mirrored: bool = False
    coded_size: tuple[int, int] | None = None
    reencode_reason: str = "the packets of the source were not inspected"
    interlaced: bool = False
    field_order: str = ""

    @property
    def start(self) -> Fraction:
        """The source's time zero, in seconds on the container's own clock."""
        return self.zero_pts * self.time_base


def probe_source(source: Source, track: AudioTrack | None = None) -> Probe:
    """Reads the header and the first frame of `source`; its audio is `track`, or the default one.

    Raises MediaRefusedError if it has no video that can be decoded, InvalidInputError if it
    has no such track, and the errors of `isolated` and `source_errors`.
    """
    return isolated(source.name, _probe_source, source, track)


def _probe_source(source: Source, track: AudioTrack | None) -> Probe:
    with (
        naming_joined_files(source),
        source_errors(source.name),
        source.open(Fraction(0), Fraction(1)) as container,
    ):
        picture = video_stream(container, source.name)
        first = first_frame(container, picture, source.name)
        if first is None or picture.time_base is None:
            raise MediaRefusedError(
                f"{source.name} has no frame that can be decoded.", "Check that the source plays."
            )
        check_start(container, source.name)
        frame, zero = first
        rotation, mirrored = orientation(display_matrix(frame))
        width, height, square = _displayed_size(frame, picture, rotation)
        check_picture_size(width, height, source.name)
        zero_pts = floor(zero / picture.time_base)
        start = zero_pts * picture.time_base
        sets, reencode_reason = _copyable_parameter_sets(frame, picture)
        probe = Probe(
            name=source.name,
            etag=source.etag,
            zero_pts=zero_pts,
            time_base=picture.time_base,
            width=width,
            height=height,
            square=square,
            rotation=rotation,
            mirrored=mirrored,
            coded_size=(frame.width, frame.height),
            frame_rate=Fraction(picture.average_rate or picture.guessed_rate or 30),
            colour=_colour_of(frame),
            audio=_audio_info(container, source.name, track),
            duration=_duration(source, container, picture, start),
            parameter_sets=sets,
            reencode_reason=reencode_reason,
            interlaced=_may_be_interlaced(frame, picture) or bool(_field_order(frame, picture)),
            field_order=_field_order(frame, picture),
        )
        if container.format.name in STREAM_FORMATS and isinstance(source, FileSource):
            check_clock(container, picture, source)
        if container.format.name == "ogg" and isinstance(source, FileSource):
            check_pages(source)
        if container.format.name == "mxf":
            check_header(source)
        return probe


@dataclass(frozen=True)
class SoundProbe:
    """The start and duration of a source's audio; the source may have video or not.

    `start` is time zero in seconds on the container's own clock: that of `Probe`, or the start of
    the audio without video. `duration` is in seconds from there, None if the container does not
    declare it. `is_estimated` is true if the format has no header that stores the duration. `track`
    is the number of the audio among the source's tracks, from 0.
    """

    name: str
    start: Fraction
    duration: Fraction | None
    is_estimated: bool
    track: int = 0


# Bare streams of packets: libavformat estimates their duration from the first bit rate.
_RAW_FORMATS = ("aac", "ac3", "amr", "dts", "eac3", "mp3")


def probe_sound(source: Source, track: AudioTrack | None = None) -> SoundProbe:
    """Reads the header of `source`, and its first frame if it has a picture.

    Raises MediaRefusedError if it has no audio that can be decoded, InvalidInputError if it
    has no audio track `track`, and the errors of `isolated` and `source_errors`.
    """
    return isolated(source.name, _probe_sound, source, track)


def _probe_sound(source: Source, track: AudioTrack | None) -> SoundProbe:
    with (
        naming_joined_files(source),
        source_errors(source.name),
        source.open(Fraction(0), Fraction(1)) as container,
    ):
        audio = audio_stream(container, source.name, track)
        if audio is None:
            raise MediaRefusedError(
                f"{source.name} has no sound, so no speech can be recognised in it.",
                "Use a file that has sound.",
            )
        check_start(container, source.name)
        start = stream_start(audio)
        if has_video(container):
            picture = video_stream(container, source.name)
            if first := first_frame(container, picture, source.name):
                start = first[1]
        duration = None
        if container.duration:
            duration = max(Fraction(0), _declared_end(container) - start)
        is_estimated = container.format.name in _RAW_FORMATS
        number = number_of(container, audio)
        return SoundProbe(source.name, start, duration, is_estimated, number)


def _displayed_size(
    frame: VideoFrame, picture: VideoStream, rotation: int
) -> tuple[int, int, bool]:
    aspect = Fraction(picture.sample_aspect_ratio or 1)
    # Square pixels keep the coded height; H.264's 4:2:0 wants both sides even.
    width, height = _even(frame.width * aspect), _even(Fraction(frame.height))
    if rotation % 180:
        width, height = height, width
    return width, height, aspect == 1 and frame.width % 2 == frame.height % 2 == 0


def _even(length: Fraction) -> int:
    return max(2, 2 * round(length / 2))


def _copyable_parameter_sets(
    frame: VideoFrame, picture: VideoStream
) -> tuple[ParameterSets | None, str]:
    """The parameter sets that the stream's packets need, or why they cannot be copied."""
    context = picture.codec_context
    if context.name != "h264":
        return None, f"the source is {context.name}"
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        return None, f"the source is in {frame.format.name}"
    if int(frame.colorspace) == RGB:
        return None, "the source is tagged as RGB, but is YUV"
    try:
        sets = parameter_sets(context.extradata or b"")
        sequences, _ = sets.sequences, sets.unused_id
    except ValueError as error:
        return None, f"the source's parameter sets: {error}"
    if {(s.width, s.height) for s in sequences} != {(frame.width, frame.height)}:
        return None, "the source's parameter sets name another size"
    reencode_reason = next(
        (sequence.reencode_reason for sequence in sequences if sequence.reencode_reason), ""
    )
    return (None, reencode_reason) if reencode_reason else (sets, "")


# Codecs that often mix interlaced and progressive frames, so the first frame is not conclusive.
_MIXED_CODECS = ("mpeg2video", "vc1")


def _may_be_interlaced(frame: VideoFrame, picture: VideoStream) -> bool:
    context = picture.codec_context
    if frame.interlaced_frame or context.name in _MIXED_CODECS:
        return True
    if context.name != "h264":
        return False
    try:
        sequences = parameter_sets(context.extradata or b"").sequences
    except ValueError:
        return False
    return not all(sequence.progressive for sequence in sequences)


# Codecs whose decoders flag frames as the container declares them, which a window does not.
_FLAGGED_BY_CONTAINER = ("ffv1", "rawvideo", "v210")
# Which field is shown first, by libavcodec's AVFieldOrder. Its description of the last two is the
# other way round, but ffmpeg writes them so, and libavcodec's decoder of raw pictures reads so.
_FIELD_ORDERS = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}


def _field_order(frame: VideoFrame, picture: VideoStream) -> str:
    """The field that the container declares as the first, if the packets do not; else empty.

    An encoder without the setting for interlaced pictures flags them as progressive, and
    codecs for editing often have no flag at all.
    """
    is_flagged = picture.codec_context.name not in _FLAGGED_BY_CONTAINER
    # A frame of HEVC is one field where it is interlaced.
    if (is_flagged and _may_be_interlaced(frame, picture)) or picture.codec_context.name == "hevc":
        return ""
    return _FIELD_ORDERS.get(int(picture.codec_context.field_order), "")


def _colour_of(frame: VideoFrame) -> Colour:
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    # The tag may be missing or wrong, so RGB is detected by the pixel format. It is full range.
    if frame.format.is_rgb or frame.format.has_palette:
        return Colour(primaries, transfer, RGB, full_range=True)
    matrix = UNSPECIFIED if int(frame.colorspace) == RGB else int(frame.colorspace)
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return Colour(primaries, transfer, matrix, full)


def _audio_info(container: InputContainer, name: str, track: AudioTrack | None) -> AudioInfo | None:
    stream = audio_stream(container, name, track)
    if stream is None or not stream.rate or not (channels := channel_count(stream)):
        return None
    number = number_of(container, stream)
    return AudioInfo(stream.rate, channels, _packet_grid(container, stream), number)


# Codecs whose packets all hold the same number of samples.
_FIXED_FRAME_CODECS = ("aac", "ac3", "eac3", "flac", "mp2", "mp3", "mp3float", "opus", "libopus")


def _packet_grid(container: InputContainer, stream: av.AudioStream) -> tuple[Fraction, int] | None:
    base = stream.time_base
    if stream.codec_context.name not in _FIXED_FRAME_CODECS or not base or base * stream.rate <= 1:
        return None
    try:
        container.seek(0, stream=stream)
    except av.error.PermissionError:
        # No packet near the beginning has a time.
        return None
    for packet in container.demux(stream):
        for frame in decode(stream, packet):
            return Fraction(packet.pts or 0) * base, frame.samples
    return None


def _duration(
    source: Source, container: InputContainer, picture: VideoStream, start: Fraction
) -> Fraction | None:
    """The seconds from `start` to the end of the picture or of the sound, whichever is later."""
    if isinstance(source, PlaylistSource):
        return source.duration(start)
    ends = []
    streams = [picture, *container.streams.audio]
    if all(stream.duration and stream.time_base for stream in streams):
        ends.append(max(stream_start(s) + (s.duration or 0) * _base(s) for s in streams))
    if container.duration:
        # The container's duration considers edit lists, which the stream's own does not, but it is
        # rounded.
        ends.append(_declared_end(container) + _ROUNDING)
    return min(ends) - start if ends else None


def _base(stream: Stream) -> Fraction:
    return Fraction(stream.time_base or 1)


# Seconds. A container rounds its duration to its own unit, in MP4 often a millisecond.
_ROUNDING = Fraction(1, 500)
# Seconds. In Matroska files that start earlier or later than this, the end is searched.
_EARLIEST_START, _LATE_START = -Fraction(1, 20), 1


def _declared_end(container: InputContainer) -> Fraction:
    """The end of the container, in seconds on its own clock, by the duration that it declares."""
    begins = Fraction(container.start_time or 0, av.time_base)
    length = Fraction(container.duration or 0, av.time_base)
    if container.format.name == "avi":
        # libavformat leaves out PCM, of which it has only the number of samples.
        lengths = (stream.frames * _base(stream) for stream in container.streams.audio)
        return begins + max(length, max(lengths, default=length))
    is_usual = _EARLIEST_START <= begins < _LATE_START or length < begins
    if "matroska" not in container.format.name or is_usual:
        return begins + length
    # Some muxers declare the time of the end, others the length from the first packet. The last
    # packets show which of them it is.
    container.seek(int((begins + length) * av.time_base))
    reached = max(
        (
            Fraction(packet.pts + (packet.duration or 0)) * packet.time_base
            for packet in container.demux()
            if packet.pts is not None
        ),
        default=begins + length,
    )
    return min(length, begins + length, key=lambda end: abs(end - reached))
