"""Styles, fonts and hooks in shorts: read from objects, checked, rendered again if they change."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from clipflow.captions.typefaces import FOLDER
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.shorts import Moment, Short, ShortsConfig
from clipflow.domain.transcript import Word
from clipflow.jobs import render as rendering
from clipflow.jobs.looks import check_looks
from clipflow.jobs.render import Render
from clipflow.settings import Models
from tests.clipflow.jobs.studio import Studio
from tests.clipflow.jobs.test_render import luma, pictures, yellow
from tests.made_media import a_machine, make_source

pytestmark = pytest.mark.slow

STYLE = {"font": "own.ttf", "emphasis": ["colour", "pop"], "case": "upper"}
WORDS = [Word(text=word, start=0.5 * n, end=0.5 * n + 0.5) for n, word in enumerate("abcd")]


@pytest.fixture
def styled(studio: Studio, tmp_path: Path) -> Studio:
    """A video with words, and a style with a font of its own in the bucket."""
    studio.put(make_source(tmp_path / "source.mkv", seconds=5), WORDS)
    font = FOLDER / "display-bangers.ttf"
    studio.objects.upload(font, "looks/own.ttf", {})
    put(studio, "looks/style.json", STYLE)
    return studio


def put(studio: Studio, key: str, document: Any) -> None:
    studio.objects.put_text(json.dumps(document), key, {}, "application/json")


def make(studio: Studio, moment: Moment, **config: Any) -> Short:
    settings = ShortsConfig.read({"segment_count": 1, **config}, "the config")
    request = Render(studio.keys, settings, 1, moment)
    return rendering.render(request, studio.objects, a_machine(2), Models(), force=False)


def test_another_style_draws_the_captions_again_on_the_same_crop(
    styled: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = Moment(start=Fraction(0), end=Fraction(2), score=1, why="", title="A title")
    look = {"caption_style": "looks/style.json"}
    first = make(styled, moment, **look)
    styled.objects.download(first.s3_key, tmp_path / "first.mp4")
    captioned = list(pictures(tmp_path / "first.mp4"))[1:48]
    assert len(captioned) == 47 and all(yellow(frame) for frame in captioned)

    def analysed_again(*_arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(rendering, "_plan", analysed_again)
    # With the same style, and another title that is not shown, nothing is rendered.
    titled = moment.model_copy(update={"title": "Another"})
    assert make(styled, titled, **look).etag == first.etag
    put(styled, "looks/style.json", {**STYLE, "size": 90})
    second = make(styled, moment, **look)
    assert second.etag != first.etag
    styled.objects.upload(FOLDER / "display-anton.ttf", "looks/own.ttf", {})
    assert make(styled, moment, **look).etag != second.etag


def test_the_title_is_shown_for_three_seconds_and_rendered_again_if_it_changes(
    styled: Studio, tmp_path: Path
) -> None:
    dark = make_source(tmp_path / "dark.mkv", seconds=5, filters=("-vf", "lutyuv=y=16"))
    styled.put(dark)
    moment = Moment(start=Fraction(0), end=Fraction(4), score=1, why="", title="W")
    first = make(styled, moment, layout="fit", hook=True)
    styled.objects.download(first.s3_key, tmp_path / "hook.mp4")
    rows = [luma(tmp_path / "hook.mp4", time, 275) for time in (1.0, 2.8, 3.2)]
    assert rows[0] > 200 and rows[1] > 200 and rows[2] < 40
    hooked = moment.model_copy(update={"hook": "Another"})
    assert make(styled, hooked, layout="fit", hook=True).etag != first.etag


@pytest.mark.parametrize(
    ("document", "font", "field"),
    [
        ({"size": "large"}, None, "caption_style: looks/bad.json.*size"),
        ({"font": "missing.ttf"}, None, r"caption_style: looks/bad.json: font.*missing\.ttf"),
        ({"font": "bad.ttf"}, b"\0\1\0\0 not a font", r"caption_style: font: looks/bad\.ttf"),
        ({"font": "bad.ttf"}, b"<script>", r"caption_style: font: looks/bad\.ttf"),
    ],
    ids=["a field", "no font", "a corrupt font", "markup"],
)
def test_an_invalid_style_fails_by_name_before_and_during_rendering(
    document: Any, font: bytes | None, field: str, styled: Studio, tmp_path: Path
) -> None:
    put(styled, "looks/bad.json", document)
    if font:
        (tmp_path / "bad.ttf").write_bytes(font)
        styled.objects.upload(tmp_path / "bad.ttf", "looks/bad.ttf", {})
    config = ShortsConfig.read(
        {"segment_count": 1, "caption_style": "looks/bad.json"}, "the config"
    )
    with pytest.raises(InvalidInputError, match=field):
        check_looks(config, styled.objects, tmp_path)
    # As the style in the edits of one short, it fails only that short.
    moment = Moment(start=Fraction(0), end=Fraction(2), score=1, why="", title="")
    with pytest.raises(InvalidInputError, match=field):
        make(styled, moment, caption_style="looks/bad.json")
