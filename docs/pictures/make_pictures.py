"""Make the pictures of the guides from the demo's sample, with clipflow itself.

    python -m docs.pictures.make_pictures [NAME …]

Needs Chromium for the results page. The pictures are committed. Run this after a change of the
appearance of shorts, captions or the page.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from playwright.async_api import Route, ViewportSize, async_playwright

from clipflow.captions.drawing import captions
from clipflow.captions.hook import placed_hook
from clipflow.captions.typefaces import display_typeface
from clipflow.domain.brands import Logo
from clipflow.domain.caption_styles import (
    DEFAULT_STYLE,
    FONTS_FOLDER,
    NO_CAPTIONS,
    STYLE_NAMES,
    packaged_style,
)
from clipflow.domain.edits import Edits
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.removals import Removal, RemovalKind, Tightening
from clipflow.domain.safe_zones import Box
from clipflow.domain.shorts import Framing, Moment, Short
from clipflow.domain.timecode import parse_timecode
from clipflow.domain.transcript import Transcript, Word, split_words, spread_words
from clipflow.highlights.moments import pick
from clipflow.highlights.pieces import Brief
from clipflow.jobs.brand import BrandParts, PlacedLogo, place_logo
from clipflow.jobs.picture import Background, Ingredients, render_command
from clipflow.jobs.posts import with_texts
from clipflow.machine import Machine
from clipflow.media import ffmpeg
from clipflow.media.branding import read_logo
from clipflow.media.fetching import fetch_window
from clipflow.media.loudness import measure_loudness
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.media.window import Span
from clipflow.reframe.analysis import Film
from clipflow.reframe.director import plan_frames
from clipflow.results.pages import shorts_page
from clipflow.results.publish import poster
from clipflow.settings import limits
from deployments.command.review import app as review_page

FOLDER = Path(__file__).parent
SAMPLE = FOLDER.parents[1] / "demo" / "sample"
TALK, GUEST = LocalSource(SAMPLE / "two-shot.mp4"), LocalSource(SAMPLE / "guest.mp4")
# The span that is rendered for a picture, and the time of the picture in it, in seconds.
_SPAN, _AT = Span(Fraction(21), Fraction(24)), 1.7
# A span in which the host speaks, and then the guest.
_CHANGE = Span(Fraction(7), Fraction(13))
_WIDTH = 270
_DEADLINE = 300.0
# The duration of a short on the results page, in seconds.
_SECONDS = 15


@dataclass(frozen=True)
class Look:
    """How a short of `span` looks, `at` seconds after its start."""

    layout: Layout = Layout.STACK
    style: str = DEFAULT_STYLE
    background: LocalSource | None = None
    span: Span = _SPAN
    at: float = _AT
    hook: str | None = None
    logo: Logo | None = None


LOOKS = {
    "layout-stack.jpg": Look(),
    "layout-stack-background.jpg": Look(background=GUEST),
    "layout-blur.jpg": Look(Layout.FIT),
    "layout-crop.jpg": Look(Layout.CROP),
    "layout-split.jpg": Look(Layout.SPLIT),
    "layout-auto-host.jpg": Look(Layout.AUTO, span=_CHANGE),
    "brand.jpg": Look(Layout.CROP, "clean", logo=Logo(file="logo.png", width=0.15)),
    "hook.jpg": Look(Layout.CROP, hook="How a spacesuit is tested before anybody wears it"),
    "layout-auto-guest.jpg": Look(Layout.AUTO, span=_CHANGE, at=5.0),
}
PAGE, STYLES = "results-page.jpg", "captions.jpg"
REVIEW, REMOVALS = "review-page.jpg", "review-tightening.jpg"
PICTURES = (*LOOKS, PAGE, STYLES, REVIEW, REMOVALS)
# The text in which the styles are shown, and the time of the picture, in the third word.
_SHOWN, _SHOWN_AT = "Nobody tells you about the 3 rules", 0.95
_EACH, _ROW, _COLUMNS = 0.4, 300, 3


def words() -> tuple[Word, ...]:
    """The words of the sample."""
    lines = json.loads((SAMPLE / "conversation.json").read_text())
    return tuple(
        word.model_copy(update={"speaker": line["speaker"]})
        for line in lines
        for word in spread_words(
            split_words(line["text"]),
            float(parse_timecode(line["startTime"])),
            float(parse_timecode(line["endTime"])),
        )
    )


def render(look: Look, scratch: Path) -> Path:
    """Render a short of the sample, as `clipflow.jobs.render` does for an object."""
    probe, span = probe_source(TALK), look.span
    window = fetch_window(TALK, probe, span, scratch / "window.nut")
    transcript = Transcript(words()).within(float(span.start), float(span.end))
    written = scratch / "captions.ass"
    end = window.origin + span.duration
    film = Film(window.path, (probe.width, probe.height), probe.rotation, window.origin, end)
    plan = plan_frames(film, look.layout, Aspect.TALL, transcript.words)
    style, centre, size = packaged_style(look.style), plan.captions_centre, Aspect.TALL.size
    taken = [Box(0, centre - 110, size[0], centre + 110)]
    hook = placed_hook(look.hook, size, plan.faces, taken)
    font = display_typeface(style.font) if style else None
    written.write_text(captions(transcript.words, window.frames, style, centre, size, font, hook))
    ingredients = Ingredients(
        window=window,
        probe=probe,
        size=Aspect.TALL.size,
        plan=plan,
        background=_below(look.background, span.duration, scratch) if look.background else None,
        captions=written,
        loudness=measure_loudness(window.path, window.origin, end),
        brand=BrandParts(_placed(look.logo, taken, scratch)) if look.logo else BrandParts(),
    )
    short = scratch / "short.mp4"
    machine = Machine(scratch, limits().ffmpeg, threads=2)
    ffmpeg.run(render_command(ingredients, short, threads=2), "rendering", machine, _DEADLINE)
    return short


def _placed(logo: Logo, taken: list[Box], scratch: Path) -> PlacedLogo:
    """A disc with a triangle, as the logo of a brand."""
    image = np.zeros((400, 400, 4), np.uint8)
    cv2.circle(image, (200, 200), 190, (255, 255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(image, (200, 200), 172, (222, 60, 91, 255), -1, cv2.LINE_AA)
    corners = np.array([[155, 110], [155, 290], [305, 200]])
    cv2.fillPoly(image, [corners], (255, 255, 255, 255), cv2.LINE_AA)
    _, encoded = cv2.imencode(".png", image)
    path, size = scratch / "logo.nut", Aspect.TALL.size
    width = round(logo.width * size[0])
    own = read_logo(encoded.tobytes(), "logo", width, size[1], logo.opacity, path)
    return PlacedLogo(path, place_logo(logo, size, own, taken))


def _below(source: LocalSource, duration: Fraction, scratch: Path) -> Background:
    probe, span = probe_source(source), Span(Fraction(0), duration)
    return Background(fetch_window(source, probe, span, scratch / "below.nut"), probe)


def picture(look: Look, path: Path) -> None:
    """Write one reduced frame of a short to `path`."""
    with tempfile.TemporaryDirectory() as folder:
        short = render(look, Path(folder))
        scale = ["-vf", f"scale={_WIDTH}:-2", "-frames:v", "1", "-q:v", "4", "-bitexact"]
        _ffmpeg("-ss", str(look.at), "-i", str(short), *scale, str(path))


def picture_of_page(path: Path) -> None:
    """Write a screenshot of the results page of three shorts to `path`."""
    transcript = Transcript(words(), "en")
    moments = with_texts(picked(), Edits(), transcript)
    keys = ShortsKeys("me", "talk", "shorts")
    with tempfile.TemporaryDirectory() as folder:
        shorts, posters = [], {}
        for number, moment in enumerate(moments, 1):
            short, posters[keys.short(number)] = _shown(moment, Path(folder))
            framing = Framing(speaker_in_frame=1.0, confidence=1.0)
            shorts.append(Short.made(number, keys.short(number), moment, short, framing))
        html = Path(folder, "index.html")
        html.write_text(shorts_page(keys, shorts, transcript, posters))
        asyncio.run(_shot(html, path))


def _shown(moment: Moment, folder: Path) -> tuple[int, str]:
    """The size of the moment's short in bytes, and its poster."""
    short = render(replace(Look(Layout.AUTO), span=Span(moment.start, moment.end)), folder)
    return short.stat().st_size, poster(
        LocalSource(short), _WIDTH, Machine(folder, limits().ffmpeg)
    )


def picture_of_review(path: Path) -> None:
    """The page of `clipflow review` with the first of three shorts, or its list of removals."""
    numbered = (
        moment.model_copy(update={"id": f"m{number}-{number}", "index": number})
        for number, moment in enumerate(picked(), 1)
    )
    moments = with_texts(list(numbered), Edits(), Transcript(words(), "en"))
    span = Span(moments[0].start, moments[0].end)
    with tempfile.TemporaryDirectory() as folder:
        short = render(replace(Look(Layout.AUTO), span=span), Path(folder))
        is_tightened = path.name == REMOVALS
        files: dict[str, str | bytes] = {
            "api/state": json.dumps(_state(moments, is_tightened)),
            "media/short/1": short.read_bytes(),
        }
        part = "#tightening" if is_tightened else None
        asyncio.run(_shot_of_review(files, part, path))


# The sample has neither fillers nor long silences.
_REMOVED = (
    Removal(id="w31", kind=RemovalKind.FILLER, word=31, text="um,", start=23.4, end=24.0),
    Removal(id="p40", kind=RemovalKind.SILENCE, word=40, text="A", start=28.1, end=29.0),
    Removal(id="w52", kind=RemovalKind.FILLER, word=52, text="uh", start=33.2, end=33.6),
)


def _state(moments: list[Moment], is_tightened: bool) -> dict[str, object]:
    """The response of `clipflow review` for these moments. The first one is rendered."""
    texts = {"title", "description", "hashtags"}
    shown = {"id", "index", "title", "why", "score"}
    shorts: list[dict[str, object]] = [
        {**moment.model_dump(mode="json", include=shown), "status": None, "error": None}
        | {"video": None, "rendered": None, "intro": 0, "tightening": None}
        for moment in moments
    ]
    times = {moment.id: [float(moment.start), float(moment.end)] for moment in moments}
    first: dict[str, object] = {"video": "media/short/1", "rendered": times[moments[0].id]}
    if is_tightened:
        first["tightening"] = Tightening(removed=_REMOVED).model_dump(mode="json")
    shorts[0] |= first
    # One of them is shown as put back.
    back = {_REMOVED[1].id: _REMOVED[1].text} if is_tightened else {}
    spoken = [[w.text, w.start, w.end, number % 23 == 7] for number, w in enumerate(words())]
    return {
        "name": "talk",
        "language": "en",
        "words": spoken,
        "shorts": shorts,
        "layouts": list(Layout),
        "styles": list(STYLE_NAMES),
        "config": {"layout": "auto", "caption_style": DEFAULT_STYLE, "tighten": is_tightened},
        "hasSource": True,
        "run": None,
        "edits": {"version": 1, "shorts": {moments[0].id: {"restored": back}} if back else {}},
        "etag": "1",
        "times": times,
        "texts": {m.id: m.model_dump(mode="json", include=texts) for m in moments},
        "shown": {},
        "stale": [],
    }


async def _shot_of_review(files: dict[str, str | bytes], part: str | None, path: Path) -> None:
    home = "http://127.0.0.1/"
    static = Path(review_page.__file__).parent / "static"
    page_text = review_page.PAGES.get_template("review.html").render(name="talk")

    async def answer(route: Route) -> None:
        name = route.request.url.removeprefix(home).partition("?")[0]
        content = files.get(name, page_text)
        if isinstance(content, bytes):
            # A browser seeks only where it may ask for a range.
            first = int(route.request.headers.get("range", "bytes=0-")[6:].partition("-")[0])
            headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            headers |= {"Accept-Ranges": "bytes", "Content-Type": "video/mp4"}
            await route.fulfill(status=206, headers=headers, body=content[first:])
        elif name.startswith("static/"):
            await route.fulfill(path=static / name.removeprefix("static/"))
        else:
            kind = "application/json" if name in files else "text/html"
            await route.fulfill(body=content, content_type=kind)

    async with async_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1100, "height": 830})
        await page.route("**/*", answer)
        await page.goto(home)
        await page.wait_for_function("document.querySelector('#video').readyState >= 2")
        await page.evaluate("document.querySelector('#video').currentTime = 4")
        await page.wait_for_selector("#words .spoken")
        shown = page.locator(part) if part else page
        await shown.screenshot(path=path, type="jpeg", quality=25)
        await browser.close()


def picked() -> list[Moment]:
    """The three best moments of the sample."""
    duration = float(probe_source(TALK).duration or 0)
    return pick(Transcript(words(), "en"), Brief(3, _SECONDS, duration))


def picture_of_styles(path: Path) -> None:
    """Write a picture of the same words in each caption style to `path`."""
    spoken = [
        Word(text=word, start=number * _EACH, end=(number + 1) * _EACH)
        for number, word in enumerate(_SHOWN.split())
    ]
    times = [Fraction(number, 25) for number in range(50)]
    names = [name for name in STYLE_NAMES if name != NO_CAPTIONS]
    with tempfile.TemporaryDirectory() as folder:
        short = render(replace(Look(Layout.CROP, NO_CAPTIONS)), Path(folder))
        inputs, filters = [], []
        for number, name in enumerate(names):
            style = packaged_style(name)
            written = Path(folder, f"{name}.ass")
            font = display_typeface(style.font) if style else None
            written.write_text(captions(spoken, times, style, 960, font=font))
            inputs += ["-ss", str(_AT), "-t", "2", "-i", str(short)]
            filters.append(
                f"[{number}:v]setpts=PTS-STARTPTS,ass={written}:fontsdir={FONTS_FOLDER},"
                f"trim={_SHOWN_AT},crop=1080:{_ROW}:0:{960 - _ROW // 2},scale=300:-2[{number}s]"
            )
        height = 2 * round(_ROW * 300 / 1080 / 2)
        places = "|".join(
            f"{number % _COLUMNS * 304}_{number // _COLUMNS * (height + 4)}"
            for number in range(len(names))
        )
        labels = "".join(f"[{number}s]" for number in range(len(names)))
        filters.append(f"{labels}xstack=inputs={len(names)}:layout={places}:fill=white")
        end = ["-frames:v", "1", "-q:v", "4", "-bitexact", str(path)]
        _ffmpeg(*inputs, "-filter_complex", ";".join(filters), *end)


async def _shot(html: Path, path: Path) -> None:
    async with async_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        size: ViewportSize = {"width": 900, "height": 1220}
        page = await browser.new_page(viewport=size, device_scale_factor=0.75)
        await page.goto(html.as_uri())
        await page.screenshot(path=path, type="jpeg", quality=30)
        await browser.close()


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg.executable(), "-v", "error", "-y", *arguments], check=True)


def make(path: Path) -> None:
    """Make the picture that has the name of `path`. Raises KeyError if there is none."""
    makers: dict[str, Callable[[Path], None]] = {PAGE: picture_of_page, STYLES: picture_of_styles}
    makers |= dict.fromkeys((REVIEW, REMOVALS), picture_of_review)
    maker = makers.get(path.name) or (lambda at: picture(LOOKS[path.name], at))
    maker(path)


if __name__ == "__main__":
    # Nothing is stored, but the settings require both variables.
    os.environ |= {"BUCKET_NAME": "none", "TABLE_NAME": "none"}
    for name in sys.argv[1:] or PICTURES:
        make(FOLDER / name)
