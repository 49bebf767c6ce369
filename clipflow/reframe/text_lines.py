"""Where text may be in a short: over no mouth, and under no controls of a platform."""

from collections.abc import Iterable, Sequence

from clipflow.domain.safe_zones import Platform, safe_box

# Distances from the wanted line at which text may be centred instead, as shares of the short's
# height, nearest first.
_STEPS = (0.0, 0.05, 0.08, 0.12, 0.16, 0.24, -0.08, -0.12, -0.2, -0.3)
# Half of the height of captions in the default style, in pixels.
CAPTIONS_HALF = 110


def clear_line(
    lips: Iterable[float],
    wanted: float,
    half: int,
    size: tuple[int, int],
    platforms: Iterable[Platform] = Platform,
    steps: Sequence[float] = _STEPS,
) -> int:
    """The centre of text that reaches `half` pixels up and down, in pixels from the top.

    It is `wanted`, or the nearest line that covers the fewest of `lips`, which are vertical places
    in the short of `size`.
    """
    height = size[1]
    box = safe_box(size, platforms)
    highest, lowest = box.top + half, max(box.top + half, box.bottom - half)
    mouths = list(lips)

    def covered(centre: int) -> int:
        return sum(abs(y - centre) < half for y in mouths)

    centres = [round(min(max(wanted + step * height, highest), lowest)) for step in steps]
    return min(centres, key=covered)
