"""The parts of a short that platforms leave free of their own buttons, titles and sound labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Platform(StrEnum):
    """A platform whose controls captions, hooks and logos keep clear of."""

    TIKTOK = "tiktok"
    REELS = "reels"
    SHORTS = "shorts"


@dataclass(frozen=True)
class Box:
    """A part of a picture, in pixels: `left ≤ x < right`, `top ≤ y < bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def overlaps(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


# Pixels of a picture of 1080x1920 that each platform's player covers: left, top, right, bottom.
# The platforms publish numbers for advertisements only, whose buttons reach higher (Meta: 14 % at
# the top, 35 % at the bottom, 6 % at the sides). For posts these are what guides for creators
# agree on, with the larger number where they differ, as read on 2026-11-29:
# houseofmarketers.com/guide-to-safe-zones-tiktok-facebook-instagram-stories-reels (TikTok: the
# lower 20 % and the buttons at the right; Reels: 14 % at the top, 6 % at the sides) and
# youraithumbnailgenerator.com/guides/youtube-shorts-safe-zones-complete-guide (Shorts: the lower
# 25 %). The columns of buttons are 120 to 160 pixels wide in screenshots of all three.
_COVERED = {
    Platform.TIKTOK: (60, 130, 140, 384),
    Platform.REELS: (65, 270, 140, 384),
    Platform.SHORTS: (48, 180, 160, 480),
}
_TALL = (1080, 1920)
# The share of each side that is left free in other shapes, over which players place nothing.
_MARGIN = 0.05


def safe_box(size: tuple[int, int], platforms: Iterable[Platform] = Platform) -> Box:
    """The part of a picture of `size` that none of the platforms covers.

    Only a picture of 9:16 fills a phone, so that controls lie over it; any other has an even
    margin.
    """
    width, height = size
    covered = [_COVERED[platform] for platform in platforms]
    if size[0] * _TALL[1] != size[1] * _TALL[0] or not covered:
        across, down = round(_MARGIN * width), round(_MARGIN * height)
        return Box(across, down, width - across, height - down)
    left, top, right, bottom = (max(sides) for sides in zip(*covered, strict=True))
    scale = width / _TALL[0]
    return Box(
        round(left * scale),
        round(top * scale),
        width - round(right * scale),
        height - round(bottom * scale),
    )
