"""How large crops on people are and where they may be: away from the faces of other people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median

from clipflow.reframe.crop import even
from clipflow.reframe.faces import HALF_HEIGHT
from clipflow.reframe.people import FaceTrack

# Where in a crop the face's centre is best, from the left and from above: so its eyes are in the
# upper third.
ACROSS, DOWN = 0.5, 0.4
# The least width of a crop on one person around whom there is space, in widths of the face, and the
# number of steps in which it is narrowed to exclude other people.
_NARROWEST, _STEPS = 2.0, 12
# The share of a person's faces that are in an area at least if a crop on this person is kept in it.
_STAYING = 0.98
# The least height of a crop that is smaller than that, as a share of the picture's. A row of a
# video call of nine has a third. It would be too blurred if it were smaller.
_LEAST_SHARE = 0.3
# The least width of a pane's crop, in widths of the face, and its least height: so much of the head
# is shown, even if a little of another person is too.
_LEAST_WIDTH, _LEAST_HEIGHT = 1.15, 1.4
# The same within the tile of a video call, where another tile would be seen instead: the box of a
# face has 0.86 of its size.
_LEAST_TILE = 1.0


# How far the faces in a row or a column are apart at most on the other axis, as a share of the
# picture's side, and how near the half-way line between two faces is to the border of their tiles,
# as a share of the tile's side.
_IN_LINE, _NEAR_BORDER = 0.2, 1 / 3

# A face's centre and its size, in pixels.
Place = tuple[float, float, float]


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

    def without(self, own: Place, other: Place, share: float, tiles: "Tiles | None") -> "Area":
        """This area as far as it has nothing of the face `other`.

        It ends at a `share` of the way from the face `own` to that, on the side on which they are
        further apart; if the picture has tiles, at the border of two that is near.
        """
        (x, y, size), (ox, oy, other_size) = own, other
        reach = other_size / 2
        beside = ox + reach <= self.left or ox - reach >= self.right
        if beside or oy + reach <= self.top or oy - reach >= self.bottom:
            return self
        if abs(ox - x) >= abs(oy - y):
            end = _end(x, ox, size, other_size, share, tiles.across if tiles else ())
            if ox > x:
                return replace(self, right=min(self.right, end))
            return replace(self, left=max(self.left, end))
        end = _end(y, oy, size, other_size, share, tiles.down if tiles else ())
        if oy > y:
            return replace(self, bottom=min(self.bottom, end))
        return replace(self, top=max(self.top, end))


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of a video call meet, in pixels from the left and from the top."""

    across: tuple[float, ...]
    down: tuple[float, ...]

    @classmethod
    def of(cls, places: Sequence[Place], whole: Area) -> "Tiles":
        """Tiles of equal sizes, as many across and down as there are columns and rows of faces."""
        upright = [(y, x, size) for x, y, size in places]
        return cls(
            _borders(upright, whole.height, whole.width),
            _borders(places, whole.width, whole.height),
        )


def _borders(places: Sequence[Place], across: float, down: float) -> tuple[float, ...]:
    """The borders between rows, in a picture that is `across` wide and `down` high.

    There are as many rows as there are faces in the longest column.
    """
    rows = 1 + max(
        sum(abs(x - ox) < min(_IN_LINE * across, abs(y - oy)) for ox, oy, _ in places)
        for x, y, _ in places
    )
    return tuple(down * number / rows for number in range(1, rows))


def _end(
    own: float, other: float, size: float, other_size: float, share: float, borders: Sequence[float]
) -> float:
    """Where an area ends between two faces, on an axis with these borders of tiles."""
    way = abs(other - own)
    free = max(0.0, way - (size + other_size) / 2)
    end = size / 2 + share * free
    if share < 1 and borders:
        tile = borders[0]
        ways = [(border - own) * (1 if other > own else -1) for border in borders]
        near = min(ways, key=lambda border: abs(border - end))
        if abs(near - end) <= _NEAR_BORDER * tile and size / 2 <= near <= size / 2 + free:
            end = near
    return own + end if other > own else own - end


def _usual_place(track: FaceTrack) -> Place:
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
    is_tiled = any(_is_above_or_below(own, other) for other in others)
    tiles = Tiles.of([own, *others], whole) if is_tiled else None
    least = min(float(widest), max(_LEAST_WIDTH, _LEAST_HEIGHT * float(aspect)) * own[2])
    for share in (0.5, 1.0):
        area = whole
        for other in others:
            area = area.without(own, other, share, tiles)
        width = min(float(widest), area.width, area.height * float(aspect))
        is_tile = share < 1 and is_tiled
        if width >= (_LEAST_TILE * own[2] if is_tile else least):
            # Only as large as necessary if it may reach as far as the others' faces.
            return max(2, even(width if share < 1 else least)), area
    return max(2, even(least)), area


def single_area(
    person: FaceTrack, people: Sequence[FaceTrack], whole: Area, widest: int, aspect: Fraction
) -> tuple[int, Area]:
    """The width of a crop on `person` alone, and its area: without the others' faces if possible.

    The crop is centred on the person if that is possible with a width of at most `widest`.
    """
    others = [track for track in people if track is not person]
    own, *places = map(_usual_place, (person, *others))
    # As narrow as a head allows across and down.
    narrowest = min(float(widest), _NARROWEST * person.size * max(1.0, float(aspect)))
    tile, area = pane_area(person, people, whole, widest, aspect)
    # To keep the crop in an area would lose a person who leaves it.
    is_usable = tile >= _LEAST_SHARE * whole.height * float(aspect) and _stays(person, area, whole)
    if is_usable and any(_is_above_or_below(own, place) for place in places):
        # Tiles show bodies too.
        return tile, area
    if tile >= min(float(widest), max(_NARROWEST, _LEAST_HEIGHT * float(aspect)) * person.size):
        return tile, whole
    for step in range(_STEPS + 1):
        width = widest - (widest - narrowest) * step / _STEPS
        if not any(_shows(own, place, whole, width, aspect) for place in places):
            return max(2, even(width)), whole
    # If others cannot be avoided, a wide crop is better than a narrow one.
    return (tile, area) if is_usable else (widest, whole)


def _stays(person: FaceTrack, area: Area, whole: Area) -> bool:
    """Whether nearly all of the person's faces, as far as they are in `whole`, are in `area`."""
    inside = [
        area.left <= max(whole.left, left)
        and area.top <= max(whole.top, top)
        and min(whole.right, right) <= area.right
        and min(whole.bottom, bottom) <= area.bottom
        for left, top, right, bottom in (face.box for face in person.steadied)
    ]
    return sum(inside) >= _STAYING * len(inside)


def _is_above_or_below(own: Place, other: Place) -> bool:
    """Whether two faces are so, as in a video call. A camera sees people side by side."""
    return abs(other[1] - own[1]) > abs(other[0] - own[0])


def _shows(own: Place, other: Place, whole: Area, width: float, aspect: Fraction) -> bool:
    """Whether a crop on the face `own` would show part of the face `other`."""
    height = width / float(aspect)
    x, y, _ = own
    left = min(max(0.0, x - ACROSS * width), whole.width - width)
    top = min(max(0.0, y - DOWN * height), whole.height - height)
    ox, oy, size = other
    # A head is wider than the box of its face.
    beside = abs(ox - left - width / 2) >= width / 2 + size / 2
    return not beside and bool(abs(oy - top - height / 2) < height / 2 + HALF_HEIGHT * size)
