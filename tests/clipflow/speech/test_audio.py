"""Extracted sound has the times of the video, and is split in its pauses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clipflow.domain.errors import MediaInterruptedError, MediaRefusedError
from clipflow.media.probe import probe_sound, probe_source
from clipflow.media.source import LocalSource
from clipflow.speech import audio
from clipflow.speech.audio import RATE, samples, split_at_quiet
from tests.made_media import make_source

PASSTHROUGH = ("-fps_mode", "passthrough")


def extracted(path: Path) -> Path:
    source, sound = LocalSource(path), path.with_suffix(".sound")
    audio.extract(source, probe_source(source), sound)
    return sound


def clicks(sound: Path) -> list[float]:
    loud = np.flatnonzero(np.abs(samples(sound)) > 6000) / RATE
    return [float(at) for at in loud[np.diff(loud, prepend=-1) > 0.1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "offset", "filters", "first", "missing"),
    [
        pytest.param("plain.mp4", 0.0, (), 0.0, (), id="as it is"),
        pytest.param("late.mkv", 0.7, (), 0.7, (), id="sound begins later"),
        pytest.param(
            "early.mkv", 0.0, ("-vf", "setpts=PTS+0.4/TB"), 0.0, (), id="sound begins earlier"
        ),
        pytest.param(
            "gap.mkv", 0.0, ("-af", r"aselect=not(between(t\,2.5\,4.5))"), 0.0, (3, 4), id="a gap"
        ),
    ],
)
def test_clicks_in_the_extracted_sound_have_the_times_of_the_video(
    tmp_path: Path,
    name: str,
    offset: float,
    filters: Sequence[str],
    first: float,
    missing: Sequence[int],
) -> None:
    path = make_source(
        tmp_path / name,
        seconds=8,
        clicks=True,
        sample_rate=44100,
        sound_offset=offset,
        filters=filters,
        sound=("-c:a", "aac", "-b:a", "192k") if name == "plain.mp4" else ("-c:a", "flac"),
        output=PASSTHROUGH,
    )
    expected = [first + second for second in range(8) if second not in missing]
    found = clicks(extracted(path))
    assert found == pytest.approx(expected, abs=0.003)


def test_a_source_that_ends_too_early_is_tried_again(tmp_path: Path) -> None:
    path = make_source(tmp_path / "source.mkv", seconds=20, sound=("-c:a", "flac"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaInterruptedError, match=r"source.mkv ended .* s before the end"):
        extracted(path)


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_concatenated_recordings_are_refused_instead_of_losing_sound(
    tmp_path: Path, suffix: str
) -> None:
    # Probing reads too little of the file to see that the timestamps restart after the first part.
    parts = [
        make_source(tmp_path / f"{seconds}{suffix}", seconds=seconds, sound=("-c:a", "aac"))
        for seconds in (2, 30)
    ]
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaRefusedError, match="contains several joined recordings"):
        extracted(path)


@pytest.mark.parametrize(
    "suffix",
    [".mp4", ".mov", ".wav", ".avi", ".flv", ".aiff", ".tta", ".caf", ".w64", ".asf", ".wv"],
)
def test_joined_files_are_refused_where_the_demuxer_reads_only_the_first(
    tmp_path: Path, suffix: str
) -> None:
    codecs = {".mp4": "aac", ".mov": "aac", ".flv": "aac", ".asf": "wmav2", ".tta": "tta"}
    codecs[".wv"] = "wavpack"
    codec = ("-c:a", codecs.get(suffix, "pcm_s16be" if suffix == ".aiff" else "pcm_s16le"))
    has_picture = suffix in (".mp4", ".mov", ".avi", ".flv")
    picture = () if has_picture else ("-vn",)
    part = make_source(tmp_path / f"part{suffix}", seconds=2, sound=codec, output=picture)
    source = LocalSource(part)
    audio.extract(source, probe_sound(source), tmp_path / "sound")
    joined = LocalSource(tmp_path / f"joined{suffix}")
    joined.path.write_bytes(2 * part.read_bytes())
    with pytest.raises(MediaRefusedError, match="several joined recordings: a second header"):
        audio.extract(joined, probe_sound(joined), tmp_path / "sound")


def test_a_long_sound_is_split_where_it_is_quiet() -> None:
    sound = np.full(25 * RATE, 1000, np.int16)
    sound[9 * RATE : 10 * RATE] = 0
    sound[17 * RATE : 18 * RATE] = 0
    first, second, third = split_at_quiet(sound, 0, len(sound), 10 * RATE, 3 * RATE)
    assert 9 * RATE <= first.stop <= 10 * RATE
    assert 17 * RATE <= second.stop <= 18 * RATE
    assert (first.start, second.start, third) == (0, first.stop, range(second.stop, len(sound)))


@pytest.mark.parametrize("gap", [0.15, 0.3, 2.0])
def test_a_sound_is_split_inside_a_short_pause(gap: float) -> None:
    sound = np.full(25 * RATE, 1000, np.int16)
    pauses = [range(round(at * RATE), round((at + gap) * RATE)) for at in (11.0, 22.5)]
    for pause in pauses:
        sound[pause.start : pause.stop] = 0
    bounds = [part.stop for part in split_at_quiet(sound, 0, len(sound), 13 * RATE, 4 * RATE)]
    assert [bound in pause for bound, pause in zip(bounds, pauses, strict=False)] == [True, True]
