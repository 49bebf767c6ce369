"""What a short shows when, as data: sections of time, each with its layout and crops."""

from dataclasses import dataclass

from clipflow.domain.layouts import Content, Layout
from clipflow.domain.shorts import Framing
from clipflow.reframe.crop import CropPath


@dataclass(frozen=True)
class Section:
    """The layout of `start ≤ t < end` seconds, with a crop for each of its people.

    Crops have their times from the short's first frame, as the section has.
    """

    start: float
    end: float
    layout: Layout
    crops: tuple[CropPath, ...]

    def boxes(self, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """The boxes of its people's panes in a short of `size`."""
        return person_boxes(self.layout, size, len(self.crops))


@dataclass(frozen=True)
class FramePlan:
    """All that a short shows: its sections in order, without gaps, and their record."""

    sections: tuple[Section, ...]
    framing: Framing
    captions_centre: int


def person_boxes(
    layout: Layout, size: tuple[int, int], people: int
) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each person's pane; the last of an odd grid is a row wide."""
    panes = [pane for pane in layout.panes if pane.content is Content.PERSON]
    boxes = [pane.box(size) for pane in panes][:people]
    if 1 < people < len(panes) and boxes:
        left, top, _, height = boxes[-1]
        boxes[-1] = (left, top, size[0] - left, height)
    return boxes
