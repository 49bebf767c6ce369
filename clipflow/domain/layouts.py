"""Layouts: what fills a short's picture. Each is a member of `Layout`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Aspect(StrEnum):
    """The shape of a short's picture, as width to height."""

    TALL = "9:16"
    SQUARE = "1:1"
    PORTRAIT = "4:5"
    WIDE = "16:9"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        sizes = {Aspect.SQUARE: (1080, 1080), Aspect.PORTRAIT: (1080, 1350)}
        return (1920, 1080) if self is Aspect.WIDE else sizes.get(self, (1080, 1920))


class Content(StrEnum):
    """What a pane shows."""

    PERSON = "person"  # a crop on the active speaker, or on one person for each such pane
    PICTURE = "picture"  # the whole picture before a blurred copy of itself
    BACKGROUND = "background"  # the background video


@dataclass(frozen=True)
class Pane:
    """A part of a short's picture, as fractions of its width and height."""

    content: Content
    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, width and height in a picture of `size`, as even numbers of pixels.

        A pane that is above another in a tall picture is to its left in a wide one.
        """
        x, y, width, height = self.x, self.y, self.width, self.height
        if size[0] > size[1]:
            x, y, width, height = y, x, height, width
        left, right = (2 * round(size[0] * at / 2) for at in (x, x + width))
        top, bottom = (2 * round(size[1] * at / 2) for at in (y, y + height))
        return left, top, right - left, bottom - top


_UPPER, _LOWER = {"height": 0.5}, {"y": 0.5, "height": 0.5}
_PERSON = Content.PERSON


class Layout(StrEnum):
    """A layout's name in configs, its panes, and the centre of captions as a fraction of the
    height.

    `auto` has no panes, since it is one of the others for each part of a short. If fewer people are
    seen than a layout has panes for, `crop`, `split` or `grid` replaces it.
    """

    panes: tuple[Pane, ...]
    captions: float

    AUTO = "auto", (), 0.0
    CROP = "crop", (Pane(_PERSON),), 0.65
    STACK = "stack", (Pane(_PERSON, **_UPPER), Pane(Content.BACKGROUND, **_LOWER)), 0.5
    SPLIT = "split", (Pane(_PERSON, **_UPPER), Pane(_PERSON, **_LOWER)), 0.5
    GRID = (
        "grid",
        tuple(Pane(_PERSON, x, y, 0.5, 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)),
        0.5,
    )
    SCREEN = (
        "screen",
        (Pane(Content.PICTURE, height=0.45), Pane(_PERSON, y=0.45, height=0.55)),
        0.45,
    )
    FIT = "fit", (Pane(Content.PICTURE),), 0.65

    def __new__(cls, name: str, panes: tuple[Pane, ...], captions: float) -> Self:
        layout = str.__new__(cls, name)
        layout._value_ = name
        layout.panes, layout.captions = panes, captions
        return layout

    @classmethod
    def _missing_(cls, value: object) -> "Layout | None":
        # The name in configs of the first release.
        return cls.FIT if value == "blur" else None

    def has(self, content: Content) -> bool:
        """Whether one of its panes shows `content`."""
        return any(pane.content is content for pane in self.panes)

    @property
    def people(self) -> int:
        """The number of its panes that show a person."""
        return sum(pane.content is Content.PERSON for pane in self.panes)
