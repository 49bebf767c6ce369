"""Which audio track of a source is cut and transcribed, and channel layouts of all kinds."""

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipflow.domain.errors import InvalidInputError, MediaRefusedError
from clipflow.domain.model import AudioTrack
from clipflow.media.fetching import fetch_window
from clipflow.media.output_format import common_format
from clipflow.media.probe import probe_sound, probe_source
from clipflow.media.smart_cut import smart_cut
from clipflow.media.source import LocalSource
from clipflow.media.streams import by_language
from clipflow.media.window import Span
from clipflow.speech import audio
from clipflow.speech.audio import RATE, samples
from tests.made_media import FFMPEG, a_machine
from tests.made_media import samples as decoded_samples

SECONDS = 2
# The frequency of each track's tone, in hertz.
TONES = (300, 700, 1500, 3100)


def with_tracks(path: Path, count: int, options: Sequence[str], rates: Sequence[str] = ()) -> Path:
    """A video of two seconds; its audio track `n` is a tone of `TONES[n]`."""
    tones = [f"sine=f={tone}:r=48000:d={SECONDS}" for tone in TONES[:count]]
    inputs = [part for tone in tones for part in ("-f", "lavfi", "-i", tone)]
    maps = [part for n in range(count) for part in ("-map", f"{n + 1}:a")]
    picture = f"testsrc=s=320x180:r=25:d={SECONDS}"
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", *rates]
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", picture, *inputs, "-map", "0:v"]
    subprocess.run([*command, *maps, *codecs, *options, str(path)], check=True)
    return path


def tone_of_clip(path: Path, folder: Path, track: AudioTrack | None = None) -> int:
    """The tone in a clip of the source's second half."""
    source = LocalSource(path)
    probe = probe_source(source, track)
    window = fetch_window(source, probe, Span(Fraction(1), Fraction(2)), folder / "window.nut")
    smart_cut(window, probe, common_format([probe]), folder / "cut.mp4", a_machine())
    rate, values = decoded_samples(folder / "cut.mp4")
    return tone(np.asarray(values), rate)


def tone_of_speech(path: Path, folder: Path, track: AudioTrack | None = None) -> int:
    """The tone in the sound that is transcribed."""
    source = LocalSource(path)
    audio.extract(source, probe_sound(source, track), folder / "sound.raw")
    return tone(np.asarray(samples(folder / "sound.raw")), RATE)


def tone(values: Any, rate: int) -> int:
    strength = np.abs(np.fft.rfft(values.astype(np.float64)))
    loudest = int(strength.argmax()) * rate / len(values)
    return min(TONES, key=lambda frequency: abs(frequency - loudest))


# A dub of a higher bit rate than the original.
BIT_RATES = ["-b:a:0", "48k", "-b:a:1", "160k"]
SECOND_IS_DEFAULT = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
BOTH_ARE_DEFAULT = ["-disposition:a:0", "default", "-disposition:a:1", "default"]


@pytest.mark.parametrize(
    ("container", "options", "expected"),
    [
        pytest.param("mp4", BOTH_ARE_DEFAULT, 0, id="MP4, both are default"),
        pytest.param("mkv", ["-disposition:a", "0"], 0, id="MKV, none is default"),
        pytest.param("mp4", SECOND_IS_DEFAULT, 1, id="MP4, the second is default"),
        pytest.param("mkv", SECOND_IS_DEFAULT, 1, id="MKV, the second is default"),
        pytest.param("ts", [], 0, id="TS, which has no default"),
        pytest.param(
            "mkv",
            ["-disposition:a:0", "comment", "-disposition:a:1", "0"],
            1,
            id="MKV, the first is a commentary",
        ),
    ],
)
def test_the_first_default_track_is_used_whatever_the_bit_rates(
    container: str, options: list[str], expected: int, tmp_path: Path
) -> None:
    path = with_tracks(tmp_path / f"two.{container}", 2, options, BIT_RATES)
    assert tone_of_clip(path, tmp_path) == TONES[expected]
    assert tone_of_speech(path, tmp_path) == TONES[expected]


LANGUAGES = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"]
LANGUAGES += ["-metadata:s:a:2", "language=fra"]


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_a_track_is_selected_by_its_number_or_its_language(container: str, tmp_path: Path) -> None:
    path = with_tracks(tmp_path / f"three.{container}", 3, LANGUAGES)
    for track, expected in ((2, 2), ("de", 1), ("deu", 1), ("fr-CA", 2), ("EN", 0), (None, 0)):
        assert tone_of_clip(path, tmp_path, track) == TONES[expected], track
    assert tone_of_speech(path, tmp_path, "fre") == TONES[2]
    for missing in (3, "it"):
        with pytest.raises(InvalidInputError, match=r"no audio track .*it has 0 \(eng\), 1 \(ger"):
            probe_source(LocalSource(path), missing)
    silent = with_tracks(tmp_path / f"none.{container}", 0, [])
    with pytest.raises(InvalidInputError, match="it has no sound"):
        probe_source(LocalSource(silent), "de")


def test_languages_of_every_kind_of_code_are_matched() -> None:
    assert by_language(["eng", "pt", "por", None, "pt-BR"], "pt-BR") == [4, 1, 2]
    assert by_language(["ger", "deu", "de-AT", "eng"], "de") == [0, 1, 2]
    assert by_language(["und", None, "chi"], "zh-Hans") == [2]
    assert by_language(["gsw"], "gsw") == [0]
    assert by_language([None, "eng"], "xx") == []


# Channels in QuickTime's order instead of libavutil's are an explicit list, which PyAV frees twice.
CUSTOM = ("FR+FL+FC+LFE+BL+BR+SL+SR", "FL+FR+LFE+FC+BC+SL+SR", "FR+FL")
NATIVE = ("6.1", "7.1", "7.1(wide)", "5.1", "hexadecagonal", "mono")
READ = """
import gc, sys
from pathlib import Path
from tests.clipflow.jobs import test_audio_tracks as tests
for path in map(Path, sys.argv[1:]):
    print(path.stem, tests.tone_of_clip(path, path.parent), tests.tone_of_speech(path, path.parent))
    gc.collect()
"""


def with_layout(path: Path, layout: str, codec: str) -> Path:
    """A video with one tone in every channel of the layout."""
    sound = f"sine=f={TONES[1]}:r=48000:d={SECONDS}"
    channels = len(layout.split("+"))
    if channels > 1:
        copies = "".join(f"[c{n}]" for n in range(channels))
        sound += f"[s];[s]asplit={channels}{copies};"
        sound += f"{copies}join=inputs={channels}:channel_layout={layout}"
    else:
        sound += f",aformat=cl={layout}"
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", sound, "-f", "lavfi"]
    command += ["-i", f"testsrc=s=320x180:r=25:d={SECONDS}", "-map", "1:v", "-map", "0:a"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", codec]
    subprocess.run([*command, str(path)], check=True)
    return path


def test_a_mov_with_channels_in_any_order_is_cut_and_transcribed(tmp_path: Path) -> None:
    """Run in another process, because the defect of PyAV aborts it with exit code 134."""
    layouts = [*((layout, "pcm_s16le") for layout in CUSTOM + NATIVE), ("7.1", "pcm_s24le")]
    paths = [
        with_layout(tmp_path / f"{number}.mov", *layout) for number, layout in enumerate(layouts)
    ]
    read = subprocess.run(
        [sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    expected = f"{TONES[1]} {TONES[1]}"
    assert read.stdout.splitlines() == [f"{path.stem} {expected}" for path in paths]


@pytest.mark.parametrize("count", [10, 16])
def test_channels_without_a_layout_are_cut(count: int, tmp_path: Path) -> None:
    times = np.arange(SECONDS * 48000) / 48000
    values = (8000 * np.sin(2 * np.pi * TONES[0] * times)).astype("<i2")
    raw, path = tmp_path / "raw", tmp_path / "many.mov"
    raw.write_bytes(np.repeat(values, count).tobytes())
    command = [FFMPEG, "-v", "error", "-y", "-f", "s16le", "-ar", "48000", "-ac", str(count)]
    command += ["-i", str(raw), "-f", "lavfi", "-i", f"testsrc=s=320x180:r=25:d={SECONDS}"]
    subprocess.run([*command, "-c:v", "libx264", "-c:a", "pcm_s16le", str(path)], check=True)
    assert tone_of_clip(path, tmp_path) == TONES[0]


def test_one_of_several_mono_tracks_is_cut(tmp_path: Path) -> None:
    tracks = with_tracks(tmp_path / "tracks.mov", 4, ["-c:a", "pcm_s16le", "-ac", "1"])
    assert tone_of_clip(tracks, tmp_path) == TONES[0]
    assert tone_of_clip(tracks, tmp_path, 3) == TONES[3]


def test_a_track_of_an_unknown_codec_is_skipped_unless_it_is_selected(tmp_path: Path) -> None:
    path = with_tracks(tmp_path / "two.mkv", 2, LANGUAGES[:4])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"A_AAC", b"A_XXX", 1))
    assert tone_of_clip(path, tmp_path) == TONES[1]
    for selected in (0, "en"):
        with pytest.raises(MediaRefusedError, match="can be decoded"):
            probe_source(LocalSource(path), selected)
