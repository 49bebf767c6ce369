"""Captions in decoded frames, rendered by both ffmpegs without any font of the machine."""

import shutil
from fractions import Fraction
from itertools import accumulate, cycle, islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from clipflow.captions import ass
from clipflow.captions.groups import groups
from clipflow.captions.typefaces import FOLDER
from clipflow.domain.transcript import Word
from tests.clipflow.captions.drawing import CENTRE_Y, render_captions, words_of

pytestmark = pytest.mark.slow
both_ffmpegs = pytest.mark.usefixtures("_each_ffmpeg")

STEPS = {
    "23.976": [Fraction(1001, 24000)],
    "25": [Fraction(1, 25)],
    "30": [Fraction(1, 30)],
    "60": [Fraction(1, 60)],
    # As phones record: mostly 30 frames a second, some late and some close together.
    "variable": [Fraction(n, 90_000) for n in (3003, 2997, 6100, 1500, 3000, 1437, 9001, 2700)],
}
# In seconds: on a frame, less than a millisecond before or after one, and between frames. The last
# two are within one frame.
STARTS = (0.12, 0.334, 0.4, 0.5005, 0.734, 0.735)
LAST_END = 0.9


@both_ffmpegs
@pytest.mark.parametrize("rate", STEPS)
def test_each_word_is_highlighted_from_its_frame_without_flicker(rate: str, tmp_path: Path) -> None:
    times = list(islice(accumulate(cycle(STEPS[rate]), initial=Fraction(0)), 64))
    times = [Fraction(round(time * 90_000), 90_000) for time in times if time < 1.1]
    ends = (*STARTS[1:], LAST_END)
    words = [
        Word(text=text, start=start, end=end)
        for text, start, end in zip(("one", "two", "33", "ü", "hm", "x"), STARTS, ends, strict=True)
    ]
    assert len(groups(words)) == 2

    frames = render_captions(words, times, tmp_path)

    started = {frame.time: sum(Fraction(str(s)) <= frame.time for s in STARTS) for frame in frames}
    visible = [
        frame for frame in frames if started[frame.time] and frame.time < Fraction(str(LAST_END))
    ]
    assert all(bool(frame.ink.any()) == (frame in visible) for frame in frames)
    first_words = len(groups(words)[0].tokens)
    for one, next_one in pairwise(visible):
        if started[one.time] == started[next_one.time]:
            assert np.array_equal(one.yellow, next_one.yellow)
        elif started[one.time] <= first_words < started[next_one.time]:
            assert not one.has_text_of(next_one)
        else:
            assert one.has_text_of(next_one)
            assert next_one.highlight_x > one.highlight_x + 20


HOSTILE = [
    "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "W" * 45 + " jj",
    "internationalization misunderstandings responsibilities characteristically sesquipedalian",
    " ".join("今天我们来谈谈人工智能的未来發展方向以及它对我们生活的影响。"),
    "人工智能的未来发展方向以及它对我们生活的影响",
    "مرحبا بكم في هذا البرنامج الجديد، اليوم 2024 سنتحدث عن (التاريخ) 3.5%.",
    "👨\u200d👩\u200d👧\u200d👦🏳️\u200d🌈👍🏽1️⃣❤️🇫🇷 " + "😂" * 30,
    "สวัสดีครับวันนี้เราจะพูดถึงเรื่องปี่ที่ดีที่สุด ก็ตาม ป้ำ ฐี่",
    "שלום 123 עולם, זה מבחן של 45% טקסט (abc) ארוך.",
    "नमस्ते दोस्तों, क्षेत्र में स्वागत है। क्षत्रिय र्क्ष्म्य",
    "Z" + "\u0301\u0302\u0323" * 30 + "algo Ǻ Ậ Ỗ Ç Ģ",
    "\u202eevil\u202c \u2067x {\\an7}{\\pos(0,0)}x \\N\\h \\",
]


@both_ffmpegs
def test_nothing_is_drawn_outside_the_safe_box(tmp_path: Path) -> None:
    words: list[Word] = []
    for text in HOSTILE:
        words += words_of(text, at=words[-1].end + 1 if words else 0)
    times = [Fraction(n, 5) for n in range(round(words[-1].end * 5))]

    frames = render_captions(words, times, tmp_path)

    assert sum(frame.ink.any() for frame in frames) >= 2 * len(words) - 2
    for frame in frames:
        if frame.ink.any():
            current = [word.text for word in words if word.start <= frame.time <= word.end]
            left, top, right, bottom = frame.box
            assert left >= 160 and right <= 920, current
            assert abs(left + right - 1080) <= 60, current
            assert top >= CENTRE_Y - 125 and bottom <= CENTRE_Y + 125, current


# Two characters of each script that look different. Boxes for missing glyphs would look the same.
SCRIPTS = {
    "digits": "0 8",
    "accents": "é ô",
    "Vietnamese": "ậ ữ",
    "Greek": "Ω λ",
    "Cyrillic": "Ж щ",
    "simplified Chinese": "说 们",
    "traditional Chinese": "說 們",
    "Japanese": "あ ツ",
    "rarer kanji": "鬱 麒",
    "Korean": "한 뷁",
    "Arabic": "ب م",
    "Hebrew": "ש ל",
    "Devanagari": "क्ष ह",
    "Thai": "ก ข",
    "emoji": "😂 🎉",
    "flags": "🇫🇷 🇯🇵",
    "older emoji": "❤️ ☎️",
    "signs": "€ %",
    "music": "♪ ♫",
    "Armenian": "Ա Բ",
    "Bengali": "ক খ",
    "Ethiopic": "ሀ ለ",
    "Georgian": "ა ბ",
    "Gujarati": "ક ખ",
    "Gurmukhi": "ਕ ਖ",
    "Kannada": "ಕ ಖ",
    "Khmer": "ក ខ",
    "Lao": "ກ ຂ",
    "Malayalam": "ക ഖ",
    "Myanmar": "က ခ",
    "Oriya": "କ ଖ",
    "Sinhala": "ක ඛ",
    "Tamil": "க ங",
    "Telugu": "క ఖ",
}


@both_ffmpegs
def test_every_script_is_drawn(tmp_path: Path) -> None:
    words = [
        Word(text=text, start=2 * n, end=2 * n + 1)
        for n, text in enumerate(" ".join(SCRIPTS.values()).split(" "))
    ]
    frames = render_captions(words, [Fraction(2 * n) for n in range(len(words))], tmp_path)

    for name, one, other in zip(SCRIPTS, frames[::2], frames[1::2], strict=True):
        assert one.ink.sum() > 500 and other.ink.sum() > 500, name
        assert (one.ink != other.ink).sum() > 200, name


@both_ffmpegs
def test_right_to_left_text_is_read_from_the_right_and_arabic_letters_join(
    tmp_path: Path,
) -> None:
    words = [*words_of("سلام على العالم", each=1), *words_of("ببب", 4, 1)]
    words += words_of("ب\u200cب\u200cب", 6, 1)
    words += words_of("YouTube هو موقع.", 8, 1)

    frames = render_captions(words, [Fraction(n) for n in range(11)], tmp_path)

    assert frames[0].highlight_x > frames[1].highlight_x > frames[2].highlight_x
    assert frames[0].has_text_of(frames[2])
    assert frames[8].highlight_x > frames[9].highlight_x > frames[10].highlight_x
    joined, apart = (frames[n].box[2] - frames[n].box[0] for n in (4, 6))
    assert joined < apart * 0.8


@both_ffmpegs
def test_text_that_resembles_a_command_is_drawn_as_text(tmp_path: Path) -> None:
    plain, command = words_of("x", each=1), words_of(r"{\pos(0,0)}x", at=2, each=1)

    letter, _, whole = render_captions(
        [*plain, *command], [Fraction(n) for n in range(3)], tmp_path
    )

    assert whole.box[2] - whole.box[0] > 6 * (letter.box[2] - letter.box[0])


def test_plain_captions_highlight_no_word_and_without_captions_nothing_is_drawn(
    tmp_path: Path,
) -> None:
    words, times = words_of("plain words"), [Fraction(n, 5) for n in range(4)]

    none = render_captions(words, times, tmp_path, "none")
    plain = render_captions(words, times, tmp_path, "plain")
    karaoke = render_captions(words, times, tmp_path)

    assert not any(frame.ink.any() for frame in none)
    assert not any(frame.yellow.any() for frame in plain)
    assert all(frame.yellow.any() for frame in karaoke)
    assert all(plain[0].has_text_of(frame) for frame in (*plain, *karaoke))


@both_ffmpegs
def test_paths_may_contain_special_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, times = words_of("anything"), [Fraction(0)]
    expected = render_captions(words, times, tmp_path)
    odd = tmp_path / 'it\'s a "b": c, d=[e];\\f %g'
    shutil.copytree(FOLDER, odd / "fonts, ours")
    monkeypatch.setattr(ass, "FOLDER", odd / "fonts, ours")

    frames = render_captions(words, times, odd, name="a: 'b', \"c\";[d]=\\e.ass")

    assert np.array_equal(expected[0].ink, frames[0].ink) and frames[0].ink.any()
