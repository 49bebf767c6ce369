"""Tightened shorts: their frames and samples, joins, captions and restored words."""

import subprocess
from fractions import Fraction
from pathlib import Path

import ffmpeg as command
import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.domain.removals import Removal, Timeline, TimeRange
from clipflow.domain.transcript import Word
from clipflow.jobs.tighten import CROSSFADE, join_sound
from clipflow.media.loudness import measure_loudness
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.jobs.test_render import pictures, whole, yellow
from tests.made_media import FFMPEG, frame_numbers, frame_times, samples
from tests.spoken import RATE, make_spoken

pytestmark = pytest.mark.slow

SPOKEN = [
    ("So", 0.2, 0.6),
    ("erm,", 0.9, 1.2),
    ("we", 1.5, 1.9),
    ("go", 3.3, 3.9),
    ("on.", 3.95, 4.4),
]
WORDS = [Word(text=text, start=start, end=end) for text, start, end in SPOKEN]


def talk(path: Path, rate: Fraction | int = 25) -> Path:
    return make_spoken(path, WORDS, seconds=5, rate=rate)


def removed(studio: Studio) -> dict[str, Removal]:
    assert studio.short
    assert studio.short.tightening
    return {removal.id: removal for removal in studio.short.tightening.removed}


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)])
def test_a_filler_and_a_silence_are_cut_to_the_frame(
    rate: Fraction | int, studio: Studio, tmp_path: Path
) -> None:
    studio.put(talk(tmp_path / "source.mp4", rate), WORDS)
    short = studio.make("0", "4.8", layout="fit", caption_style="none", tighten=True)
    cuts = removed(studio)
    assert list(cuts) == ["w1", "p3"]
    spans = [(Fraction(str(cut.start)), Fraction(str(cut.end))) for cut in cuts.values()]
    assert Fraction("0.6") < spans[0][0] < Fraction("0.9")
    assert Fraction("1.2") < spans[0][1] < Fraction("1.5")
    assert Fraction("1.9") < spans[1][0] < spans[1][1] < Fraction("3.3")
    frames = [Fraction(n) / Fraction(rate) for n in range(int(Fraction("4.8") * rate) + 1)]
    tolerance = Fraction(1, 1000)
    wanted = [
        n
        for n, time in enumerate(frames)
        if time < Fraction("4.8")
        and not any(a - tolerance <= time < b - tolerance for a, b in spans)
    ]
    assert frame_numbers(short, whole(320, 180)) == wanted
    # There are no gaps: each frame is shown at the time of its position.
    for place, time in enumerate(frame_times(short)):
        assert abs(time - place / Fraction(rate)) < tolerance
    sound = samples(short)[1]
    assert abs(len(sound) - len(wanted) * RATE / Fraction(rate)) < RATE / Fraction(rate) + 1024
    assert abs(measure_loudness(short) + 14) < 0.5


def test_every_sample_that_is_kept_is_in_its_place(tmp_path: Path) -> None:
    """The ramp's value is the number of each sample, except in the crossfades."""
    ramp = (np.arange(4 * RATE) % 65536 - 32768).astype("<i2")
    source, made = tmp_path / "ramp.pcm", tmp_path / "joined.pcm"
    source.write_bytes(ramp.tobytes())
    raw = {"format": "s16le", "ar": RATE, "ac": 1}
    ntsc = Fraction(1001, 30000)
    timeline = Timeline.without(
        [TimeRange(20 * ntsc, 31 * ntsc), TimeRange(60 * ntsc, 83 * ntsc)], Fraction(4)
    )
    stream = join_sound(command.input(str(source), **raw)["a:0"], timeline, RATE)
    arguments = command.get_args(command.output(stream, str(made), format="s16le"))
    subprocess.run([FFMPEG, "-v", "error", *map(str, arguments)], check=True)
    joined = np.frombuffer(made.read_bytes(), "<i2")
    assert len(joined) == -(-timeline.duration * RATE // 1)
    half = round(CROSSFADE * RATE / 2)
    for piece, start in zip(timeline.pieces, timeline.starts, strict=True):
        place, first = round(start * RATE), round(piece.start * RATE)
        count = round(piece.duration * RATE) - half - 1
        kept = joined[place + half : place + count]
        assert (kept == ramp[first + half : first + count]).all()


def test_a_join_does_not_click(studio: Studio, tmp_path: Path) -> None:
    studio.put(talk(tmp_path / "source.mp4"), WORDS)
    short = studio.make("0", "4.8", layout="fit", caption_style="none", tighten=True)
    sound = np.array(samples(short)[1], dtype=float)
    joins, saved = [], 0.0
    for cut in removed(studio).values():
        joins.append(round((cut.start - saved) * RATE))
        saved += cut.end - cut.start
    # A click is a step: it has energy at frequencies far above the quiet tone of 310 Hz, which
    # continues through the join.
    quiet = above_a_kilohertz(sound[joins[1] - 6000 : joins[1] - 3000])
    for join in joins:
        assert above_a_kilohertz(sound[join - 1500 : join + 1500]) < 4 * quiet + 30


def above_a_kilohertz(sound: NDArray[np.float64]) -> float:
    """The largest amplitude of the sound above 1.5 kHz."""
    spectrum = np.fft.rfft(sound * np.hanning(len(sound)))
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(np.abs(np.fft.irfft(np.where(frequencies < 1500, 0, spectrum))).max())


def test_captions_follow_the_shortened_time_and_a_filler_can_be_restored(
    studio: Studio, tmp_path: Path
) -> None:
    studio.put(talk(tmp_path / "source.mp4"), WORDS)
    highlights = highlights_of(studio.make("0", "4.8", layout="fit", tighten=True))
    cuts = removed(studio)
    saved = cuts["w1"].end - cuts["w1"].start
    assert is_highlighted(highlights, 1.5 - saved, 1.9 - saved)
    saved += cuts["p3"].end - cuts["p3"].start
    assert is_highlighted(highlights, 3.3 - saved, 4.4 - saved)
    assert studio.short
    assert abs(float(studio.short.seconds) - (4.8 - saved)) < 0.001

    studio.restored = {"w1": "erm,", "p3": "another word"}
    short = studio.make("0", "4.8", layout="fit", tighten=True)
    # The pause is restored for another transcript's word, so it stays cut.
    assert [*removed(studio)] == ["p3"]
    assert [back.id for back in studio.short.tightening.restored] == ["w1"]  # type: ignore[union-attr]
    assert set(range(22, 30)) <= set(frame_numbers(short, whole(320, 180)))


def highlights_of(path: Path) -> dict[float, bool]:
    shown = zip(frame_times(path), pictures(path), strict=True)
    return {float(time): yellow(frame) is not None for time, frame in shown}


def is_highlighted(highlights: dict[float, bool], start: float, end: float) -> bool:
    return all(is_on for time, is_on in highlights.items() if start + 0.05 < time < end - 0.05)
