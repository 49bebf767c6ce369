"""Clips, and segments with their FLAC audio, play in a browser."""

import queue
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import CHROMIUM, IN_CHROMIUM
from tests.clipflow.jobs.cutting import Cutter
from tests.made_media import make_source

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS += ["--remote-debugging-port=0"]
PAGE = """<video id=v preload=auto muted></video><script>
const report = text => fetch("/", {method: "POST", body: "NAME " + text});
fetch("NAME").then(answer => answer.blob()).then(blob => v.src = URL.createObjectURL(blob));
v.onloadeddata = () => v.currentTime = 1.5;
v.onseeked = () => report([v.duration, v.currentTime, v.videoWidth, v.videoHeight].join(" ")
  + (v.webkitAudioDecodedByteCount > 0 ? " with sound" : ""));
v.onerror = () => report(v.error.message);
</script>"""
# Plays to the end at four times the speed, and reports duration, decoded and dropped frames.
PLAYING = """<video id=v preload=auto muted></video><script>
const report = text => fetch("/", {method: "POST", body: "NAME " + text});
fetch("NAME").then(answer => answer.blob()).then(blob => v.src = URL.createObjectURL(blob));
v.oncanplaythrough = () => { v.playbackRate = 4; v.play(); };
v.onended = () => { const quality = v.getVideoPlaybackQuality();
  report([v.duration, quality.totalVideoFrames, quality.droppedVideoFrames].join(" ")); };
v.onerror = () => report(v.error.message);
</script>"""

pytestmark = IN_CHROMIUM


class Site:
    """Serves a folder on loopback, and collects the reports that its pages post."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reports: queue.Queue[str] = queue.Queue()
        reports = self._reports

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                reports.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(204)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def seek_report(self, name: str) -> str:
        """Chromium's report of the video `name` after a seek to 1.5 s."""
        return self._report_of(name, PAGE, "seen")

    def play_report(self, name: str) -> str:
        """Chromium's report of the video `name` after it has played to its end."""
        return self._report_of(name, PLAYING, "played")

    def _report_of(self, name: str, content: str, kind: str) -> str:
        assert CHROMIUM
        # A page and a profile for each video, because a browser may cache a page of the same name.
        page = f"{name}.{kind}.html"
        (self.folder / page).write_text(content.replace("NAME", name))
        url = f"http://127.0.0.1:{self.server.server_port}/{page}"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={self.folder / page}.profile", url]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # A browser that is closing may still post a report of the previous video.
            while not (report := self._reports.get(timeout=60)).startswith(name):
                pass
            return report.removeprefix(f"{name} ")
        finally:
            browser.terminate()
            browser.wait(20)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def test_a_clip_and_a_segment_play_in_chromium(cutter: Cutter, site: Site, tmp_path: Path) -> None:
    source = make_source(tmp_path / "s.mp4", seconds=8, sound=("-c:a", "aac"), clicks=True)
    head = cutter.put(source)
    segment = cutter.cut(head, "1", "3")
    cutter.cut(head, "5", "6")
    clip, _ = cutter.stitch()
    assert site.seek_report(segment.name) == "2 1.5 320 180 with sound"
    assert site.seek_report(clip.name) == "3 1.5 320 180 with sound"


def test_copied_segments_play_in_chromium_to_the_end(
    cutter: Cutter, site: Site, tmp_path: Path
) -> None:
    picture = ("-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-sc_threshold", "0")
    source = make_source(
        tmp_path / "s.mp4", seconds=8, picture=picture, sound=("-c:a", "aac"), clicks=True
    )
    head = cutter.put(source)
    segment = cutter.cut(head, "1", "7")
    cutter.cut(head, "2", "6")
    cutter.cut(head, "0.52", "1.52")
    assert [cutting.way for cutting in cutter.results] == ["copied", "copied", "encoded"]
    clip, _ = cutter.stitch()
    assert site.seek_report(segment.name) == "6 1.5 320 180 with sound"
    assert site.seek_report(clip.name) == "11 1.5 320 180 with sound"
    assert site.play_report(segment.name).startswith("6 150 ")
    assert site.play_report(clip.name).startswith("11 275 ")
