"""The included caption styles, users' own styles, and which of these are refused."""

import json
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont

from clipflow.captions import typefaces
from clipflow.captions.drawing import half_height
from clipflow.captions.typefaces import FOLDER, install_font
from clipflow.domain.caption_styles import (
    NO_CAPTIONS,
    STYLE_NAMES,
    CaptionStyle,
    Emphasis,
    packaged_style,
    parse_style,
)
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.layouts import Aspect
from clipflow.domain.safe_zones import clear_line, safe_box
from tests.clipflow.captions.drawing import render_captions, words_of

NAMES = [name for name in STYLE_NAMES if name != NO_CAPTIONS]
TEXT = "Pneumonoultramicroscopicsilicovolcanoconiosis 人工智能的未来发展 gjpqy 12345 مرحبا بكم"


def test_at_least_eight_styles_are_included() -> None:
    assert len(NAMES) >= 8 and {"karaoke", "plain"} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("aspect", list(Aspect))
def test_every_style_stays_in_the_safe_area_of_the_picture(aspect: Aspect, tmp_path: Path) -> None:
    words, size = words_of(TEXT, each=0.5), aspect.size
    times = [Fraction(n, 5) for n in range(round(words[-1].end * 5))]
    safe = safe_box(size)
    for name in NAMES:
        style = packaged_style(name)
        assert style
        # As low as a style may be.
        centre = clear_line((), size[1], half_height(style), size)
        frames = render_captions(words, times, tmp_path, name, size=size, centre=centre)
        boxes = [frame.box for frame in frames if frame.ink.any()]
        assert len(boxes) >= len(words)
        left, top, right, bottom = (
            function(box[side] for box in boxes)
            for side, function in enumerate((min, min, max, max))
        )
        assert safe.left <= left and right <= safe.right, name
        assert safe.top <= top and bottom <= safe.bottom, name


def _luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2), from 0 to 1."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", NAMES)
def test_an_outline_or_a_box_separates_the_text_from_a_picture_of_its_colour(name: str) -> None:
    style = packaged_style(name)
    assert style
    assert style.box or style.outline >= 3
    around = style.colours.box if style.box else style.colours.outline
    dark, bright = sorted((_luminance(style.colours.text), _luminance(around)))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.slow
def test_the_spoken_word_has_a_box_and_the_others_stay_where_they_are(tmp_path: Path) -> None:
    style = CaptionStyle.model_validate(
        {"emphasis": ["box"], "colours": {"spoken_box": "#FFE600"}, "font": "montserrat"}
    )
    words = words_of("one two three", each=0.4)
    frames = render_captions(words, [Fraction(n, 5) for n in range(6)], tmp_path, style)
    first, second, third = frames[1], frames[3], frames[5]
    assert first.highlight_x < second.highlight_x - 40 < third.highlight_x - 80
    # The box is as high as a capital letter with its padding, and as wide as the word.
    rows, columns = np.nonzero(second.yellow)
    assert 60 < 2 * (rows.max() - rows.min()) < 110
    assert 100 < 2 * (columns.max() - columns.min()) < 300
    # The third word is not spoken in the first two.
    right = slice(round(2 * columns.max()) + 40, None)
    assert np.array_equal(first.ink[:, right], second.ink[:, right])


@pytest.mark.slow
def test_the_spoken_word_grows_for_a_moment(tmp_path: Path) -> None:
    style = CaptionStyle.model_validate({"emphasis": ["pop"], "words": 1})
    times = [Fraction(n, 50) for n in range(24)]
    frames = render_captions([*words_of("grows", each=0.5)], times, tmp_path, style)
    heights = [frame.box[3] - frame.box[1] for frame in frames]
    assert heights[4] > heights[0] + 4
    assert heights[0] < heights[-1] < heights[4]


@pytest.mark.slow
def test_capitals_and_the_key_word_are_drawn(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"emphasis": [], "colours": {"key": "#FFE600"}}
    words, times = words_of("we saw 12 apples"), [Fraction(1, 5)]
    small, large, key = (
        render_captions(words, times, tmp_path, CaptionStyle(**plain, **more))[0]
        for more in ({}, {"case": "upper"}, {"key_words": True})
    )
    assert large.box[3] - large.box[1] > 0 and not small.has_text_of(large)
    assert key.yellow.any() and not small.yellow.any()


HOSTILE: dict[str, tuple[str, str]] = {
    "markup as a font": ('{"font": "{\\\\pos(0,0)}.ttf"}', ""),
    "a path": ('{"font": "../../../etc/passwd.ttf"}', "font"),
    "an absolute path": ('{"font": "/etc/fonts/x.ttf"}', "font"),
    "an unknown font": ('{"font": "Comic Sans"}', "font"),
    "override codes as a colour": ('{"colours": {"text": "&H00&}{\\\\p1}"}}', "colours.text"),
    "a huge size": ('{"size": 100000}', "size"),
    "an outline without end": ('{"outline": 1e999}', "outline"),
    "no number": ('{"outline": NaN}', "outline"),
    "an unknown field": ('{"fontsize": 3}', "fontsize"),
    "another version": ('{"version": 2}', "version"),
    "a list": ("[]", "style.json"),
    "no JSON": ("{", "JSON"),
    "deep": ("[" * 9000 + "]" * 9000, "style.json"),
    "large": (json.dumps({"font": "x" * 70_000}), "larger"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_invalid_style_is_refused_with_the_name_of_the_field(name: str) -> None:
    text, field = HOSTILE[name]
    if not field:
        # The font is read as the name of a file, which is not part of what is drawn.
        assert parse_style(text.encode(), "style.json").font.startswith("{")
        return
    with pytest.raises(InvalidInputError, match=field):
        parse_style(text.encode(), "style.json")


def test_a_font_of_a_user_is_renamed_and_has_the_metrics_of_the_others(tmp_path: Path) -> None:
    font = TTFont(FOLDER / "display-bangers.ttf")
    for record in font["name"].names:
        record.string = r"{\pos(0,0)}\N Noto Sans"
    font["hhea"].ascent = 30_000
    file = BytesIO()
    font.save(file)
    typeface = install_font(file.getvalue(), "own.ttf", tmp_path / "own.ttf")
    assert typeface.family == typefaces.OWN_FAMILY and typeface.advances["A"] > 0.3
    made = TTFont(tmp_path / "own.ttf")
    assert {str(record) for record in made["name"].names} == {"Bold", "Clipflow Own", "ClipflowOwn"}
    assert made["hhea"].ascent == made["head"].unitsPerEm


def _without(tag: str) -> bytes:
    font = TTFont(FOLDER / "display-bangers.ttf")
    del font[tag]
    file = BytesIO()
    font.save(file)
    return file.getvalue()


def _corrupt() -> bytes:
    whole = bytearray((FOLDER / "display-bangers.ttf").read_bytes())
    whole[200:] = b"\xff" * (len(whole) - 200)
    return bytes(whole)


def _without_characters() -> bytes:
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef"])
    builder.setupCharacterMap({})
    file = BytesIO()
    builder.font.save(file)
    return file.getvalue()


def _scaled(em: int, advance: float) -> bytes:
    """A font whose em has `em` units, and whose characters are wider by a factor."""
    font = TTFont(FOLDER / "display-bangers.ttf")
    font["head"].unitsPerEm = em
    metrics = font["hmtx"].metrics
    for glyph, (width, left) in list(metrics.items()):
        metrics[glyph] = (round(width * advance), left)
    file = BytesIO()
    font.save(file)
    return file.getvalue()


FONTS = {
    "a tiny em": _scaled(16, 1),
    "wide characters": _scaled(1000, 20),
    "characters without a width": _scaled(1000, 0),
    "text": b"not a font at all",
    "a collection": b"ttcf" + bytes(100),
    "WOFF": b"wOF2" + bytes(100),
    "no outlines": _without("glyf"),
    "no characters": _without_characters(),
    "corrupt": _corrupt(),
    "empty": b"",
    "large": b"\0\1\0\0" + bytes(25 << 20),
}


@pytest.mark.parametrize("name", FONTS)
def test_an_unusable_font_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"^caption_style: font: own\.ttf"):
        install_font(FONTS[name], "caption_style: font: own.ttf", tmp_path / "own.ttf")


def test_each_emphasis_of_the_schema_is_used_by_an_included_style() -> None:
    styles = [style for name in NAMES if (style := packaged_style(name))]
    assert {emphasis for style in styles for emphasis in style.emphasis} == set(Emphasis)
