"""Sources with codecs that NUT lacks, with changing audio formats, or that do not decode."""

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from clipflow.domain.errors import MediaRefusedError
from clipflow.media.loudness import measure_loudness
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import FFMPEG, clicks, frame_numbers, frame_times, make_source, samples

PRORES = ("-c:v", "prores")
DNXHD = ("-c:v", "dnxhd", "-profile:v", "dnxhr_lb")
ANIMATION = ("-c:v", "qtrle")

SOURCES: dict[str, dict[str, Any]] = {
    "prores.mov": {"picture": PRORES, "sound": ("-c:a", "pcm_s16le"), "sample_rate": 44100},
    "ut.avi": {"picture": ("-c:v", "utvideo"), "sound": ("-c:a", "pcm_s16le")},
    "ut.nut": {"picture": ("-c:v", "utvideo"), "sound": ("-c:a", "pcm_s16le")},
    "prores.mkv": {"picture": PRORES, "rate": Fraction(30000, 1001)},
    "dnxhd.mov": {
        "picture": DNXHD,
        "sound": ("-c:a", "pcm_s24le"),
        "size": (320, 240),
        "rate": Fraction(30000, 1001),
    },
    "animation.mov": {"picture": ANIMATION, "sound": ("-c:a", "alac")},
    "alac.mov": {"sound": ("-c:a", "alac")},
    "truehd.mkv": {"sound": ("-c:a", "truehd", "-strict", "-2"), "channels": 2},
}
SPANS = [("0", "0.5"), ("1.01", "2.34"), ("2.5", "3")]


@pytest.mark.parametrize("name", SOURCES)
def test_a_production_codec_is_cut_to_the_frame_and_the_sample(
    name: str, cutter: Cutter, tmp_path: Path
) -> None:
    made = SOURCES[name]
    rate = Fraction(made.get("rate", 25))
    head = cutter.put(make_source(tmp_path / name, seconds=4, **made))
    for start, end in SPANS:
        segment = cutter.cut(head, start, end)
        wanted = [n for n in range(120) if Fraction(start) <= n / rate < Fraction(end)]
        assert frame_numbers(segment) == wanted
        rounding = Fraction(1, 900) if name.endswith("mkv") else Fraction(1, 80_000)
        for time, number in zip(frame_times(segment), wanted, strict=True):
            assert abs(time - (number / rate - Fraction(start))) < rounding
        sample_rate, audio = samples(segment)
        assert sample_rate == made.get("sample_rate", 48000)
        first = round(Fraction(start) * sample_rate)
        length = round((Fraction(end) - Fraction(start)) * sample_rate)
        assert list(audio) == [n % 65536 - 32768 for n in range(first, first + length)]


def test_a_codec_without_an_encoder_is_cut(cutter: Cutter, tmp_path: Path) -> None:
    fast = ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-g", "25")
    head = cutter.put(make_source(tmp_path / "new.webm", seconds=2, sound=None, picture=fast))
    assert frame_numbers(cutter.cut(head, "0.5", "1.5")) == list(range(13, 38))


def test_a_codec_that_no_window_supports_is_refused_with_its_name(
    cutter: Cutter, tmp_path: Path
) -> None:
    screen: dict[str, Any] = {"picture": ("-c:v", "flashsv2"), "output": ("-pix_fmt", "bgr24")}
    source = make_source(tmp_path / "s.flv", seconds=1, sound=None, **screen)
    with pytest.raises(MediaRefusedError, match="its picture is flashsv2, which cannot be cut"):
        cutter.cut(cutter.put(source), "0", "0.5")


def damage(source: Path, selected: slice, **stream: int) -> None:
    """Overwrite the selected packets of the stream with zeros."""
    data = source.read_bytes()
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(**stream)][selected]
    for packet in packets:
        data = data.replace(packet, bytes(len(packet)))
    source.write_bytes(data)


def test_a_span_without_decodable_video_is_refused(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mkv", seconds=6)
    damage(source, slice(50, 100), video=0)
    with pytest.raises(MediaRefusedError, match="0 of 25 frames could be decoded"):
        cutter.cut(cutter.put(source), "2.5", "3.5")


def test_sound_without_decodable_packets_is_refused(cutter: Cutter, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mkv", seconds=3)
    damage(source, slice(15, None), audio=0)
    with pytest.raises(MediaRefusedError, match=r"No sound of .*s\.mkv can be decoded there"):
        cutter.cut(cutter.put(source), "2.5", "3")


def test_sound_that_changes_its_layout_keeps_its_time(cutter: Cutter, tmp_path: Path) -> None:
    segment = cutter.cut(cutter.put(_advert(tmp_path)), "0.5", "3.5")
    _, audio = samples(segment)
    assert len(audio) == 3 * 48000
    # The AC-3 encoder puts 256 samples before the first.
    expected = [second + Fraction(256, 48000) - Fraction("0.5") for second in (1, 2, 3)]
    found = clicks(segment)
    assert len(found) == 3
    apart = [abs(click - wanted) for click, wanted in zip(found, expected, strict=True)]
    assert max(apart) < Fraction(1, 1000)
    assert measure_loudness(tmp_path / "window.nut") > -60


def _advert(folder: Path) -> Path:
    """A broadcast of 4 s with a click each second, in stereo for 1.92 s and then in 5.1."""
    source = make_source(folder / "s.mkv", seconds=4, clicks=True)
    surround = "pan=5.1|" + "|".join(f"c{channel}=c0" for channel in range(6))
    parts = {
        "a": ("end_sample=91904", "pan=stereo|c0=c0|c1=c0"),
        "b": ("start_sample=92160", surround),
    }
    together = folder / "sound.ac3"
    run = [FFMPEG, "-v", "error", "-y", "-i"]
    with together.open("wb") as file:
        for name, (trim, pan) in parts.items():
            part = folder / f"{name}.ac3"
            filters = f"atrim={trim},asetpts=N/SR/TB,{pan}"
            subprocess.run([*run, str(source), "-vn", "-af", filters, str(part)], check=True)
            file.write(part.read_bytes())
    made = folder / "broadcast.ts"
    maps = ["-i", str(together), "-map", "0:v", "-map", "1:a", "-c", "copy", str(made)]
    subprocess.run([*run, str(source), *maps], check=True)
    return made
