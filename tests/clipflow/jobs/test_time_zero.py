"""Where the times of a source begin and end, and which frame is shown between its frames."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from clipflow.domain.errors import MediaRefusedError
from clipflow.domain.transcript import Word
from clipflow.media.probe import probe_sound, probe_source
from clipflow.media.source import LocalSource
from tests.clipflow.jobs.cutting import Cutter
from tests.clipflow.jobs.reading import remuxed, run
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.jobs.test_render import pictures, yellow
from tests.made_media import (
    clicks,
    flashes,
    frame_numbers,
    frame_times,
    furthest_apart,
    make_source,
)

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0")
AAC = ("-c:a", "aac")
# The picture begins this many seconds after the sound.
DELAY = "1.8"


def late_picture(path: Path, seconds: int = 7) -> Path:
    """A source whose sound has a click each second, and whose picture begins at `DELAY`."""
    whole = make_source(path.with_name("whole.mp4"), seconds=seconds, clicks=True, sound=AAC)
    both = ("-itsoffset", DELAY, "-i", str(whole), "-i", str(whole))
    run(*both, "-map", "0:v", "-map", "1:a", "-c", "copy", str(path))
    return path


def frames_from(start: str, end: str, delay: str = DELAY) -> list[int]:
    """The numbers of the frames in a span, where frame 0 is shown at `delay`."""
    times = ((n, Fraction(delay) + Fraction(n, 25)) for n in range(2000))
    return [n for n, time in times if Fraction(start) <= time < Fraction(end)]


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv", "ts"])
def test_times_count_from_the_sound_where_it_begins_first(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    head = cutter.put(late_picture(tmp_path / f"late.{suffix}"))
    segment = cutter.cut(head, "2.905", "5.905")
    shown = frame_numbers(segment)
    assert len(shown) == 75
    # TS and MKV store the padding that AAC begins with, so their clocks are ahead by 21 ms.
    assert abs(shown[0] - frames_from("2.905", "5.905")[0]) <= 1
    assert shown == list(range(shown[0], shown[0] + 75))
    assert len(clicks(segment)) == 3
    assert all(abs(click % 1 - Fraction("0.095")) < Fraction(1, 40) for click in clicks(segment))
    # Frame 50 is 2 s after the picture's start, so 0.8 s after a click.
    lags = [flash - click for flash, click in zip(flashes(segment), clicks(segment), strict=True)]
    assert all(abs(abs(lag) - Fraction("0.8")) < Fraction(1, 100) or
               abs(abs(lag) - Fraction("0.2")) < Fraction(1, 100) for lag in lags)  # fmt: skip


def test_a_caption_is_highlighted_while_its_word_is_spoken(studio: Studio, tmp_path: Path) -> None:
    # The click at 4 s is the word.
    words = [
        Word(text="before", start=3.2, end=3.6),
        Word(text="beep", start=4.0, end=4.2),
        Word(text="after", start=4.5, end=4.9),
    ]
    studio.put(late_picture(tmp_path / "late.mov"), words)
    short = studio.make("3", "5.5", layout="fit", aspect="16:9")
    click = clicks(short)[1]
    assert abs(click - 1) < Fraction(1, 20)
    places = [yellow(frame) for frame in pictures(short)]
    times = frame_times(short)
    changes = [
        float(time)
        for time, place, last in zip(times[1:], places[1:], places, strict=False)
        if place and place != last
    ]
    assert any(abs(change - float(click)) <= 0.06 for change in changes)


def test_the_first_frame_is_shown_from_the_beginning(cutter: Cutter, tmp_path: Path) -> None:
    segment = cutter.cut(cutter.put(late_picture(tmp_path / "late.mov")), "0", "3")
    assert frame_numbers(segment) == list(range(30))
    times = frame_times(segment)
    assert times[0] == 0
    assert abs(times[1] - Fraction("1.84")) < Fraction(1, 1000)


@pytest.mark.parametrize("suffix", ["mov", "mkv", "ts"])
def test_a_span_before_the_first_frame_shows_that_frame(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    head = cutter.put(late_picture(tmp_path / f"late.{suffix}", 3))
    for start, end, count in (("0", "0.8", 1), ("0.9", "1.7", 1)):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == [0]
        assert frame_times(segment)[0] < Fraction(1, 1000)
        assert len(clicks(segment)) == count
    clip = cutter.stitch()[0]
    assert frame_numbers(clip) == [0, 0]
    assert frame_times(clip)[1] == pytest.approx(0.8, abs=0.001)


def test_words_count_from_the_sound_where_it_begins_first(tmp_path: Path) -> None:
    source = LocalSource(late_picture(tmp_path / "late.mov"))
    sound = probe_sound(source)
    assert sound.start == 0
    assert sound.duration
    assert abs(sound.duration - Fraction("8.8")) < Fraction(1, 100)


SLIDES = (
    "-vf",
    "select='eq(n,0)+eq(n,110)+eq(n,550)+eq(n,560)'",
    "-fps_mode",
    "passthrough",
)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "webm"])
def test_a_frame_is_shown_until_the_next_one(suffix: str, cutter: Cutter, tmp_path: Path) -> None:
    """A recording of a screen has frames only where it changes: at 0, 4.4, 22 and 22.4 s."""
    codecs: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "webm": (("-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "2"), ("-c:a", "libopus"))
    }
    picture, sound = codecs.get(suffix, (("-c:v", "libx264", "-g", "2", "-bf", "0"), AAC))
    source = make_source(
        tmp_path / f"s.{suffix}", seconds=27, picture=picture, sound=sound, filters=SLIDES
    )
    head = cutter.put(source)
    spans = [("1", "3"), ("5", "21"), ("20", "24"), ("24", "26")]
    wanted = [[0], [110], [110, 550, 560], [560]]
    for (start, end), numbers in zip(spans, wanted, strict=True):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == numbers
        assert frame_times(segment)[0] < Fraction(1, 100)
    clip = cutter.stitch()[0]
    assert frame_numbers(clip) == [number for numbers in wanted for number in numbers]
    begun = [float(time) for time in frame_times(clip)]
    assert begun == pytest.approx([0, 2, 18, 20, 20.4, 22], abs=0.01)


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_slides_keep_the_sound_that_is_stored_long_before_them(
    suffix: str, cutter: Cutter, tmp_path: Path
) -> None:
    # The encoder looks ahead by more pictures than there are, so all of them are behind the sound.
    source = make_source(
        tmp_path / f"s.{suffix}",
        size=(160, 96),
        rate=10,
        seconds=100,
        picture=("-c:v", "libx264", "-g", "3"),
        sound=AAC,
        clicks=True,
        filters=("-vf", "select='not(mod(n,100))'", "-fps_mode", "passthrough"),
    )
    head = cutter.put(source)
    for start, end, numbers in (
        ("31", "34", [300]),
        ("55.5", "62.5", [500, 600]),
        ("72", "75", [700]),
    ):
        segment = cutter.cut(head, start, end)
        assert frame_numbers(segment) == numbers
        heard = [float(Fraction(start) + click) for click in clicks(segment)]
        wanted = range(ceil(Fraction(start)), ceil(Fraction(end)))
        # The sound is ahead by 21 ms in TS, so that a click may be a little before its second.
        assert {round(time) for time in heard} >= set(wanted)
        assert all(abs(time - round(time)) < 0.03 for time in heard)


@pytest.mark.parametrize(("suffix", "codec"), [("flv", "libx264"), ("mkv", "libx265")])
def test_a_frame_is_shown_until_the_next_one_in_a_format_with_few_decoding_times(
    suffix: str, codec: str, cutter: Cutter, tmp_path: Path
) -> None:
    # The frames are shown at 0, 1.6 and 3.6 s, and the second one is decoded last.
    picture = ["-c:v", codec, "-preset", "ultrafast", "-g", "50", "-bf", "2"]
    picture += ["-x265-params", "bframes=2"] if codec == "libx265" else []
    filters = ("-vf", "select='eq(n,0)+eq(n,40)+eq(n,90)'", "-fps_mode", "passthrough")
    head = cutter.put(
        make_source(
            tmp_path / f"s.{suffix}", seconds=6, picture=picture, sound=AAC, filters=filters
        )
    )
    spans = [("0.5", "1.5"), ("1.7", "3.5"), ("4", "5.5")]
    assert [frame_numbers(cutter.cut(head, *span)) for span in spans] == [[0], [40], [90]]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov", "avi"])
def test_a_source_lasts_as_long_as_its_sound(suffix: str, cutter: Cutter, tmp_path: Path) -> None:
    whole = make_source(tmp_path / "whole.mp4", seconds=8, clicks=True, sound=AAC)
    path = tmp_path / f"s.{suffix}"
    # libavformat returns no duration of PCM in AVI.
    sound = "pcm_s16le" if suffix == "avi" else "copy"
    run("-t", "4", "-i", str(whole), "-i", str(whole), "-map", "0:v", "-map", "1:a",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", sound, str(path))  # fmt: skip
    head = cutter.put(path)
    assert probe_sound(LocalSource(path)).duration == pytest.approx(8, abs=0.1)
    duration = cutter.probe(head).duration
    assert duration
    assert abs(duration - 8) < Fraction(1, 10)
    # The last frame is shown while the sound continues.
    assert frame_numbers(cutter.cut(head, "3.5", "7")) == list(range(88, 100))
    assert len(clicks(cutter.folder / "segment-0.mp4")) >= 3
    segment = cutter.cut(head, "5.5", "7.5")
    assert frame_numbers(segment) == [99]
    assert len(clicks(segment)) == 2


def test_the_duration_of_matroska_excludes_the_time_before_its_start(
    cutter: Cutter, tmp_path: Path
) -> None:
    whole = make_source(tmp_path / "whole.mp4", seconds=6, clicks=True, sound=AAC)
    late = remuxed(whole, tmp_path / "late.mkv", ("-output_ts_offset", "36000"))
    head = cutter.put(late)
    duration = cutter.probe(head).duration
    assert duration
    assert abs(duration - 6) < Fraction(1, 10)
    sound = probe_sound(LocalSource(late))
    assert sound.duration
    assert abs(sound.duration - 6) < Fraction(1, 10)
    assert frame_numbers(cutter.cut(head, "2", "4")) == list(range(50, 100))


@pytest.mark.parametrize("b_frames", ["0", "2"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("begin", ["-0.1", "-0.2", "-0.5"])
def test_matroska_that_begins_before_zero_is_cut_completely(
    begin: str, codec: str, b_frames: str, cutter: Cutter, tmp_path: Path
) -> None:
    picture = ["-c:v", codec, "-preset", "ultrafast", "-g", "25", "-bf", b_frames]
    if codec == "libx265":
        picture += ["-x265-params", f"log-level=error:bframes={b_frames}"]
    whole = make_source(tmp_path / "whole.mp4", seconds=6, clicks=True, sound=AAC, picture=picture)
    options = ("-output_ts_offset", begin, "-avoid_negative_ts", "disabled")
    head = cutter.put(remuxed(whole, tmp_path / "early.mkv", options))
    # Frames from before zero and from after it are stored in turns, and only the latter have times.
    assert frame_numbers(cutter.cut(head, "0", "1")) == list(range(25))
    # If no packet before zero has a time, the source begins at zero.
    segment = cutter.cut(head, "0.09", "2.09")
    shown = frame_numbers(segment)
    assert len(shown) == 50
    assert shown == list(range(shown[0], shown[0] + 50))
    assert furthest_apart(segment) < Fraction(1, 100)


@pytest.mark.parametrize("begin", ["-0.3", "-1"])
def test_matroska_that_begins_before_zero_is_cut_to_its_end(
    begin: str, cutter: Cutter, tmp_path: Path
) -> None:
    whole = make_source(tmp_path / "whole.mp4", seconds=6, clicks=True, sound=AAC)
    options = ("-output_ts_offset", begin, "-avoid_negative_ts", "disabled")
    path = remuxed(whole, tmp_path / "early.mkv", options)
    head = cutter.put(path)
    for duration in (cutter.probe(head).duration, probe_sound(LocalSource(path)).duration):
        assert duration
        assert duration == pytest.approx(6, abs=0.05)
    segment = cutter.cut(head, "5.5", "6")
    assert frame_numbers(segment)[-1] == 149
    assert len(frame_numbers(segment)) in (12, 13)


@pytest.mark.parametrize("streams", ["-c", "-an", "-vn"])
def test_matroska_that_begins_long_before_zero_is_refused(streams: str, tmp_path: Path) -> None:
    # libavformat reads nothing of the first two seconds at their time.
    whole = make_source(tmp_path / "whole.mp4", seconds=6, clicks=True, sound=AAC)
    options = ("-output_ts_offset", "-2", "-avoid_negative_ts", "disabled")
    kinds = () if streams == "-c" else (streams,)
    source = LocalSource(remuxed(whole, tmp_path / "early.mkv", (*kinds, *options)))
    probes = {"-c": (probe_source, probe_sound), "-an": (probe_source,), "-vn": (probe_sound,)}
    for probe in probes[streams]:
        with pytest.raises(MediaRefusedError, match="begins before its time zero"):
            probe(source)
