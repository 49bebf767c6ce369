"""Runs and their artifacts in the UI of Prefect, in Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deployments.local_stack import RunningStack
from tests.chromium import CHROMIUM, IN_CHROMIUM
from tests.made_media import make_source
from tests.programs import eventually

pytestmark = IN_CHROMIUM
SEGMENTS = [
    {"startTime": 1, "endTime": 2, "speaker": "<b>the</b> *host*"},
    {"startTime": 4, "endTime": 6},
]
ENDED = {"COMPLETED", "FAILED", "CRASHED"}
# The timeout in milliseconds, long enough for a machine that is busy with other tests.
TIMEOUT = 60_000


class Ui:
    """Starts runs with the API of Prefect and opens pages of its UI."""

    def __init__(self, stack: RunningStack, browser: Browser) -> None:
        self.home = stack.settings.prefect_url
        self._browser = browser

    def api(self, method: str, path: str, body: object = None) -> Any:
        response = httpx.request(method, f"{self.home}/api{path}", json=body, timeout=30)
        return response.raise_for_status().json()

    def deployment(self, flow: str) -> str:
        return str(self.api("GET", f"/deployments/name/{flow}/clipflow")["id"])

    def start(self, flow: str, **parameters: Any) -> str:
        path = f"/deployments/{self.deployment(flow)}/create_flow_run"
        return str(self.api("POST", path, {"parameters": parameters})["id"])

    def has_ended(self, run: str) -> bool:
        return self.api("GET", f"/flow_runs/{run}")["state_type"] in ENDED

    def open(self, path: str) -> Page:
        page = self._browser.new_page(viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(TIMEOUT)
        page.goto(f"{self.home}{path}", timeout=TIMEOUT)
        return page


# Of module scope, because an open Playwright has an event loop in this thread, which would
# disturb Prefect in other modules.
@pytest.fixture(scope="module")
def ui(stack: RunningStack) -> Iterator[Ui]:
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Ui(stack, browser)
        browser.close()


@pytest.fixture(scope="module")
def episode(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("source") / "main.mp4"
    make_source(path, seconds=8, sound=("-c:a", "aac"))
    episode_id = f"episode-{uuid4().hex[:8]}"
    stack.client("s3").upload_file(str(path), "clipflow-media", f"{episode_id}/tracks/main.mp4")
    return episode_id


@pytest.fixture(scope="module")
def runs(ui: Ui, episode: str) -> tuple[str, str]:
    """A run that made a clip, and a run that failed."""
    episode_parameters: dict[str, Any] = {
        "tenant_id": "t",
        "episode_id": episode,
        "segments": SEGMENTS,
    }
    made = ui.start("generate-clip", clip_id="made", **episode_parameters)
    failed = ui.start(
        "generate-clip", clip_id="gone", source_key="nowhere.mp4", **episode_parameters
    )
    eventually(lambda: ui.has_ended(made) and ui.has_ended(failed), 240)
    return made, failed


def test_a_run_shows_its_owner_and_its_results(ui: Ui, runs: tuple[str, str], episode: str) -> None:
    page = ui.open(f"/runs/flow-run/{runs[0]}")
    for words in ("made", "tenant:t", f"episode:{episode}", "Completed"):
        expect(page.get_by_text(words, exact=True).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).first.click()
    expect(page.get_by_text(f"Clip made of {episode} · 00:00:03")).to_be_visible()
    page.get_by_text("poster-clip-made").click()
    picture = page.locator("img[src^='data:image/jpeg']")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640


def test_the_results_table_lists_each_segment_with_working_links(
    ui: Ui, runs: tuple[str, str], episode: str
) -> None:
    page = ui.open(f"/runs/flow-run/{runs[0]}")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("clip-made", exact=True).click()
    expect(page.get_by_text("00:00:01-00:00:02")).to_be_visible()
    # Text of a user is shown as it is, and not interpreted as HTML or Markdown.
    expect(page.get_by_text("<b>the</b> *host*")).to_be_visible()
    links = page.get_by_role("link", name=re.compile("open|watch it|results page"))
    expect(links).to_have_count(4)
    for link in links.all():
        opened = page.context.request.get(str(link.get_attribute("href")))
        assert opened.ok and opened.headers["content-type"].split(";")[0] in (
            "video/mp4",
            "text/html",
        )
    with page.context.expect_page() as new:
        page.get_by_role("link", name="results page").click()
    expect(new.value.locator("video")).to_have_count(1)
    expect(new.value.get_by_text("made").first).to_be_visible()


def test_a_failed_run_shows_the_error_and_a_remedy(ui: Ui, runs: tuple[str, str]) -> None:
    page = ui.open(f"/runs/flow-run/{runs[1]}")
    message = "There is no source at nowhere.mp4. Upload it, or correct the key."
    expect(page.get_by_text(message).last).to_be_visible()
    page.get_by_text("Details", exact=True).first.click()
    expect(page.get_by_text("There is no source at nowhere.mp4.").first).to_be_visible()
    state = ui.api("GET", f"/flow_runs/{runs[1]}")["state"]
    assert (state["name"], state["message"]) == ("Failed", message)


def test_the_form_of_a_run_has_help_and_rejects_invalid_parameters(ui: Ui) -> None:
    page = ui.open(f"/deployments/deployment/{ui.deployment('generate-shorts')}/run")
    expect(page.get_by_text("The user: the folder above the video's.")).to_be_visible()
    submit = page.get_by_role("button", name="Submit")
    submit.click()
    for name in ("user_id", "video_id"):
        expect(page.get_by_text(f"'{name}' is a required property")).to_be_visible()
    # The form does not check patterns. The server does, and no run is created.
    for field in page.locator("textarea").all():
        field.fill("no/body")
    expect(page.get_by_text("is a required property")).to_have_count(0)
    submit.click()
    expect(page.get_by_text(re.compile("'no/body' does not match")).first).to_be_visible()


def test_deployments_pools_and_automations_have_descriptions(ui: Ui) -> None:
    for kind in ("deployments", "work_pools", "automations"):
        there = ui.api("POST", f"/{kind}/filter", {})
        assert there and all(one["description"] for one in there), kind
    page = ui.open(f"/deployments/deployment/{ui.deployment('generate-clip')}")
    page.get_by_text("Description", exact=True).first.click()
    expect(page.get_by_text("Makes one clip of an episode's tracks").first).to_be_visible()
