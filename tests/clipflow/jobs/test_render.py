"""Shorts of many kinds of sources: frame times, audio sync, loudness and readable captions."""

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from clipflow.domain.layouts import Content, Layout
from clipflow.domain.transcript import Word
from clipflow.media.loudness import measure_loudness
from tests.clipflow.jobs.studio import Studio
from tests.made_media import FFMPEG, clicks, frame_numbers, frame_times, make_source, samples

pytestmark = pytest.mark.slow

# In seconds: the longest time for which a short shows one picture, with rounding.
LONGEST = Fraction(1, 25) + Fraction(1, 1000)
NTSC = Fraction(30000, 1001)
VARIABLE = ("-vf", "select='not(mod(n,7))+not(mod(n,5))'", "-fps_mode", "passthrough")
HDR = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params")
HDR_TAGS = "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"


def made(path: Path, **how: Any) -> Path:
    return make_source(path, **{"sound": ("-c:a", "aac"), **how})


def whole(width: int, height: int) -> tuple[int, int, int, int]:
    """The region of a short in which a picture of this shape is shown completely."""
    scale = min(1080 / width, 1920 / height)
    shown = 2 * round(width * scale / 2), 2 * round(height * scale / 2)
    return (1080 - shown[0]) // 2, (1920 - shown[1]) // 2, *shown


@pytest.mark.parametrize(
    ("size", "rate"),
    [
        ((320, 180), 25),
        ((240, 180), NTSC),
        ((180, 320), 60),
        ((3840, 2160), 24),
    ],
)
def test_every_frame_is_shown_once_at_its_own_time(
    size: tuple[int, int], rate: Fraction | int, studio: Studio, tmp_path: Path
) -> None:
    seconds = 2 if size[0] > 1920 else 6
    studio.put(made(tmp_path / "source.mp4", size=size, rate=rate, seconds=seconds, clicks=True))
    end = Fraction(seconds) - Fraction(1, 4)
    short = studio.make("0.5", str(end), layout="blur", caption_style="none")
    wanted = [n for n in range(int(seconds * rate)) if Fraction("0.5") <= n / Fraction(rate) < end]
    assert frame_numbers(short, whole(*size)) == wanted
    for shown, number in zip(frame_times(short), wanted, strict=True):
        assert abs(shown - (number / Fraction(rate) - Fraction("0.5"))) < Fraction(1, 10_000)
    click_times = [round(float(time), 2) for time in clicks(short)]
    assert click_times == [n + 0.5 for n in range(seconds - 1)]


def test_a_variable_frame_rate_keeps_its_times(studio: Studio, tmp_path: Path) -> None:
    studio.put(made(tmp_path / "variable.mp4", seconds=6, filters=VARIABLE))
    short = studio.make("1", "5", layout="blur", caption_style="none")
    wanted = [n for n in range(25, 125) if n % 7 == 0 or n % 5 == 0]
    times, numbers = frame_times(short), frame_numbers(short, whole(320, 180))
    # Each frame is repeated until the next one, and begins at its time in the source.
    begun = {number: times[numbers.index(number)] for number in numbers}
    assert begun == {number: Fraction(number, 25) - 1 for number in wanted}
    assert numbers == sorted(numbers)
    assert max(later - time for time, later in pairwise(times)) < LONGEST


@pytest.mark.parametrize(
    ("rate", "container"),
    [(Fraction(1, 2), "mp4"), (5, "mkv"), (NTSC / 2, "mp4"), (12, "ts")],
)
def test_every_word_is_highlighted_at_low_frame_rates_of_the_source(
    rate: Fraction | int, container: str, studio: Studio, tmp_path: Path
) -> None:
    words = [
        Word(text=word, start=1.1 + 0.3 * n, end=1.4 + 0.3 * n) for n, word in enumerate("abcdef")
    ]
    source = made(tmp_path / f"source.{container}", seconds=4, rate=rate, clicks=True)
    studio.put(source, words)
    short = studio.make("0", "4", layout="blur")
    times = frame_times(short)
    assert len(times) >= 25 * (4 - Fraction(1, 10))
    assert max(later - time for time, later in pairwise(times)) < LONGEST
    highlighted = {
        float(time): yellow(frame) for time, frame in zip(times, pictures(short), strict=True)
    }
    for word in words:
        assert all(
            places
            for time, places in highlighted.items()
            if word.start + 0.04 < time < word.end - 0.04
        )
    assert len(
        {highlighted[min(t for t in highlighted if t >= word.start + 0.05)] for word in words}
    ) == len(words)
    assert not any(places for time, places in highlighted.items() if time < 1.05 or time > 3.3)


def test_24_frames_a_second_are_kept(studio: Studio, tmp_path: Path) -> None:
    studio.put(made(tmp_path / "film.mkv", seconds=3, rate=Fraction(24000, 1001)))
    short = studio.make("1", "2.5", layout="blur", caption_style="none")
    wanted = [n for n in range(72) if 1 <= n * Fraction(1001, 24000) < Fraction("2.5")]
    assert frame_numbers(short, whole(320, 180)) == wanted


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_fills_the_whole_picture(
    layout: Layout, studio: Studio, tmp_path: Path
) -> None:
    white = ("-vf", "lutyuv=y=235:u=128:v=128")
    studio.put(made(tmp_path / "white.mp4", seconds=2, filters=white))
    short = studio.make("0", "2", layout=layout, caption_style="none")
    with av.open(str(short)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.pix_fmt) == (1080, 1920, "yuv420p")
        assert (audio.name, audio.rate, audio.channels) == ("aac", 48000, 2)
        frame = next(container.decode(video))
        assert (int(frame.colorspace), int(frame.color_trc)) == (1, 1)
    upper, lower = luma(short, 1, 480), luma(short, 1, 1440)
    assert upper > 225
    assert (lower < 120) if layout.has(Content.BACKGROUND) else (lower > 225)
    assert short.read_bytes().index(b"moov") < short.read_bytes().index(b"mdat")


def test_the_thumbnail_has_the_colour_of_its_frame(studio: Studio, tmp_path: Path) -> None:
    studio.put(made(tmp_path / "red.mp4", seconds=1, filters=("-vf", "lutyuv=y=80:u=100:v=220")))
    short = studio.make("0", "1", layout="crop", caption_style="none")
    with av.open(str(short)) as container:
        decoded = next(container.decode(video=0))
    frame = decoded.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert studio.short and studio.short.thumbnail
    content = studio.objects.data(studio.short.thumbnail.s3_key, 1 << 20)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None and picture.shape == frame.shape
    assert np.abs(picture[960, 540].astype(int) - frame[960, 540]).max() <= 4


def test_hdr_is_converted_to_sdr(studio: Studio, tmp_path: Path) -> None:
    source = made(tmp_path / "hdr.mp4", seconds=2, picture=(*HDR, HDR_TAGS))
    studio.put(source)
    short = studio.make("0", "2", layout="blur", caption_style="none")
    with av.open(str(short)) as container:
        frame = next(container.decode(video=0))
        tags = (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace))
        assert tags == (1, 1, 1)
    assert frame_numbers(short, whole(320, 180)) == list(range(50))


def test_hdr_that_only_the_container_declares_is_converted_to_sdr(
    studio: Studio, tmp_path: Path
) -> None:
    # As YouTube's files are: VP9 has no tag for its transfer function in the packets.
    tags = "color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    scale = "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    vp9 = ("-c:v", "libvpx-vp9", "-profile:v", "2", "-deadline", "realtime", "-cpu-used", "8")
    source = make_source(
        tmp_path / "hdr.webm",
        seconds=1,
        picture=vp9,
        output=("-pix_fmt", "yuv420p10le"),
        filters=("-vf", f"{scale},setparams={tags}"),
        sound=("-c:a", "libopus"),
    )
    studio.put(source)
    short = studio.make("0", "1", layout="fit", caption_style="none")
    with av.open(str(short)) as container:
        frame = next(container.decode(video=0))
    assert (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace)) == (1, 1, 1)
    assert frame_numbers(short, whole(320, 180)) == list(range(25))


def test_auto_with_a_background_is_a_stack_and_loops_a_short_background(
    studio: Studio, tmp_path: Path
) -> None:
    # A second of white, then a second of black, with audio that must not be in the short.
    turn = "format=yuv420p,geq=lum='if(lt(N,25),235,16)':cb=128:cr=128"
    background = made(tmp_path / "below.mov", seconds=2, filters=("-vf", turn), clicks=True)
    studio.objects.upload(background, "below.mov", {})
    studio.put(made(tmp_path / "source.mp4", seconds=8, rate=30))
    short = studio.make("0", "7", background_video="below.mov", caption_style="none")
    is_bright = [luma(short, time, 1440) > 128 for time in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5)]
    assert is_bright == [True, False] * 3 + [True]
    assert studio.framing and {span.layout for span in studio.framing.layouts} == {Layout.STACK}
    assert len(frame_times(short)) == 210


@pytest.mark.parametrize("gain", ["-30dB", "0dB", "12dB"])
def test_speech_has_the_loudness_of_the_platforms(
    gain: str, studio: Studio, tmp_path: Path
) -> None:
    talk, source = Path("demo/sample/main.mp4").resolve(), tmp_path / "talk.mp4"
    loud = ("-af", f"volume={gain}", "-c:v", "copy", "-c:a", "flac", "-strict", "-2")
    subprocess.run([FFMPEG, "-v", "error", "-i", talk, *loud, source], check=True)
    studio.put(source)
    short = studio.make("40", "52")
    assert abs(measure_loudness(short) + 14) < 0.5
    assert true_peak(short) <= -1.5


def test_silence_stays_silent(studio: Studio, tmp_path: Path) -> None:
    studio.put(made(tmp_path / "mute.mp4", seconds=2, sound=None))
    _, sound = samples(studio.make("0", "2"))
    assert len(sound) >= 2 * 48_000
    # Out of 32768: the AAC encoder adds a little noise to digital silence.
    assert max(map(abs, sound)) <= 1


TEXTS = {
    "english": ["Every", "word", "can", "be", "read", "15%."],
    "arabic": ["كل", "كلمة", "يمكن", "أن", "تقرأ", "هنا"],
    "chinese": list("每个字都能看清楚"),
    "emoji": ["café", "naïve", "🙂", "👍🏽", "№", "Ωmega"],
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("layout", [Layout.STACK, Layout.CROP])
def test_each_word_is_highlighted_while_it_is_spoken(
    text: list[str], layout: Layout, studio: Studio, tmp_path: Path
) -> None:
    words = [Word(text=word, start=2 + 0.4 * n, end=2.36 + 0.4 * n) for n, word in enumerate(text)]
    studio.put(made(tmp_path / "source.mp4", seconds=8, rate=30), words)
    short = studio.make("1", "7", layout=layout)
    highlighted = [yellow(frame) for frame in pictures(short)]
    begins, ends = 30, 30 + round(30 * (0.4 * len(text)))
    assert not any(highlighted[:begins])
    assert all(highlighted[begins : ends - 1])
    # The columns of the highlighted word change with each word.
    places = [highlighted[begins + round(12 * n) + 5] for n in range(len(text))]
    assert len(set(places)) > 1
    left, right = min(p[0] for p in highlighted if p), max(p[1] for p in highlighted if p)
    assert left >= 160
    assert right <= 920


def test_plain_captions_highlight_no_word(studio: Studio, tmp_path: Path) -> None:
    words = [Word(text="plain", start=0.5, end=1.5), Word(text="text", start=1.5, end=2.0)]
    studio.put(made(tmp_path / "source.mp4", seconds=3), words)
    short = studio.make("0", "3", caption_style="plain")
    assert not any(yellow(frame) for frame in pictures(short))


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def luma(path: Path, time: float, row: int) -> int:
    """The brightness of the middle of a row."""
    for frame in pictures(path):
        if frame.time is not None and frame.time >= time - 0.001:
            plane = frame.planes[0]
            return memoryview(plane)[row * plane.line_size + 540]
    raise AssertionError(f"no frame at {time}")


def yellow(frame: av.VideoFrame) -> tuple[int, int] | None:
    """The first and last column of highlighted pixels; None if there are none."""
    blueness = frame.to_ndarray(format="yuv444p")[1]
    columns = (blueness < 70).any(axis=0).nonzero()[0]
    return (int(columns[0]), int(columns[-1])) if len(columns) else None


def true_peak(path: Path) -> float:
    """The true peak in dBTP, measured by ffmpeg's ebur128 filter."""
    log = subprocess.run(
        [FFMPEG, "-nostdin", "-i", str(path), "-af", "ebur128=peak=true"] + ["-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    return float(log.rsplit("Peak:", 1)[1].split()[0])
