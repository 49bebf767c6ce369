"""The parts of a short that platforms leave free of their controls, and where text fits there."""

from collections.abc import Iterable, Sequence
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
# the top, 35 % at the bottom, 6 % at the sides). For posts, some of these numbers are from guides
# for creators, read on 2026-11-29:
# houseofmarketers.com/guide-to-safe-zones-tiktok-facebook-instagram-stories-reels (TikTok: the
# lower 20 % and the buttons at the right; Reels: 14 % at the top, 6 % at the sides) and
# youraithumbnailgenerator.com/guides/youtube-shorts-safe-zones-complete-guide (Shorts: the lower
# 25 %). The others are estimates from general knowledge of the apps, without a source and not
# measured: the width of the column of buttons at the right (140 to 160 pixels) on all three, the
# top of TikTok and Shorts, the left side of TikTok and Shorts, and the bottom of Reels.
_COVERED = {
    Platform.TIKTOK: (60, 130, 140, 384),
    Platform.REELS: (65, 270, 140, 384),
    Platform.SHORTS: (48, 180, 160, 480),
}
_TALL = (1080, 1920)
# The margin on each side in pictures of other shapes, as a share of it. Players place no controls
# over those.
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


# Distances from the wanted line at which text may be centred instead, as shares of the short's
# height: first those that look best, then all others, nearest first.
_STEPS = (
    *(0.0, 0.05, 0.08, 0.12, 0.16, 0.24, -0.08, -0.12, -0.2, -0.3, -0.38),
    *sorted((step / 50 for step in range(-40, 41)), key=abs),
)
# Half of the height of captions in the default style, in pixels.
CAPTIONS_HALF = 114


def clear_line(
    lips: Iterable[float],
    wanted: float,
    half: int,
    size: tuple[int, int],
    platforms: Iterable[Platform] = Platform,
    steps: Sequence[float] = _STEPS,
    eyes: Iterable[float] = (),
) -> int:
    """The centre of text that reaches `half` pixels up and down, in pixels from the top.

    It is `wanted`, or the nearest line that covers the fewest of `lips`, and of these lines one
    that covers the fewest of `eyes`. Both are vertical places in the short of `size`.
    """
    height = size[1]
    box = safe_box(size, platforms)
    highest, lowest = box.top + half, max(box.top + half, box.bottom - half)
    kinds = list(lips), list(eyes)

    def covered(centre: int) -> list[int]:
        return [sum(abs(y - centre) < half for y in places) for places in kinds]

    centres = [round(min(max(wanted + step * height, highest), lowest)) for step in steps]
    return min(centres, key=covered)
