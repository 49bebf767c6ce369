"""Parsing the parameter sets of x264, and combining the sets of two encoders in one header."""

from pathlib import Path
from typing import Any

import av
import pytest

from clipflow.media.h264 import ParameterSets, SequenceParameters, length_size, parameter_sets
from tests.made_media import make_source

X264 = ("-c:v", "libx264", "-preset", "veryfast")


def header_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.extradata or b""


def sequence_of(folder: Path, **made: Any) -> SequenceParameters:
    path = make_source(folder / "s.mp4", seconds=0.4, sound=None, **made)
    [sequence] = parameter_sets(header_of(path)).sequences
    return sequence


@pytest.mark.parametrize("size", [(320, 180), (322, 182), (1920, 1080)])
def test_the_displayed_size_is_parsed(size: tuple[int, int], tmp_path: Path) -> None:
    sequence = sequence_of(tmp_path, size=size, picture=X264)
    assert (sequence.width, sequence.height) == size
    assert sequence.reencode_reason == ""


@pytest.mark.parametrize(
    ("picture", "output", "why"),
    [
        (X264, ("-pix_fmt", "yuv420p10le"), "10 bits"),
        (X264, ("-pix_fmt", "yuv444p"), "not 4:2:0"),
        ((*X264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"), (), "interlaced"),
        ((*X264, "-x264-params", "cqm=jvt"), (), ""),
        ((*X264, "-profile:v", "baseline"), (), ""),
        ((*X264, "-profile:v", "main"), (), ""),
    ],
)
def test_the_reason_is_given_where_a_segment_cannot_hold_the_stream(
    picture: tuple[str, ...], output: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    reencode_reason = sequence_of(tmp_path, picture=picture, output=output).reencode_reason
    assert why in reencode_reason
    assert bool(why) == bool(reencode_reason)


def test_an_mp4_and_a_transport_stream_give_the_same_sets(tmp_path: Path) -> None:
    made: dict[str, Any] = {"seconds": 0.4, "sound": None, "picture": X264}
    mp4 = header_of(make_source(tmp_path / "s.mp4", **made))
    stream = header_of(make_source(tmp_path / "s.ts", **made))
    assert (length_size(mp4), length_size(stream)) == (4, 0)
    assert parameter_sets(mp4) == parameter_sets(stream)


def test_one_header_holds_two_encoders_sets(tmp_path: Path) -> None:
    made: dict[str, Any] = {"seconds": 0.4, "sound": None}
    base = (*X264, "-profile:v", "baseline", "-level:v", "4.1")
    theirs = parameter_sets(header_of(make_source(tmp_path / "a.mp4", picture=base, **made)))
    assert theirs.unused_id == 1
    high = (*X264, "-profile:v", "high", "-x264-params", "sps-id=1")
    ours = parameter_sets(header_of(make_source(tmp_path / "b.mp4", picture=high, **made)))
    both = theirs.combined_with(ours)
    assert [sequence.id for sequence in both.sequences] == [0, 1]
    assert both.unused_id == 2
    assert parameter_sets(both.header()) == both
    # Profile High, only the constraint flags that both sets have, and the higher level.
    assert tuple(both.header()[:4]) == (1, 100, 0, 41)


@pytest.mark.parametrize(
    "header", [b"", b"\1", b"\1\x64\0\x1f\xff\xe1", b"\1\x64\0\x1f\xff\xe1\0\x20"]
)
def test_a_damaged_header_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|start code"):
        parameter_sets(header)


def test_a_truncated_set_is_refused() -> None:
    with pytest.raises(ValueError, match="ends too early"):
        _ = ParameterSets(("6764",), ("68",)).sequences
