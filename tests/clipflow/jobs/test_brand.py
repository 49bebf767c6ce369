"""A brand in a rendered short: its logo, its music below the speech, its intro and outro."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from clipflow.domain.brands import Logo
from clipflow.domain.errors import InvalidInputError, TerminalError
from clipflow.domain.safe_zones import Box, safe_box
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.transcript import Word
from clipflow.jobs.brand import part_seconds, place_logo
from clipflow.jobs.looks import check_looks
from clipflow.media.loudness import measure_loudness
from tests.clipflow.jobs.reading import run
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.jobs.test_render import true_peak, whole, yellow
from tests.made_media import frame_numbers, frame_times, make_source

pytestmark = pytest.mark.slow

SPOKEN = [Word(text=word, start=n, end=n + 1) for n, word in enumerate(["one", "two", "three"])]
# A tone instead of speech, until 1.5 s and from 3 s on, with a pause between.
_SPEECH = "aevalsrc='0.3*sin(2*PI*300*t)*(lt(t,1.5)+gt(t,3))':s=48000:d=4.5"
_TONE = "sine=f=3000:r=44100:d=1"


@pytest.fixture
def branded(studio: Studio, tmp_path: Path) -> Studio:
    """A video of a tone with a pause in the middle, and the files of a brand beside it."""
    source, spoken, music = tmp_path / "s.mp4", tmp_path / "talk.mp4", tmp_path / "music.mp3"
    make_source(source, seconds=4.5, sound=None)
    run("-i", str(source), "-f", "lavfi", "-i", _SPEECH, "-c:v", "copy", "-c:a", "aac", str(spoken))
    run("-f", "lavfi", "-i", _TONE, str(music))
    studio.put(spoken, SPOKEN)
    silent = make_source(tmp_path / "i.mkv", size=(640, 360), seconds=1, rate=30, sound=None)
    intro, tone = tmp_path / "i.mp4", ("-f", "lavfi", "-i", "sine=f=500:d=1:r=48000")
    run("-i", str(silent), *tone, "-c:v", "copy", "-c:a", "aac", str(intro))
    outro = make_source(tmp_path / "o.mkv", size=(180, 320), seconds=1.4, rate=10, sound=None)
    logo = np.zeros((100, 200, 4), np.uint8)
    logo[:] = (0, 0, 255, 255)
    cv2.imwrite(str(tmp_path / "logo.png"), logo)
    cv2.imwrite(str(tmp_path / "logo.webp"), logo)
    for path in (music, intro, outro, tmp_path / "logo.png", tmp_path / "logo.webp"):
        studio.objects.upload(path, f"brand/{path.name}", {})
    return studio


def pictures(path: Path) -> Iterator[NDArray[Any]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def level(path: Path, start: float, end: float, frequency: float) -> float:
    """The level of one frequency in decibels."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    sound = np.concatenate(frames)[int(start * 48_000) : int(end * 48_000)]
    spectrum = abs(np.fft.rfft(sound * np.hanning(len(sound))))
    place = round(frequency * len(sound) / 48_000)
    return float(20 * np.log10(spectrum[place - 3 : place + 4].max() / len(sound) + 1e-9))


def test_a_brand_is_in_one_render_with_exact_times(branded: Studio) -> None:
    files = {"intro": "brand/i.mp4", "outro": "brand/o.mkv"}
    logo = {"file": "brand/logo.png", "corner": "top_left", "width": 0.2}
    music = {"file": "brand/music.mp3", "level": -22, "ducking": 12}
    brand = {**files, "logo": logo, "music": music}
    short = branded.make("0", "4.4", layout="fit", brand=brand)

    # All frames of intro, short and outro, at the short's rate, each at its own time.
    times = frame_times(short)
    wanted = [Fraction(n, 25) for n in range(25 + 110 + 35)]
    assert len(times) == len(wanted)
    assert all(
        abs(one - other) < Fraction(1, 1000) for one, other in zip(times, wanted, strict=True)
    )
    intro = frame_numbers(short, whole(640, 360))[:25]
    assert intro == sorted(set(intro)) and (intro[0], intro[-1]) == (0, 29)
    assert frame_numbers(short, whole(320, 180))[25:135] == list(range(110))
    assert sorted(set(frame_numbers(short, whole(180, 320))[-35:])) == list(range(14))
    with av.open(str(short)) as container:
        assert container.duration is not None
        assert abs(container.duration / 1e6 - 6.8) < 0.05
    record = branded.short
    assert record and record.duration == "00:00:06"
    assert record.thumbnail and 1 <= record.thumbnail.time < 5.4
    stored = branded.objects.head(branded.keys.short(1))
    assert stored and part_seconds(stored) == pytest.approx((1, 1.4), abs=0.01)

    # The logo is in its corner in its colour, only during the short. So are the captions.
    box = place_logo(Logo(file="x", corner="top_left"), (1080, 1920), (216, 108), [])
    seen = list(pictures(short))
    for number, picture in enumerate(seen):
        inside = picture[box.top + 4 : box.bottom - 4, box.left + 4 : box.right - 4].reshape(-1, 3)
        is_red = bool(np.all(np.abs(inside.mean(axis=0) - (255, 0, 0)) < 12))
        assert is_red == (25 <= number < 135), number
    with av.open(str(short)) as container:
        highlighted = [yellow(frame) for frame in container.decode(video=0)]
    assert not any(highlighted[:25]) and all(highlighted[27:98]) and not any(highlighted[135:])

    # The music is lower under speech than in the pause, and all of it at the platforms' level.
    speech, pause = level(short, 1.6, 2.4, 3000), level(short, 3.1, 3.9, 3000)
    assert pause - speech > 8
    assert level(short, 6.0, 6.8, 3000) < pause - 30
    assert abs(measure_loudness(short) + 14) < 1
    assert true_peak(short) <= -1


def test_loud_music_does_not_add_to_the_loudness_of_speech(studio: Studio, tmp_path: Path) -> None:
    noise = "anoisesrc=color=pink:a={}:d=6:r=48000:seed={}"
    source, music = tmp_path / "talk.mkv", tmp_path / "music.mp3"
    silent = make_source(tmp_path / "s.mp4", seconds=6, sound=None)
    spoken = ("-f", "lavfi", "-i", noise.format(0.3, 1))
    run("-i", str(silent), *spoken, "-c:v", "copy", "-c:a", "aac", str(source))
    run("-f", "lavfi", "-i", noise.format(1, 2), str(music))
    studio.put(source, SPOKEN)
    studio.objects.upload(music, "brand/loud.mp3", {})
    brand = {"music": {"file": "brand/loud.mp3", "level": -16, "ducking": 0}}
    short = studio.make("0", "6", layout="fit", brand=brand)
    assert abs(measure_loudness(short) + 14) < 0.7


def test_a_brand_without_speech_has_its_music_at_full_level(
    studio: Studio, branded: Studio, tmp_path: Path
) -> None:
    studio.put(make_source(tmp_path / "silent.mp4", seconds=3, sound=None))
    music = {"music": {"file": "brand/music.mp3"}}
    short = studio.make("0", "3", layout="fit", caption_style="none", brand=music)
    assert abs(measure_loudness(short) + 14) < 1


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
@pytest.mark.parametrize("size", [(1080, 1920), (1080, 1080), (1920, 1080)])
def test_a_logo_is_in_the_safe_area_and_covers_no_captions(
    corner: Any, size: tuple[int, int]
) -> None:
    captions = [Box(0, size[1] - 400, size[0], size[1] - 180)]
    box, safe = place_logo(Logo(file="x", corner=corner), size, (200, 90), captions), safe_box(size)
    assert safe.left <= box.left and box.right <= safe.right
    assert safe.top <= box.top and box.bottom <= safe.bottom
    assert not box.overlaps(captions[0])


HOSTILE: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "no image": ({"logo": {"file": "x.png"}}, b"<svg onload=alert(1)/>", "logo.file"),
    "a corrupt image": (
        {"logo": {"file": "x.png"}},
        b"\x89PNG\r\n\x1a\n" + b"\0" * 80,
        "logo.file",
    ),
    "a playlist": ({"intro": "x.mp4"}, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "intro: x"),
    "no music": (
        {"music": {"file": "x.mp3"}},
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        "music.file: x.mp3",
    ),
    "no number": ({"logo": {"file": "x.png", "width": 9e99}}, b"", "logo.width"),
    "an unknown field": ({"logos": {}}, b"", "logos"),
    "a path": ({"intro": "../../x.mp4"}, b"", "intro"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_invalid_brand_is_refused_by_field_before_any_work(
    name: str, studio: Studio, tmp_path: Path
) -> None:
    brand, data, field = HOSTILE[name]
    for key in ("x.png", "x.mp4", "x.mp3"):
        (tmp_path / key).write_bytes(data or b"x")
        studio.objects.upload(tmp_path / key, key, {})
    with pytest.raises(TerminalError, match=field):
        check(brand, studio, tmp_path)


def check(brand: Any, studio: Studio, folder: Path) -> None:
    config = ShortsConfig.read({"segment_count": 1, "brand": brand}, "the config")
    check_looks(config, studio.objects, folder)


def test_a_brand_can_be_the_key_of_an_object_with_its_files_beside_it(branded: Studio) -> None:
    text = '{"logo": {"file": "logo.webp"}, "intro": "brand/i.mp4"}'
    branded.objects.put_text(text, "brand/brand.json", {}, "application/json")
    check("brand/brand.json", branded, branded.folder)
    with pytest.raises(InvalidInputError, match=r"brand: there is no object brand/none\.json"):
        check("brand/none.json", branded, branded.folder)
