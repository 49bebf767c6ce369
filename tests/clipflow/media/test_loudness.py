"""The loudness of normalized audio: of speech at any level, with high peaks, and of noise."""

import json
import subprocess
from fractions import Fraction
from math import inf
from pathlib import Path

import ffmpeg as command
import pytest

from clipflow.domain.timecode import parse_timecode
from clipflow.media.loudness import TARGET, measure_loudness, normal_loudness, normalize
from tests.made_media import FFMPEG

SAMPLE = Path(__file__).parents[3] / "demo" / "sample"
RATE, START, END = 48_000, Fraction(40), Fraction(52)


def said() -> list[tuple[float, float]]:
    """The lines of the demo's talk in its part, in seconds from the part's start."""
    lines = json.loads((SAMPLE / "conversation.json").read_text())
    times = (
        tuple(float(parse_timecode(line[name]) - START) for name in ("startTime", "endTime"))
        for line in lines
    )
    return [(max(0.0, start), end) for start, end in times if end > 0 and start < END - START]


def part(path: Path, filters: str) -> Path:
    """A part of the demo's talk, filtered; `n` is the sound of a room."""
    talk = ("-ss", str(START), "-t", str(END - START), "-i", str(SAMPLE / "main.mp4"))
    noise = f"anoisesrc=a=0.00003:r={RATE}:d={END - START}[n]"
    chosen = ("-filter_complex", f"{noise};{filters}[out]", "-map", "[out]", "-c:a", "pcm_f32le")
    subprocess.run([FFMPEG, "-v", "error", *talk, *chosen, str(path)], check=True)
    return path


def normalized(path: Path, loudness: float) -> float:
    """The loudness of the file in LUFS after it is normalized from `loudness`."""
    made = path.with_suffix(".normal.wav")
    stream = normalize(command.input(str(path))["a:0"], loudness, RATE)
    arguments = command.get_args(command.output(stream, str(made), acodec="pcm_f32le"))
    subprocess.run([FFMPEG, "-v", "error", *map(str, arguments)], check=True)
    return measure_loudness(made)


@pytest.mark.parametrize(
    "filters",
    [
        "[0:a][n]amix=2:normalize=0:duration=first",
        # About -65 LUFS.
        "[0:a]volume=-46dB[v];[v][n]amix=2:normalize=0:duration=first",
        # High peaks, from which the limiter takes 2.6 dB.
        "[n]anullsink;[0:a]aeval='val(0)*(0.15+0.85*lt(mod(t,0.9),0.06))':c=same",
    ],
    ids=["speech", "very quiet speech", "speech with peaks"],
)
def test_speech_gets_the_loudness_of_the_platforms(filters: str, tmp_path: Path) -> None:
    path = part(tmp_path / "speech.wav", filters)
    loudness = normal_loudness(path, Fraction(0), END - START, words=said())
    assert abs(normalized(path, loudness) - TARGET) < 0.5


@pytest.mark.parametrize("noise", ["pink:a=0.006", "brown:a=0.008"])
def test_noise_is_not_amplified_because_of_subtitles(noise: str, tmp_path: Path) -> None:
    source = f"[n]anullsink;anoisesrc=color={noise}:r={RATE}:d={END - START}"
    path = part(tmp_path / "noise.wav", source)
    assert -70 < measure_loudness(path) < -50
    assert normal_loudness(path, Fraction(0), END - START, words=said()) == -inf


def test_quiet_sound_without_words_is_noise(tmp_path: Path) -> None:
    path = part(tmp_path / "part.wav", "[n]anullsink;[0:a]volume=-46dB")
    assert normal_loudness(path, Fraction(0), END - START) == -inf
