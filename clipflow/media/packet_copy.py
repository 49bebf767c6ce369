"""Copying the packets of a span from a container into a window, and judging what was read."""

# PyAV's Packet takes a type argument for the type checker only.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.media.h264 import FieldPairs
from clipflow.media.joined_files import CLOCK_TOLERANCE, several_recordings
from clipflow.media.packet_times import with_times
from clipflow.media.pauses import Decoded, are_doubtful, have_pauses
from clipflow.media.probe import Probe
from clipflow.media.soundtrack import Soundtrack
from clipflow.media.source import unwrapped
from clipflow.media.streams import audio_stream
from clipflow.media.window import REORDERING, Span, Window, distinct_times

# Seconds at which the span begins in every window: larger than any lead, so that no packet before
# the span has a negative time.
_ORIGIN = 1_000_000
# Seconds by which a source may end before its declared end. If more than the second number are
# missing, another file may follow; and if less are left behind the span.
_MAX_MISSING, _MIN_MISSING = Fraction(1), Fraction(1, 10)
# Seconds by which packets of different streams may be interleaved out of order in a container.
_INTERLEAVING = 5
# The same before the first picture: screen recorders write a picture only when the next one comes.
_SPARSE_INTERLEAVING = 60
# Formats in which a picture may be stored far behind the sound of its time: libavformat finds its
# end only when the next picture begins, or there is no index and an encoder returned it late.
_DELAYED_FORMATS = ("mpegts", "mpeg", "hls", "matroska,webm", "flv", "avi", "ogg", "nut", "asf")
# Formats that are searched by their picture alone, so that its sound may be stored before it.
_SEARCHED_BY_PICTURE = ("mpegts", "matroska,webm", "flv", "avi")
# Pictures for which no encoder waits before it returns one: x264's slowest preset waits for 60, and
# for one a thread.
_MAX_LOOKAHEAD = 150
# Codecs whose tag names the pixel format for the decoder.
_CODECS_WITH_TAGS = ("utvideo",)
# Seconds of audio before the span: enough for a resampler to converge.
_RESAMPLER_LEAD = Fraction(1, 4)


def _end_time(packet: Packet[Any]) -> Fraction:
    """The end time of the packet, in seconds on the container's clock."""
    begins = packet.dts if packet.pts is None else packet.pts
    return Fraction((begins or 0) + (packet.duration or 0)) * packet.time_base


@dataclass
class PacketCopy:
    """One pass over a container's packets, from before a span to its end."""

    probe: Probe
    span: Span
    picture: VideoStream
    from_start: bool
    # Whether the container extends to the end of the source.
    to_end: bool
    # The approximate start of the container, in seconds from the source's first frame; None if
    # the container's clock is the source's.
    expected: Fraction | None = None
    decodable: bool = False
    # All pictures that were read from a container that does not store all of their times.
    pictures: list[Decoded] = field(default_factory=list)
    is_doubtful: bool = False
    # When the picture is shown that is shown last, and whether that time is stored.
    _last_pts: int | None = None
    _is_last_stored: bool = False
    _frame_pts: list[int] = field(default_factory=list)
    _has_picture: bool = False
    _has_audio: bool = False
    # The time of the first packet of sound that was read, in seconds on the container's clock.
    _first_sound: Fraction | None = None
    _is_searched_by_picture: bool = False
    # The number of pictures that were read and are shown before the span.
    _pictures_before: int = 0
    _reached_end: bool = False
    _lacks_lead: bool = False
    # The first byte behind the packets that were read.
    position: int = 0
    _finished_streams: set[int] = field(default_factory=set)
    _latest_end: Fraction = Fraction(0)
    _latest_dts: int | None = None
    _latest_keyframe: int | None = None
    _follows_keyframe: bool = False
    _written_dts: int | None = None
    _corrects_decoding_times: bool = False
    # Seconds to add to the container's clock if it has wrapped around; None until known.
    _clock_offset: Fraction | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the span is decodable and ends within the container."""
        return self.decodable and (self.to_end or not self._reached_end)

    @property
    def lacks_sound(self) -> bool:
        """Whether sound of the span may be stored before the keyframe that was found.

        An encoder that waits for more pictures returns those of slides minutes late.
        """
        if not self._is_searched_by_picture or self.from_start or not self._has_audio:
            return False
        if self._pictures_before > _MAX_LOOKAHEAD:
            # The source has no sound there.
            return False
        begins = self.probe.start + self.span.start
        return self._first_sound is None or self._first_sound > begins

    @property
    def ends_early(self) -> bool:
        """Whether the source ended before the end of the span in all of its streams."""
        return self._reached_end and self.to_end and not self._finished_streams

    @property
    def may_be_continued(self) -> bool:
        """Whether the span ends where the source does, or later: another file may follow."""
        is_short = self.ends_early and self.missing > _MIN_MISSING
        duration = self.probe.duration
        # The end of a span that ends later has been set back to the end of the source.
        return is_short or (duration is not None and self.span.end > duration - _MIN_MISSING)

    @property
    def has_pauses(self) -> bool:
        return have_pauses(self.pictures)

    def check_times(self, stored: set[int]) -> None:
        """Finds out whether frames of the span may be shown at other times; `stored` are right."""
        span = self._first_pts, self._end_pts
        if self._reached_end and self._is_last_stored:
            # That of the end of the source, until which the last picture is shown.
            stored.add(self.pictures[-1].time)
        self.is_doubtful = are_doubtful(self.pictures, stored, *span)

    @property
    def missing(self) -> Fraction:
        """The seconds from the end of the last packet to the end of the span."""
        return self.probe.start + self.span.end - self._latest_end

    def __post_init__(self) -> None:
        base, first = self.probe.time_base, self.probe.zero_pts
        self._duration = round(1 / self.probe.frame_rate / base)
        self._first_pts = first + ceil(self.span.start / base)
        self._end_pts = first + ceil(self.span.end / base)
        # Whole seconds and whole units of the time base, so that the shift rounds nothing. In AVI
        # and MXF, a unit is a frame, such as 1001/30000 s.
        shift, unit = _ORIGIN - int(self.probe.start + self.span.start), base.numerator
        self._shift = ceil(Fraction(shift, unit)) * unit if unit < _ORIGIN else shift
        context = self.picture.codec_context
        is_paired = context.name == "h264" and self.probe.interlaced
        self._fields = FieldPairs(context.extradata or b"") if is_paired else None
        self._first_field_is_late = False

    def run(self, container: InputContainer, output: OutputContainer) -> None:
        audio = self._audio(container)
        streams = [self.picture, *([audio] if audio else [])]
        # Opaque, because PyAV would look up an encoder, and some codecs have only a decoder.
        copy = output.add_stream_from_template(self.picture, opaque=True)
        # A MOV would store the display matrix, and ffmpeg would apply it a second time.
        copy.set_display_rotation(0)
        # NUT would store the first tag of the codec, which is that of another pixel format.
        if self.picture.codec_context.name in _CODECS_WITH_TAGS:
            copy.codec_context.codec_tag = self.picture.codec_context.codec_tag
        self._corrects_decoding_times = output.format.name == "nut"
        track = self._soundtrack(audio, output) if audio else None
        self._has_audio = audio is not None
        for packet in self._packets_until_end(container, streams):
            if packet.stream_index == self.picture.index:
                shifted = self._shift_packet(packet, copy)
                # Pictures before a pause may be stored behind the keyframe that ends it, with which
                # the window begins. They cannot be decoded without the pictures before it.
                pts, dts = shifted.pts, shifted.dts
                if pts is None or dts is None or pts >= dts:
                    output.mux(shifted)
                continue
            for part in track.add(packet) if track else ():
                output.mux(part)
        # Too short a lead may have no whole packet of sound.
        for part in track.finish() if track and not self._lacks_lead else ():
            output.mux(part)

    def _audio(self, container: InputContainer) -> AudioStream | None:
        known = self.probe.audio
        return audio_stream(container, self.probe.name, known.track) if known else None

    def _soundtrack(self, audio: AudioStream, output: OutputContainer) -> Soundtrack:
        begin, end = (self.probe.start + time for time in (self.span.start, self.span.end))
        return Soundtrack(self.probe, audio, output, begin - _RESAMPLER_LEAD, end, self._shift)

    def _shift_packet(self, packet: Packet[Any], copy: Stream) -> Packet[Any]:
        shift = round(self._shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
        if self._corrects_decoding_times:
            self._set_decoding_time(packet)
        packet.stream = copy
        return packet

    def _set_decoding_time(self, packet: Packet[Any]) -> None:
        """Sets a decoding time that muxers accept.

        Matroska, MXF and program streams do not store all of them. After a seek, libavformat
        computes none for the first packets, the same one for two of them, or one that is too late.
        All are set back, so that each may be later than the one before, and no later than the
        packet's presentation.
        """
        if packet.dts is None and self._written_dts is not None:
            packet.dts = self._written_dts
        elif (dts := packet.pts if packet.dts is None else packet.dts) is not None:
            packet.dts = dts - round(REORDERING / packet.time_base)
        else:
            return
        if self._written_dts is not None:
            packet.dts = max(packet.dts, self._written_dts + 1)
        self._written_dts = packet.dts

    def _packets_until_end(
        self, container: InputContainer, streams: list[Stream]
    ) -> Iterator[Packet[Any]]:
        end = self.probe.start + self.span.end
        is_delayed = container.format.name in _DELAYED_FORMATS
        self._is_searched_by_picture = container.format.name in _SEARCHED_BY_PICTURE
        may_lack_times = container.format.name in ("mpeg", "ogg")
        demuxed = container.demux(streams)
        rate, name = self.probe.frame_rate, self.probe.name
        for packet in with_times(demuxed, container, self.picture, rate, name):
            self._unwrap(packet)
            if packet.stream_index == self.picture.index:
                # A second field belongs to the frame of the field before it.
                if self._fields and self._fields.is_second(bytes(packet)):
                    if not self._first_field_is_late:
                        packet.pts = packet.dts if packet.pts is None else packet.pts
                        yield packet
                    continue
                self._check_video_packet(packet)
                if may_lack_times and packet.dts is not None:
                    self.pictures.append(Decoded(packet.dts, packet.duration or self._duration))
                    if packet.pts is not None and packet.pts >= (self._last_pts or packet.pts):
                        self._last_pts, self._is_last_stored = packet.pts, packet.pos is not None
                if self._needs_more_lead(packet):
                    self._lacks_lead = True
                    return
                # In decode order nothing with an earlier presentation time can follow.
                late = packet.dts is not None and packet.dts >= self._end_pts
                self._first_field_is_late = late
            else:
                late = packet.pts is not None and packet.pts * packet.time_base >= end
                if self._first_sound is None and packet.pts is not None:
                    self._first_sound = packet.pts * packet.time_base
            # The caller shifts the times of the packets that it gets.
            packet_end = _end_time(packet)
            self.position = max(self.position, (packet.pos or 0) + packet.size)
            self._latest_end = max(self._latest_end, packet_end)
            if not late:
                yield packet
                continue
            first_late = packet.stream_index not in self._finished_streams
            if packet.stream_index == self.picture.index and first_late and packet.is_keyframe:
                yield packet
            self._finished_streams.add(packet.stream_index)
            if len(self._finished_streams) == len(streams):
                return
            # A stream that ended earlier has no more packets, so the times of the other streams
            # show that the span is over, but for pictures that are stored late.
            waits_for_picture = is_delayed and self.picture.index not in self._finished_streams
            # A span before the first picture needs that picture, however late it is.
            waits_for_picture |= self.from_start and not self._has_picture
            allowed = _INTERLEAVING if self._has_picture else _SPARSE_INTERLEAVING
            if packet_end >= end + allowed and not waits_for_picture:
                return
        self._reached_end = True
        if self.pictures:
            # The last picture may begin after a pause, too.
            self.pictures.append(Decoded(self._declared_end(container), 0))

    def _declared_end(self, container: InputContainer) -> int:
        """When the last picture ends: as Ogg declares it, otherwise at most with the sound."""
        end = round((self._latest_end - _MAX_MISSING) / self.probe.time_base)
        if container.format.name == "ogg":
            end = (self.picture.start_time or 0) + (self.picture.duration or 0)
        return max(end - self._duration, self.pictures[-1].time + 1)

    def _unwrap(self, packet: Packet[Any]) -> None:
        """Undo a wraparound of the clock, so that times count from the start of the source."""
        if self._clock_offset is None:
            time = Fraction(packet.pts or packet.dts or 0) * packet.time_base
            near = time if self.expected is None else self.probe.start + self.expected
            self._clock_offset = unwrapped(time, near) - time
        if self._clock_offset:
            shift = round(self._clock_offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _check_video_packet(self, packet: Packet[Any]) -> None:
        if packet.pts is None:
            raise MediaRefusedError(
                f"{self.probe.name} has frames without presentation times.",
                "Re-encode it as MP4; copying its packets does not help.",
            )
        self._has_picture = True
        # libavformat flags a picture of a fragment that repeats the time of the one before it to be
        # discarded; a window does not store the flag. Both pictures are kept, as in other formats.
        is_shown = not packet.is_discard or packet.dts == self._latest_dts
        if packet.dts is not None:
            back = (self._latest_dts or packet.dts) - packet.dts
            if back * packet.time_base > CLOCK_TOLERANCE:
                raise several_recordings(self.probe.name)
            self._latest_dts = packet.dts
        # The index of NUT has each keyframe behind another picture, and none whose time goes back.
        if packet.is_keyframe and not self._follows_keyframe:
            if packet.pts < (self._latest_keyframe or packet.pts):
                raise several_recordings(self.probe.name)
            self._latest_keyframe = packet.pts
        self._follows_keyframe = packet.is_keyframe
        if packet.is_keyframe and packet.pts <= self._first_pts:
            self.decodable = True
        self._pictures_before += packet.pts < self._first_pts
        if is_shown and self._first_pts <= packet.pts < self._end_pts:
            self._frame_pts.append(packet.pts)

    def _needs_more_lead(self, packet: Packet[Any]) -> bool:
        """Whether the span was reached without a keyframe before it, so more lead is needed."""
        is_past = packet.dts is not None and packet.dts > self._first_pts
        return is_past and not self.decodable and not self.from_start

    def window(self, path: Path) -> Window:
        base, zero = self.probe.time_base, self.probe.start
        times = [pts * base - zero - self.span.start for pts in sorted(self._frame_pts)]
        if not self._finished_streams and self.missing > _MAX_MISSING:
            raise MediaInterruptedError(
                f"{self.probe.name} ended {float(self.missing):.1f} s before the end of "
                f"{self.span}.",
                "The run retries it; if the error persists, the source is truncated.",
            )
        return Window(
            path=path,
            span=self.span,
            origin=zero + self.span.start + self._shift,
            frames=distinct_times(times, self.span.duration),
            # VP8 has packets that are never shown, so packets cannot be counted as frames.
            frames_are_packets=self.picture.codec_context.name != "vp8",
            has_audio=self._has_audio,
            is_last=self._reached_end and self.picture.index not in self._finished_streams,
        )
