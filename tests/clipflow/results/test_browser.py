"""Results pages in Chromium: from disk and S3, on a phone, by keyboard, in both colour schemes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from clipflow.domain.clips import Segment
from clipflow.domain.errors import Failure, FailureCode
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.shorts import Short
from clipflow.domain.transcript import Transcript
from clipflow.results.pages import shorts_page
from clipflow.storage.objects import object_store
from tests.chromium import CHROMIUM, IN_CHROMIUM
from tests.clipflow.results.conftest import TITLES, Results, moment, words
from tests.clipflow.results.reference_pictures import (
    assert_matches_reference,
    differs_from_reference,
    small_picture,
)

pytestmark = IN_CHROMIUM

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 1250}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 375, "height": 812},
    "is_mobile": True,
    "has_touch": True,
}
NARROW: dict[str, Any] = {"viewport": {"width": 320, "height": 600}}
MARKUP = "<img src=x onerror=alert(1)></h3><script>alert(2)</script>"
PLAYED = """async (video) => {
    video.muted = true;
    await video.play();
    await new Promise(done => video.ontimeupdate = () => video.currentTime > 0.3 && done());
    video.pause();
    return [video.videoWidth, video.videoHeight];
}"""
CAPTIONS = """async (video) => {
    const track = video.querySelector("track");
    const loaded = new Promise((done, fail) => { track.onload = done; track.onerror = fail; });
    track.track.mode = "showing";
    await loaded;
    return track.track.cues[0].getCueAsHTML().textContent;
}"""


# Of module scope, because an open Playwright has an event loop in this thread, which would
# disturb Prefect in other modules.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@dataclass
class Stored:
    """Stored results, and the addresses of the page of shorts and the page of the clip."""

    results: Results
    disk: tuple[str, str]
    served: tuple[str, str]


@pytest.fixture(scope="module")
def stored(
    storage: None, local_aws: str, bars: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    made = Results(object_store(), "talk-1", *bars).put()
    shorts, clip = made.download(tmp_path_factory.mktemp("disk"))
    bucket = f"{local_aws}/{made.objects.bucket}"
    served = (f"{bucket}/{made.keys.page}", f"{bucket}/{made.clip_keys.page}")
    return Stored(made, (shorts.as_uri(), clip.as_uri()), served)


@contextmanager
def opened(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """The page at `address`; fails on console messages, dialogs and failed requests."""
    with browser.new_context(**context) as browser_context:
        page, messages = browser_context.new_page(), list[str]()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append(dialog.message))
        page.on(
            "requestfailed", lambda request: messages.append(f"{request.url} {request.failure}")
        )
        page.goto(address)
        yield page
        assert messages == []


@pytest.mark.parametrize("way", ["disk", "S3"])
def test_every_video_plays_and_the_console_stays_empty(
    way: str, browser: Browser, stored: Stored
) -> None:
    shorts, clip = stored.disk if way == "disk" else stored.served
    with opened(browser, shorts) as page:
        videos = page.locator("video").all()
        assert [video.evaluate(PLAYED) for video in videos] == [[270, 480], [270, 480]]
        assert videos[0].evaluate(CAPTIONS) == "One clip holds one idea, and nothing else."
    with opened(browser, clip) as page:
        assert page.locator("video").evaluate(PLAYED) == [640, 360]


def test_a_download_has_a_descriptive_name(browser: Browser, stored: Stored) -> None:
    with browser.new_context() as browser_context:
        page = browser_context.new_page()
        page.goto(stored.served[0])
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {TITLES[1]}").click()
        assert download.value.suggested_filename == "talk-1-2.mp4"
        assert Path(download.value.path()).read_bytes() == stored.results.short.read_bytes()


def test_shorts_and_their_transcript_link_to_each_other(browser: Browser, stored: Stored) -> None:
    with opened(browser, stored.disk[0], **PHONE) as page:
        card = page.get_by_role("article", name=TITLES[1])
        assert page.locator(".transcript details").get_attribute("open") is None
        card.get_by_role("link", name="in the transcript").click()
        moment = page.locator("mark", has=page.locator(":target"))
        assert moment.inner_text().startswith(f"Short 2 {TITLES[1]}, and explain it")
        assert is_on_screen(page, "mark:has(:target)")
        moment.get_by_role("link", name="Short 2").click()
        assert page.locator("article:target h3").inner_text() == TITLES[1]
        assert is_on_screen(page, "article:target")


def is_on_screen(page: Page, selector: str) -> bool:
    """Whether the top of the element is on the screen."""
    box = page.locator(selector).bounding_box()
    height = page.evaluate("innerHeight")
    return box is not None and 0 <= box["y"] < height


def test_a_screen_reader_finds_landmarks_headings_and_names(
    browser: Browser, stored: Stored
) -> None:
    shorts, clip = stored.disk
    with opened(browser, shorts) as page:
        for landmark in ("banner", "main", "contentinfo"):
            assert page.get_by_role(landmark).count() == 1
        levels = "all => all.map(one => `${one.tagName} ${one.textContent}`)"
        assert page.locator("h1, h2, h3").evaluate_all(levels) == [
            "H1 talk-1",
            "H2 Shorts",
            *(f"H3 {title}" for title in TITLES),
            "H2 Transcript",
        ]
        failed = page.get_by_role("article", name=TITLES[2])
        assert "Not made" in failed.inner_text()
        assert stored.results.failure.message in failed.inner_text()
        assert failed.get_by_role("link", name="Download").count() == 0
    with opened(browser, clip) as page:
        items = page.get_by_role("listitem").all_inner_texts()
        assert [item.split("\n")[1] for item in items] == ["0:00", "0:03"]
        assert "So what is the first rule" in items[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_no_violations(
    screen: dict[str, Any], scheme: str, browser: Browser, stored: Stored
) -> None:
    rules = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
    for address in stored.disk:
        # axe is a script, which the page's Content-Security-Policy would block.
        context = {**screen, "color_scheme": scheme, "bypass_csp": True}
        with opened(browser, address, **context) as page:
            page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
            found = Axe().run(page, options=rules)
            assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations_with_words_marked_as_uncertain(
    scheme: str, browser: Browser, tmp_path: Path
) -> None:
    spoken = [word.model_copy(update={"score": 0.3}) for word in words()]
    keys = ShortsKeys("u", "talk-1", "warehouse")
    short = Short.made(1, keys.short(1), moment(1), 4_200_000)
    path = tmp_path / "index.html"
    path.write_text(
        shorts_page(keys, [short], Transcript(tuple(spoken), "en"), {}), encoding="utf-8"
    )
    context = {**PHONE, "color_scheme": scheme, "bypass_csp": True}
    with opened(browser, path.as_uri(), **context) as page:
        page.locator("details").evaluate("one => one.open = true")
        assert page.locator("u").first.is_visible()
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()


def test_any_text_is_escaped_and_fits_the_screen(
    browser: Browser, results: Results, tmp_path: Path
) -> None:
    results.titles = (MARKUP, "W" * 200, f"</title><style>*{{display:none}}</style>{MARKUP}")
    results.why = results.description = f"</p>{MARKUP}"
    results.failure = Failure(FailureCode.INTERNAL_ERROR, f"{MARKUP} {'/long' * 300} </article>")
    results.spoken = words([("<b>host</b>", f"</mark>{MARKUP} said."), ("guest", MARKUP)] * 3)
    fields = {"startTime": 0, "endTime": 2, "speaker": "<b>host</b>", "text": f"</ol>{MARKUP}"}
    results.segments = [Segment.read(fields, "a segment")]
    shorts, clip = results.put().download(tmp_path)
    for screen in (PHONE, NARROW, DESK):
        with opened(browser, shorts.as_uri(), **screen) as page:
            page.locator(".transcript summary").click()
            assert page.locator("h3").all_inner_texts() == list(results.titles)
            assert page.locator(".why").all_inner_texts() == [results.why] * 3
            assert page.locator(".post").first.inner_text() == results.description
            assert results.failure.message in page.locator(".missing").inner_text()
            assert f"</mark>{MARKUP} said." in page.locator(".transcript p").first.inner_text()
            assert page.locator("script, img, .transcript b b").count() == 0
            assert overflowing_elements(page) == []
        with opened(browser, clip.as_uri(), **screen) as page:
            assert page.locator(".said").inner_text() == f"</ol>{MARKUP}"
            assert page.locator("script, img").count() == 0
            assert overflowing_elements(page) == []


def test_an_injected_script_does_not_run(browser: Browser, stored: Stored, tmp_path: Path) -> None:
    page_text = stored.results.text(stored.results.keys.page)
    forged = '<script>document.title = "forged"</script><img src=x onerror="document.title = 1">'
    (tmp_path / "page.html").write_text(page_text.replace("<main>", f"<main>{forged}"))
    with browser.new_context() as browser_context:
        page = browser_context.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        assert page.locator("script").count() == 1
        assert page.title() == "talk-1 · shorts"


def overflowing_elements(page: Page) -> list[str]:
    """The elements that make the page wider than the screen."""
    wider = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("*")]
            .filter(one => one.getBoundingClientRect().right > innerWidth)
            .map(one => `${one.tagName} ${one.className}`)"""
    return list(page.evaluate(wider))


def test_no_part_of_a_card_covers_another(
    browser: Browser, results: Results, tmp_path: Path
) -> None:
    # A person's description has up to 5000 characters.
    results.description = "A very long description of what is said. " * 120
    shorts, _ = results.put().download(tmp_path)
    covered = """all => all.flatMap(card => {
        const parts = [...card.querySelectorAll("video, .missing, h3, p, dl, summary, .button")]
            .filter(part => !part.parentElement.closest(".missing"));
        return parts.flatMap((part, place) => parts.slice(place + 1)
            .filter(other => {
                const [one, two] = [part, other].map(each => each.getBoundingClientRect());
                return one.top < two.bottom - 1 && two.top < one.bottom - 1;
            })
            .map(other => [part, other].map(each => each.className || each.tagName)));
    })"""
    for screen in (DESK, PHONE, NARROW):
        with opened(browser, shorts.as_uri(), **screen) as page:
            assert page.locator("article").evaluate_all(covered) == []
            card, button = (page.locator(part).first for part in ("article", ".button"))
            boxes = [part.bounding_box() for part in (card, button)]
            assert boxes[0] and boxes[1]
            assert boxes[0]["height"] < 1400
            assert boxes[1]["height"] < 60


def test_on_a_phone_shorts_are_stacked_and_touch_targets_are_large(
    browser: Browser, stored: Stored
) -> None:
    shorts, _ = stored.disk
    boxes = "all => all.map(one => one.getBoundingClientRect().toJSON())"
    with opened(browser, shorts, **PHONE) as page:
        cards = page.locator("article").evaluate_all(boxes)
        assert len({card["x"] for card in cards}) == 1
        targets = page.locator(".button, summary").evaluate_all(boxes)
        assert targets
        for target in targets:
            assert target["height"] >= 44
    with opened(browser, shorts, **DESK) as page:
        cards = page.locator("article").evaluate_all(boxes)
        assert len({card["y"] for card in cards}) == 1
        players = page.locator("video").evaluate_all(boxes)
        assert len(players) == 2
        assert all(abs(box["height"] / box["width"] - 16 / 9) < 0.01 for box in players)


def test_keyboard_focus_is_visible(browser: Browser, stored: Stored) -> None:
    # Within a player, the focus is on one of its controls, which the browser highlights.
    focused = """() => {
        const here = document.activeElement;
        const style = getComputedStyle(here);
        const visible = !here.matches(":focus") || style.outlineStyle == "solid";
        return [here.tagName, visible];
    }"""
    with opened(browser, stored.disk[0]) as page:
        reached = []
        while "SUMMARY" not in reached:
            page.keyboard.press("Tab")
            tag, is_visible = page.evaluate(focused)
            assert is_visible, tag
            reached.append(tag)
            assert len(reached) < 40
        assert {"VIDEO", "A"} <= set(reached)


LOOKS = {
    "shorts-desk-light": (0, DESK, "light"),
    "shorts-desk-dark": (0, DESK, "dark"),
    "shorts-phone-light": (0, PHONE, "light"),
    "clip-desk-light": (1, DESK, "light"),
    "clip-phone-dark": (1, PHONE, "dark"),
}


MISTAKES = (
    "video { visibility: hidden }",
    "article .button { display: none }",
    ".grid { display: block }",
    ":root { --paper: #fff; --accent: #00f }",
    "h3 { font-size: 2.5rem }",
)


@pytest.mark.parametrize("name", LOOKS)
def test_the_pages_match_their_reference_pictures(
    name: str, browser: Browser, stored: Stored, tmp_path: Path
) -> None:
    which, screen, scheme = LOOKS[name]
    context = {**screen, "color_scheme": scheme, "bypass_csp": True}
    with opened(browser, stored.disk[which], **context) as page:
        assert_matches_reference(name, small_picture(page), tmp_path)


def test_a_broken_page_differs_from_its_reference_picture(browser: Browser, stored: Stored) -> None:
    for mistake in MISTAKES:
        with opened(browser, stored.disk[0], **DESK, bypass_csp=True) as page:
            page.add_style_tag(content=mistake)
            assert differs_from_reference("shorts-desk-light", small_picture(page)), mistake
