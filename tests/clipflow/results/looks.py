"""Whether a page looks as it did: small pictures of it, compared with tolerance.

All text is set in the font of the captions, which is the same on every machine, and pictures are
made so small that a letter is a dot: what is left is where things are, how large, in which colour.
"""

from base64 import b64encode
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page

from clipflow.captions import typefaces

REFERENCES = Path(__file__).with_name("screenshots")
# One pixel of a picture for so many of the page, each way.
_SMALLER = 8
# A dot that differs by more than this, of 255, in any colour is another; so many may be, in parts.
_NOTICED, _MOST = 24, 0.015
# The fonts are there, and no player shows the ring by which it says that it is busy.
_SETTLED = """async () => {
    await document.fonts.ready;
    const busy = (video) => video.networkState == HTMLMediaElement.NETWORK_LOADING;
    while ([...document.querySelectorAll("video")].some(busy)) {
        await new Promise(done => setTimeout(done, 20));
    }
}"""


def small_picture(page: Page) -> np.ndarray:
    """What is seen of `page` without scrolling, small. The context must bypass the page's CSP."""
    font = b64encode((typefaces.FOLDER / "clipflow-sans.ttf").read_bytes()).decode()
    page.add_style_tag(
        content=f'@font-face {{ font-family: everywhere; src: url("data:font/ttf;base64,{font}") }}'
        "*, ::before { font-family: everywhere !important; font-weight: 700 !important }"
    )
    page.evaluate(_SETTLED)
    seen = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    height, width = seen.shape[:2]
    small = (width // _SMALLER, height // _SMALLER)
    return np.asarray(cv2.resize(seen, small, interpolation=cv2.INTER_AREA))


def difference(name: str, seen: np.ndarray) -> float:
    """The part of the picture that is not as in the reference `name`, from 0 to 1."""
    reference = cv2.imread(str(REFERENCES / f"{name}.png"))
    assert reference is not None, f"no screenshot {name}"
    if reference.shape != seen.shape:
        return 1.0
    apart = np.abs(reference.astype(int) - seen.astype(int)).max(axis=2)
    return float((apart > _NOTICED).mean())


def looks_as_before(name: str, seen: np.ndarray, folder: Path) -> None:
    """Fails where `seen` is not as the reference; then it is left in `folder`.

    If there is no reference, it becomes the reference and the test fails: check it and run again.
    """
    reference = REFERENCES / f"{name}.png"
    if not reference.exists():
        REFERENCES.mkdir(exist_ok=True)
        cv2.imwrite(str(reference), seen)
        raise AssertionError(f"{reference} is new: look at it")
    differs = difference(name, seen)
    cv2.imwrite(str(folder / f"{name}.png"), seen)
    assert differs <= _MOST, f"{differs:.1%} of {name} is other than it was: see {folder}"


def looks_broken(name: str, seen: np.ndarray) -> bool:
    """Whether the comparison notices."""
    return difference(name, seen) > _MOST
