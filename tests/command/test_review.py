"""`clipflow review` in Chromium: what a user edits, the stored edits, and the rendered videos."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from clipflow.domain.transcript import words_json
from clipflow.media import ffmpeg
from deployments.local_stack import RunningStack
from tests.chromium import CHROMIUM, IN_CHROMIUM
from tests.clipflow.jobs.test_render import pictures, yellow
from tests.command.cli import CLIPFLOW, run_clipflow, user_environment
from tests.made_media import frame_numbers, frame_times
from tests.spoken import hesitant_words, make_spoken

pytestmark = IN_CHROMIUM
OPTIONS = (
    "--count",
    2,
    "--seconds",
    6,
    "--aspect",
    "1:1",
    "--layout",
    "fit",
    "--captions",
    "karaoke",
    "--tighten",
)
WORDS, SIZE = hesitant_words(), (352, 198)
# The region of a short that shows the whole source.
SHOWN = (0, 236, 1080, 608)
# Timeouts in milliseconds, for one action on the page and for rendering, while other tests run.
TIMEOUT = 60_000
RENDER_TIMEOUT = 240_000
PHONE: dict[str, Any] = {
    "viewport": {"width": 375, "height": 812},
    "is_mobile": True,
    "has_touch": True,
}


@dataclass
class Review:
    """A running `clipflow review`, and the objects of its video."""

    address: str
    name: str
    stack: RunningStack
    browser: Browser
    browser_messages: list[str] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """The video's folder in the bucket."""
        return f"klippers_warehouse/local/{self.name}"

    def object(self, key: str) -> bytes:
        """The content of an object in the video's folder."""
        client = self.stack.client("s3")
        found = client.get_object(Bucket="clipflow-media", Key=f"{self.prefix}/{key}")
        return bytes(found["Body"].read())

    def video(self, key: str, folder: Path) -> Path:
        """Download an object in the video's folder to a new file in `folder`."""
        path = folder / f"{len([*folder.iterdir()])}.mp4"
        path.write_bytes(self.object(key))
        return path

    @property
    def edits(self) -> dict[str, Any]:
        """The stored document of edits; an empty one if there is none."""
        client = self.stack.client("s3")
        listed = client.list_objects_v2(Bucket="clipflow-media", Prefix=self.prefix)
        is_there = any(each["Key"] == f"{self.prefix}/edits.json" for each in listed["Contents"])
        return dict(json.loads(self.object("edits.json"))) if is_there else {"version": 1}

    def store_edits(self, edits: dict[str, Any]) -> None:
        """Replace the stored document of edits."""
        self.stack.client("s3").put_object(
            Bucket="clipflow-media",
            Key=f"{self.prefix}/edits.json",
            Body=json.dumps(edits).encode(),
        )

    def open(self, **context: Any) -> Page:
        """Open the page. Console messages, errors and dialogs are added to `browser_messages`."""
        page = self.browser.new_context(**context).new_page()
        page.on("console", lambda message: self.browser_messages.append(message.text))
        page.on("pageerror", lambda error: self.browser_messages.append(str(error)))
        page.on("dialog", lambda dialog: self.browser_messages.append(dialog.message))
        page.set_default_timeout(TIMEOUT)
        page.goto(self.address)
        expect(page.locator("#saved")).to_have_text("All changes are saved")
        return page


# Its scope is the module, so that it is closed before tests of other modules: Playwright's event
# loop runs in this thread while it is open, and Prefect's synchronous client fails in such a
# thread.
@pytest.fixture(scope="module")
def review(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """A running `clipflow review` of a video with two shorts, and a browser."""
    folder: Path = tmp_path_factory.mktemp("review")
    # The id of a video is derived from its content, so each test of this stack has another video.
    make_spoken(folder / "talk.mp4", WORDS, seconds=25, size=SIZE)
    (folder / "talk.json").write_text(words_json(WORDS))
    made = run_clipflow(
        *("shorts", "talk.mp4", "--subtitles", "talk.json", *OPTIONS, "--json"),
        folder=folder,
        env=stack.env,
    )
    assert made.returncode == 0, made.stderr
    name = json.loads(made.stdout)["name"]
    command = [CLIPFLOW, "review", name, "--no-open"]
    expect.set_options(timeout=TIMEOUT)
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            env={**user_environment(), **stack.env},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        sync_playwright() as playwright,
    ):
        assert process.stdout
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address)
        # A browser can open the page as soon as its address is known.
        assert httpx.get(address, timeout=60).status_code == 200
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Review(address, name, stack, browser)
        browser.close()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture(autouse=True)
def no_edited_short(review: Review) -> Iterator[None]:
    """Remove what a failed test has changed in the shorts, so that the next test passes."""
    yield
    if (edits := review.edits).pop("shorts", None):
        review.store_edits(edits)


# Records the state, the steps and the progress of a run whenever they change.
FOLLOW = """() => {
    window.followed = [];
    const text = (id) => document.getElementById(id).textContent;
    const record = () => window.followed.push(
        [text("run-state"), text("run-steps"), document.getElementById("run-progress").value]);
    const whole = { subtree: true, childList: true, attributes: true, characterData: true };
    new MutationObserver(record).observe(document.getElementById("progress"), whole);
}"""


def word(page: Page, text: str) -> Any:
    """The button of the first word of the short with this text."""
    return page.locator("#words button:not(.outside)", has_text=re.compile(f"^{text}$")).first


def expect_saved(page: Page) -> None:
    """Wait until the page shows that all changes are saved."""
    expect(page.locator("#saved")).to_have_text("All changes are saved")


def test_a_word_is_corrected_and_the_new_video_shows_it(review: Review) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    video = "videos-cropped-stacked/segment_{}_cropped_stacked.mp4"
    before = [review.object(video.format(n)) for n in (1, 2)]
    spoken_words = page.locator("#words button:not(.outside):not(.bracket):not(.taken-out)")
    shown = spoken_words.all_inner_texts()
    chosen = max(shown, key=len)

    # While the short plays, the spoken word is highlighted.
    page.get_by_role("button", name="Play the short").click()
    expect(page.locator("#words .spoken")).to_have_count(1)
    page.locator("#video").evaluate("video => video.pause()")

    # A word is corrected with the keyboard only.
    word(page, chosen).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#word-text")).to_be_focused()
    page.keyboard.type("<b>Zanzibar</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#words .changed").first).to_have_text("<b>Zanzibar</b>")
    expect_saved(page)
    [correction] = review.edits["words"].values()
    assert correction == {"original": chosen, "text": "<b>Zanzibar</b>"}

    page.get_by_role("button", name="Render again").click()
    expect(page.locator("#run-state")).to_have_text("Completed", timeout=RENDER_TIMEOUT)
    expect(page.locator("#run-message")).to_have_text("2 of 2 shorts made.")
    assert "<b>Zanzibar</b>" in review.object("important-segment-videos/segment_1.srt").decode()
    after = [review.object(video.format(n)) for n in (1, 2)]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    # The page plays the new video.
    played = page.evaluate(
        """async () => {
            const bytes = await (await fetch(document.querySelector("#video").src)).arrayBuffer();
            return bytes.byteLength;
        }"""
    )
    assert played == len(after[0])
    assert review.browser_messages == []


def test_a_removed_word_is_restored_and_is_in_the_new_video(review: Review, tmp_path: Path) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    other = review.open(viewport={"width": 1280, "height": 900})
    files = {n: f"videos-cropped-stacked/segment_{n}_cropped_stacked.mp4" for n in (1, 2)}
    before, second = review.video(files[1], tmp_path), review.object(files[2])
    [removed] = json.loads(review.object("tightening/segment_1.json"))["removed"]
    after = WORDS[removed["word"] + 1]

    # The tightened video plays, and each of its words is highlighted while it is spoken.
    start = page.evaluate(
        "fetch('api/state').then((r) => r.json()).then((s) => s.shorts[0].rendered[0])"
    )
    saved_seconds = removed["end"] - removed["start"]
    seek = "(video, time) => { video.currentTime = time; }"
    video, lit = page.locator("#video"), page.locator("#words .spoken")
    video.evaluate(seek, after.start + 0.05 - start - saved_seconds)
    expect(lit).to_have_text(after.text)
    note = page.locator("#tightening-note")
    expect(note).to_have_text(f"1 taken out: the short is {saved_seconds:.1f} seconds shorter.")
    box = page.get_by_label("Take out filler words and long silences")
    box.uncheck()
    expect(page.locator("#removals li")).to_have_count(0)
    expect_saved(page)
    [edit] = review.edits["shorts"].values()
    assert edit == {"tighten": False}
    box.check()

    page.get_by_role("button", name=re.compile("^Put back filler erm,")).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Take out filler erm,"))).to_be_focused()
    expect(note).to_contain_text("Render again")
    expect_saved(page)
    [edit] = review.edits["shorts"].values()
    assert edit == {"restored": {removed["id"]: "erm,"}}

    # Every open page shows the running job, including a page that is opened while it runs.
    page.evaluate(FOLLOW)
    page.get_by_role("button", name="Render again").click()
    expect(page.locator("#run-steps")).not_to_be_empty(timeout=RENDER_TIMEOUT)
    other.reload()
    expect(other.locator("#progress")).to_be_visible()
    for each in (page, other):
        expect(each.locator("#run-state")).to_have_text("Completed", timeout=RENDER_TIMEOUT)
    followed = page.evaluate("window.followed")
    assert followed[-1][0] == "Completed"
    assert any(state == "Running" and steps for state, steps, _ in followed)

    made = review.video(files[1], tmp_path)
    back = sorted(set(frame_numbers(made, SHOWN)) - set(frame_numbers(before, SHOWN)))
    assert back == [
        n for n in range(625) if removed["start"] - 0.001 <= n / 25 < removed["end"] - 0.001
    ]
    filler = WORDS[removed["word"]]
    lights = [
        float(t)
        for t, picture in zip(frame_times(made), pictures(made), strict=True)
        if yellow(picture)
    ]
    assert any(filler.start < start + time < filler.end for time in lights)
    assert review.object(files[2]) == second
    expect(note).to_contain_text("0 taken out")
    video.evaluate(seek, after.start + 0.05 - start)
    expect(lit).to_have_text(after.text)
    page.get_by_role("button", name="Undo").click()
    expect_saved(page)
    # Taken out again, it is skipped while the source plays, here at a speed of zero.
    page.get_by_role("button", name="Play the new cut").click()
    expect(page.locator("#plays")).to_have_text("The source, as it is cut now")
    inside = (removed["start"] + removed["end"]) / 2
    video.evaluate("(v, time) => { v.playbackRate = 0; v.currentTime = time; }", inside)
    skipped = "time => document.querySelector('#video').currentTime > time"
    page.wait_for_function(skipped, arg=removed["end"] - 0.01)
    assert review.browser_messages == []


def test_changes_of_a_short_are_stored_and_can_be_undone(review: Review) -> None:
    page = review.open(**PHONE)
    first = review.edits
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#shorts button").nth(1).tap()
    expect(page.locator("#heading")).to_contain_text("2. ")
    page.get_by_label("Title").fill("Another <i>title</i>")
    page.get_by_label("Title").press("Tab")
    expect(page.locator("#heading")).to_have_text("2. Another <i>title</i>")
    end = float(page.get_by_label("End (seconds)").input_value())
    page.get_by_label("End (seconds)").fill(str(end - 1.2))
    page.get_by_label("End (seconds)").press("Tab")
    expect(page.locator("#plays")).to_have_text("The source, as it is cut now")
    expect_saved(page)
    assert float(page.get_by_label("End (seconds)").input_value()) < end
    page.locator("#video").evaluate("video => video.pause()")
    # The start is moved with the keyboard, on its bracket.
    begin = page.get_by_label("Beginning (seconds)").input_value()
    page.locator("[data-edge=first]").press("ArrowRight")
    expect(page.get_by_label("Beginning (seconds)")).not_to_have_value(begin)
    page.get_by_role("button", name="Refuse", exact=True).tap()
    expect(page.get_by_role("button", name="Refuse", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_label("Layout").select_option("crop")
    expect_saved(page)
    [edit] = review.edits["shorts"].values()
    assert {*edit} == {"title", "span", "decision", "layout"}
    for _ in range(5):
        page.get_by_role("button", name="Undo").tap()
        expect_saved(page)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    assert review.edits == first
    assert review.browser_messages == []


def test_texts_to_post_are_copied_and_a_framing_is_set_and_removed(review: Review) -> None:
    page = review.open(
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    first = review.edits
    description = page.get_by_label("Description").input_value()
    assert description
    page.get_by_role("button", name="Copy the description").click()
    assert page.evaluate("navigator.clipboard.readText()") == description
    tags = page.get_by_label("Hashtags")
    chosen = tags.input_value()
    assert re.fullmatch(r"#\w+( #\w+){0,4}", chosen)
    tags.fill("#One, two #Three")
    tags.press("Tab")
    expect_saved(page)
    expect(tags).to_have_value("#One #two #Three")
    page.get_by_text("Framing: whom or what").click()
    page.get_by_label("Shows").select_option("place")
    page.get_by_label("Across (%)").fill("25")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#framing-list li")).to_contain_text("the place 25 % across, 50 % down")
    expect_saved(page)
    [edit] = review.edits["shorts"].values()
    assert edit["hashtags"] == ["One", "two", "Three"]
    assert [view["place"] for view in edit["framing"]] == [{"x": 0.25, "y": 0.5}]
    page.locator("#framing-list").get_by_role("button", name="Remove").click()
    expect_saved(page)
    # If the field is emptied, it shows the hashtags from the transcript again.
    tags.fill("")
    tags.press("Tab")
    expect(tags).to_have_value(chosen)
    expect_saved(page)
    assert review.edits == first
    assert review.browser_messages == []


def test_a_word_is_replaced_everywhere_and_an_end_is_dragged(review: Review) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    first = review.edits
    words = page.locator("#words button:not(.bracket)")
    [*places] = (n for n, text in enumerate(words.all_inner_texts()) if text == "clip")
    words.nth(places[0]).click()
    page.locator("#word-text").fill("film")
    page.get_by_label("Everywhere it is said").check()
    page.get_by_role("button", name="Save").click()
    for place in places:
        expect(words.nth(place)).to_have_text("film")
    expect_saved(page)
    assert review.edits["replacements"] == {"clip": "film"}

    inside = page.locator("#words button:not(.outside):not(.bracket)")
    count, end = inside.count(), page.get_by_label("End (seconds)").input_value()
    page.locator("[data-edge=last]").hover()
    page.mouse.down()
    inside.nth(count - 3).hover()
    page.mouse.up()
    expect(inside).to_have_count(count - 2)
    expect(page.get_by_label("End (seconds)")).not_to_have_value(end)
    # The page plays the last seconds before the new end at once.
    expect(page.locator("#plays")).to_have_text("The source, as it is cut now")
    expect_saved(page)
    for _ in range(2):
        page.get_by_role("button", name="Undo").click()
        expect_saved(page)
    assert review.edits == first
    assert review.browser_messages == []


@pytest.mark.parametrize(
    ("options", "message", "played"),
    [
        (("-c:v", "libx265", "-tag:v", "hvc1", "-c:a", "aac"), "cannot show its picture", "source"),
        (("-c:v", "libx265", "-tag:v", "hvc1", "-an"), "cannot play the source", "short/1"),
    ],
)
def test_a_source_that_the_browser_cannot_play_can_be_edited(
    review: Review, options: tuple[str, ...], message: str, played: str, tmp_path: Path
) -> None:
    path = tmp_path / "source.mp4"
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=320x180:d=25", "-f", "lavfi", "-i", "sine=d=25")
    quick = ("-preset", "ultrafast", "-x265-params", "log-level=0")
    command: tuple[str | Path, ...] = (
        ffmpeg.executable(),
        "-v",
        "error",
        *inputs,
        *quick,
        *options,
        path,
    )
    subprocess.run(command, check=True)
    page = review.open(viewport={"width": 1280, "height": 900})
    page.route("**/media/source", lambda route: route.fulfill(path=path, content_type="video/mp4"))
    first = review.edits
    video = page.locator("#video")
    for _ in range(2):
        page.get_by_label("End (seconds)").focus()
        page.get_by_role("button", name="Play the new cut").click()
        expect(page.locator("#plays")).to_contain_text(message)
        page.wait_for_function("() => document.getElementById('video').currentTime > 0")
        assert video.evaluate("video => video.src").split("?")[0].endswith(f"/media/{played}")
    # Words can be corrected as always.
    page.locator("#words button:not(.outside):not(.bracket)").first.click()
    page.locator("#word-text").fill("Zebra")
    page.get_by_role("button", name="Save").click()
    expect_saved(page)
    assert review.edits != first
    page.get_by_role("button", name="Undo").click()
    expect_saved(page)
    assert review.edits == first


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold the next request to an address; it is in the list once the page has sent it."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route), times=1)
    return held


def first_of(held: list[Route], page: Page) -> Route:
    """Wait for the held request."""
    while not held:
        page.wait_for_timeout(20)
    return held[0]


def test_a_change_that_cannot_be_stored_is_shown_as_unsaved_and_stored_later(
    review: Review,
) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    first = review.edits
    page.route("**/api/edits", lambda route: route.abort())
    title = page.get_by_label("Title")
    title.fill("Written while nobody listens")
    title.press("Tab")
    expect(page.locator("#saved")).to_have_text("Not saved: trying again")
    expect(page.get_by_role("alert")).to_contain_text("clipflow review does not answer")
    # Nothing is rendered without what could not be stored.
    page.get_by_role("button", name="Render again").click()
    expect(page.locator("#saved")).to_have_text("Not saved: trying again")
    expect(page.locator("#progress")).to_be_hidden()
    page.unroute("**/api/edits")
    expect_saved(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert review.edits["shorts"].popitem()[1]["title"] == "Written while nobody listens"
    page.get_by_role("button", name="Undo").click()
    expect_saved(page)
    assert review.edits == first
    # The browser logs requests that fail.
    review.browser_messages.clear()


def test_only_the_change_that_is_refused_is_taken_back(review: Review) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    first = review.edits
    held = hold(page, "**/api/edits")
    page.get_by_label("Title").fill("Turned \u202earound")
    page.get_by_label("Title").press("Tab")
    page.get_by_label("Hook").fill("Written before the answer")
    page.get_by_label("Hook").press("Tab")
    expect(page.locator("#saved")).to_have_text("Saving")
    first_of(held, page).continue_()
    expect(page.get_by_role("alert")).to_contain_text("title")
    expect_saved(page)
    [edit] = review.edits["shorts"].values()
    assert edit == {"hook": "Written before the answer"}
    expect(page.get_by_label("Title")).not_to_have_value(re.compile("around"))
    page.get_by_role("button", name="Undo").click()
    expect_saved(page)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    assert review.edits == first
    # The browser logs requests that fail.
    review.browser_messages.clear()


def test_what_is_changed_while_a_run_ends_is_kept(review: Review) -> None:
    page = review.open(viewport={"width": 1280, "height": 900})
    first = review.edits
    run = "00000000-0000-0000-0000-000000000000"
    bar = page.locator("#run-progress")
    steps = [
        {"name": "a step", "isOver": True, "progress": 100},
        {"name": "another", "isOver": False, "progress": 40},
    ]
    running = {"state": "Running", "isOver": False, "hasFailed": False, "message": ""}
    page.route("**/api/render", lambda route: route.fulfill(json={"run": run}))
    page.route("**/api/progress/*", lambda route: route.fulfill(json={**running, "steps": steps}))
    states = hold(page, "**/api/state")
    page.get_by_role("button", name="Render again").click()
    expect(page.locator("#run-steps")).to_have_text("another, 40 %")
    assert bar.evaluate("bar => bar.value") == 0.7
    # Prefect's answer may still have a running step when the run is over.
    over = {**running, "state": "Completed", "isOver": True}
    page.route("**/api/progress/*", lambda route: route.fulfill(json={**over, "steps": steps}))
    state = first_of(states, page)
    expect(page.locator("#run-steps")).to_have_text("")
    assert bar.evaluate("bar => bar.value") == 1
    before = state.fetch()
    saves = hold(page, "**/api/edits")
    page.get_by_label("Hook").fill("Written while the run ended")
    page.get_by_label("Hook").press("Tab")
    save = first_of(saves, page)
    # The page gets a state from before the change while the change is on its way.
    with page.expect_response("**/api/state"):
        state.fulfill(response=before)
    save.continue_()
    expect_saved(page)
    expect(page.get_by_label("Hook")).to_have_value("Written while the run ended")
    [edit] = review.edits["shorts"].values()
    assert edit == {"hook": "Written while the run ended"}
    page.get_by_role("button", name="Undo").click()
    expect_saved(page)
    assert review.edits == first


def test_concurrent_edits_of_two_users_are_merged_or_resolved(review: Review) -> None:
    one, other = (review.open(viewport={"width": 1280, "height": 900}) for _ in range(2))
    one.get_by_label("Title").fill("Title of one")
    one.get_by_label("Title").press("Tab")
    expect_saved(one)
    # A change of another field is merged without a dialog.
    other.get_by_label("Hook").fill("Hook of the other")
    other.get_by_label("Hook").press("Tab")
    expect(other.locator("#heading")).to_contain_text("Title of one")
    expect_saved(other)
    [edit] = review.edits["shorts"].values()
    assert (edit["title"], edit["hook"]) == ("Title of one", "Hook of the other")
    # A change of the same field opens a dialog, and is not stored before the user has chosen.
    one.get_by_label("Hook").fill("Hook of one")
    one.get_by_label("Hook").press("Tab")
    dialog = one.get_by_role("dialog", name="Somebody else has changed the same")
    expect(dialog.get_by_role("listitem")).to_contain_text("hook")
    assert review.edits["shorts"].popitem()[1]["hook"] == "Hook of the other"
    dialog.get_by_role("button", name="Theirs").click()
    expect(one.get_by_label("Hook")).to_have_value("Hook of the other")
    expect_saved(one)
    # Undoing the first change of the short keeps what the other user has changed in it.
    for _ in range(2):
        one.get_by_role("button", name="Undo").click()
        expect_saved(one)
    expect(one.get_by_role("button", name="Undo")).to_be_disabled()
    assert review.edits["shorts"].popitem()[1] == {"hook": "Hook of the other"}
    # The server responds with 409 to a conflict, and the browser logs every error response.
    assert all("409" in line for line in review.browser_messages)
    review.browser_messages.clear()


def test_a_run_that_prefect_does_not_have_is_named(review: Review) -> None:
    answer = httpx.get(f"{review.address}api/progress/{UUID(int=0)}", timeout=60)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(f"Prefect has no run {UUID(int=0)}.")


def test_the_page_is_accessible_and_lists_its_keyboard_shortcuts(review: Review) -> None:
    for scheme in ("light", "dark"):
        page = review.open(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        # axe is injected by the debugger of the browser, to which the page's policy does not apply.
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("?")
        keys = page.get_by_role("dialog", name="Keys")
        expect(keys).to_be_visible()
        expect(keys.get_by_text("Play or pause")).to_be_visible()
        assert Axe().run(page).violations_count == 0
        page.keyboard.press("Escape")
        page.locator("#words button").nth(3).click()
        expect(page.get_by_role("dialog", name="Correct a word")).to_be_visible()
        assert Axe().run(page).violations_count == 0
