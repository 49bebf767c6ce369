"""Where the crops of people may be who have panes of their own: away from each other's faces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median

from clipflow.reframe.crop import even
from clipflow.reframe.people import FaceTrack

# The least width of a pane's crop, in widths of the face, and its least height: so much of the head
# is shown, even if a little of another person is too.
_LEAST_WIDTH, _LEAST_HEIGHT = 1.15, 1.4


@dataclass(frozen=True)
class Area:
    """The part of the picture in which a crop stays, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def without(
        self, own: tuple[float, float, float], other: tuple[float, float, float], share: float
    ) -> "Area":
        """This area as far as it has nothing of the face `other`.

        It ends at a `share` of the way from the face `own` to that, on the side on which they are
        further apart. Faces are centres and sizes.
        """
        (x, y, size), (ox, oy, other_size) = own, other
        reach = other_size / 2
        beside = ox + reach <= self.left or ox - reach >= self.right
        if beside or oy + reach <= self.top or oy - reach >= self.bottom:
            return self
        faces = (size + other_size) / 2
        across, down = (share * max(0.0, abs(way) - faces) + size / 2 for way in (ox - x, oy - y))
        if abs(ox - x) >= abs(oy - y):
            if ox > x:
                return replace(self, right=min(self.right, x + across))
            return replace(self, left=max(self.left, x - across))
        if oy > y:
            return replace(self, bottom=min(self.bottom, y + down))
        return replace(self, top=max(self.top, y - down))


def _usual_place(track: FaceTrack) -> tuple[float, float, float]:
    """The usual centre of a face, and its size."""
    x, y = (median(getattr(face, at) for face in track.faces) for at in ("x", "y"))
    return x, y, track.size


def pane_area(
    person: FaceTrack, people: Sequence[FaceTrack], whole: Area, widest: int, aspect: Fraction
) -> tuple[int, Area]:
    """The width of a crop on `person`, who has a pane beside those of other `people`, and its area.

    The area ends half-way to the others, about where the tiles of a video call end, or at their
    faces if the crop would otherwise be too small for a head. The crop is at most `widest`.
    """
    own = _usual_place(person)
    others = sorted(
        (_usual_place(track) for track in people if track is not person),
        key=lambda other: abs(other[0] - own[0]) + abs(other[1] - own[1]),
    )
    least = min(float(widest), max(_LEAST_WIDTH, _LEAST_HEIGHT * float(aspect)) * own[2])
    for share in (0.5, 1.0):
        area = whole
        for other in others:
            area = area.without(own, other, share)
        width = min(float(widest), area.width, area.height * float(aspect))
        if width >= least:
            # Only as large as necessary if it may reach as far as the others' faces.
            return max(2, even(width if share < 1 else least)), area
    return max(2, even(least)), area
