"""Compares reduced screenshots of a page with reference pictures.

All text is shown in the font of the captions, which is the same on every machine. Screenshots are
reduced until a letter is a dot, so that only positions, sizes and colours are compared.
"""

from base64 import b64encode
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page

from clipflow.captions import typefaces

REFERENCES = Path(__file__).with_name("screenshots")
# The factor by which screenshots are reduced in each direction.
_REDUCTION = 8
# The difference of a colour, out of 255, above which a pixel differs, and the share of pixels that
# may differ.
_TOLERANCE, _MAX_SHARE = 24, 0.015
# Waits until the fonts are loaded and no player shows its loading indicator.
_SETTLED = """async () => {
    await document.fonts.ready;
    const busy = (video) => video.networkState == HTMLMediaElement.NETWORK_LOADING;
    while ([...document.querySelectorAll("video")].some(busy)) {
        await new Promise(done => setTimeout(done, 20));
    }
}"""


def small_picture(page: Page) -> np.ndarray:
    """A reduced screenshot of `page`, unscrolled. Its context must bypass the page's CSP."""
    font = b64encode((typefaces.FOLDER / "clipflow-sans.ttf").read_bytes()).decode()
    page.add_style_tag(
        content=f'@font-face {{ font-family: everywhere; src: url("data:font/ttf;base64,{font}") }}'
        "*, ::before { font-family: everywhere !important; font-weight: 700 !important }"
    )
    page.evaluate(_SETTLED)
    screenshot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert screenshot is not None
    height, width = screenshot.shape[:2]
    small = (width // _REDUCTION, height // _REDUCTION)
    return np.asarray(cv2.resize(screenshot, small, interpolation=cv2.INTER_AREA))


def difference(name: str, screenshot: np.ndarray) -> float:
    """The share of pixels that differ from the reference picture `name`, from 0 to 1."""
    reference = cv2.imread(str(REFERENCES / f"{name}.png"))
    assert reference is not None, f"no screenshot {name}"
    if reference.shape != screenshot.shape:
        return 1.0
    apart = np.abs(reference.astype(int) - screenshot.astype(int)).max(axis=2)
    return float((apart > _TOLERANCE).mean())


def assert_matches_reference(name: str, screenshot: np.ndarray, folder: Path) -> None:
    """Store `screenshot` in `folder`, and fail if it differs from the reference picture `name`.

    If there is no reference picture, `screenshot` becomes the reference and the test fails, so that
    the new picture is checked before the test is run again.
    """
    reference = REFERENCES / f"{name}.png"
    if not reference.exists():
        REFERENCES.mkdir(exist_ok=True)
        cv2.imwrite(str(reference), screenshot)
        raise AssertionError(f"{reference} is new: check it and run the test again")
    differs = difference(name, screenshot)
    cv2.imwrite(str(folder / f"{name}.png"), screenshot)
    assert differs <= _MAX_SHARE, f"{differs:.1%} of {name} differs: see {folder}"


def differs_from_reference(name: str, screenshot: np.ndarray) -> bool:
    """Whether `screenshot` differs from the reference picture `name`."""
    return difference(name, screenshot) > _MAX_SHARE
