"""Fetching a window: finds a keyframe before a span, and has its packets copied into a file."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.isolation import isolated
from clipflow.media.joined_files import check_end, check_header
from clipflow.media.packet_copy import PacketCopy
from clipflow.media.pauses import stored_times
from clipflow.media.probe import Probe
from clipflow.media.shown_times import SkippedPicturesError, unknown_times
from clipflow.media.source import PlaylistSource, Source
from clipflow.media.source_errors import source_errors
from clipflow.media.streams import seek_before, video_stream
from clipflow.media.window import (
    Span,
    Window,
    is_decodable,
    open_output,
    sizes_vary,
    starting_with_picture,
)

# Seconds before the span at which reading begins: enough for an audio decoder to converge (Opus
# needs 80 ms). If no keyframe is found before the span, the next lead is tried.
_LEADS = (Fraction(1, 4), Fraction(10), Fraction(60))


def fetch_window(source: Source, probe: Probe, span: Span, path: Path) -> Window:
    """Reads `span` of `source` into a window at `path`.

    Raises InvalidInputError if no frame lies in the span, MediaRefusedError if it cannot be
    decoded from any keyframe or no window can hold it, MediaInterruptedError if the source ends
    before the span does, and what `isolated` raises.
    """
    return isolated(source.name, _fetch_window, source, probe, span, path)


def _fetch_window(source: Source, probe: Probe, span: Span, path: Path) -> Window:
    for lead in (*_LEADS, span.start):
        begin = max(Fraction(0), span.start - lead)
        copy = _copy_packets(source, probe, span, path, begin, span.end)
        if isinstance(source, PlaylistSource) and not copy.is_complete:
            # The chunks' actual times differ from those that the playlist declares.
            with source_errors(source.name):
                source = source.at_true_times(probe.start, (begin, span.end))
            copy = _copy_packets(source, probe, span, path, begin, span.end)
            if copy.decodable and not copy.is_complete:
                copy = _copy_packets(source, probe, span, path, begin, source.playlist.duration)
        # After a seek in a program stream, the first times may be wrong.
        if copy.is_doubtful and (begin == 0 or lead >= _LEADS[-1]):
            raise unknown_times(source.name)
        if begin == 0 or (copy.decodable and not copy.lacks_sound and not copy.is_doubtful):
            window = starting_with_picture(copy.window(path), source.name)
            if begin == 0 or lead >= _LEADS[-1] or is_decodable(window):
                return replace(window, sizes_vary=sizes_vary(window, probe))
    raise MediaRefusedError(f"{source.name}: no keyframe before {span}.", "Re-encode the source.")


def _copy_packets(
    source: Source, probe: Probe, span: Span, path: Path, begin: Fraction, end: Fraction
) -> PacketCopy:
    """Copies the source's packets from `begin` to `end` to `path`, in one attempt with one lead."""
    with source_errors(source.name), source.open(begin, end) as container:
        sought = probe.start + begin
        if source.seekable and begin > 0 and not seek_before(container, sought, source.name):
            return _copy_packets(source, probe, span, path, Fraction(0), end)
        copy = PacketCopy(
            probe,
            span,
            video_stream(container, source.name),
            from_start=begin == 0,
            to_end=source.ends(end),
            expected=source.begins(begin, end),
        )
        try:
            with open_output(path, copy.picture, source.name) as output:
                copy.run(container, output)
        except SkippedPicturesError:
            if begin == 0:
                raise
            return _copy_packets(source, probe, span, path, Fraction(0), end)
    if copy.has_pauses:
        # Ogg stores no decoding times.
        is_stored, last = container.format.name == "mpeg", copy.pictures[-1].time
        stored = stored_times(source, probe.start, begin, end, last) if is_stored else set[int]()
        copy.check_times(stored)
    if copy.position and copy.may_be_continued:
        check_header(source)
        check_end(source, copy.position)
    return copy
