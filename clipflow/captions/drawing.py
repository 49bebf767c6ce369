"""Captions as an ASS file: its events, from groups of words, a style and the times of frames."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, zip_longest
from math import ceil
from unicodedata import bidirectional

import pysubs2

from clipflow.captions.ass import (
    BLACK,
    BOXES,
    FILLS,
    HEIGHT,
    LEFT_TO_RIGHT,
    RIGHT_TO_LEFT,
    SHADOWS,
    TEXT,
    WIDTH,
    FrameClock,
    Rectangle,
    colour_tags,
    drawn_text,
    empty_subtitles,
    event,
    family_tag,
    position,
    right_to_left_excess,
    with_opacity,
)
from clipflow.captions.groups import (
    SHORT_GAP,
    Fit,
    Group,
    Token,
    groups,
    left_out,
    space,
    visual_order,
    width,
)
from clipflow.captions.hook import SECONDS, PlacedHook, hook_events
from clipflow.captions.typefaces import ROW_HEIGHT, Typeface
from clipflow.domain.caption_styles import CaptionStyle, Emphasis, StyleColours
from clipflow.domain.transcript import Word, is_unspaced

logger = logging.getLogger(__name__)


def states(group: Group, following: Group | None, clock: FrameClock) -> list[int]:
    """The frame at which each token of `group` is highlighted, and the frame at which it
    disappears.

    A token that starts in the same frame as the next one is never highlighted.
    """
    starts = [clock.frame_at(token.start) for token in group.tokens]
    end = max(token.end for token in group.tokens)
    last = max(clock.frame_at(end), starts[-1] + 1)
    if following:
        next_start = following.tokens[0].start
        next_frame = clock.frame_at(next_start)
        last = next_frame if next_start - end < SHORT_GAP else min(last, next_frame)
    return [min(frame, clock.count) for frame in (*starts, last)]


@dataclass(frozen=True)
class CaptionLook:
    """The properties that all captions of a short have in common.

    `font` is the style's own font, None for the default one; `runs_left` is whether most of the
    text is right-to-left.
    """

    style: CaptionStyle
    font: Typeface | None
    centre: tuple[int, int]
    runs_left: bool

    def has(self, emphasis: Emphasis) -> bool:
        return emphasis in self.style.emphasis

    @property
    def row_height(self) -> float:
        """The distance between two rows in ems."""
        return row_height(self.style)


# The part of an em by which Arabic letters and stacked accents reach beyond their row.
_OVERHANG = 0.18
# Pixels of outline for which a row has room.
_ROOM_FOR_OUTLINE = 6


def row_height(style: CaptionStyle) -> float:
    """The distance between two rows in ems; boxes of two rows do not overlap."""
    return max(style.line_height, ROW_HEIGHT) if style.box else style.line_height


def half_height(style: CaptionStyle) -> int:
    """The distance from the centre of captions to their upper or lower edge, in pixels."""
    growth = _LARGEST_GROWTH if Emphasis.POP in style.emphasis else 1
    rows = growth * (ROW_HEIGHT / 2 + _OVERHANG) + (style.rows - 1) * row_height(style) / 2
    # A shadow is below its text, and soft; a row has room for an outline of the default width.
    outline = growth * max(0.0, 1.5 * (style.outline - _ROOM_FOR_OUTLINE))
    return ceil(style.size * rows + outline + 1.5 * style.shadow)


def captions(
    words: Sequence[Word],
    frame_times: Sequence[Fraction],
    style: CaptionStyle | None,
    centre_y: int,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    font: Typeface | None = None,
    hook: PlacedHook | None = None,
    moves: Sequence[tuple[float, int]] = (),
) -> str:
    """The text of an ASS file that shows `words` in a short of `size`; none without a style.

    A word is highlighted from the first frame at or after its start. Text lies between 160 and 920
    pixels from the left and, by default, within 114 pixels of `centre_y`, because the platforms
    place their buttons over the right 120 to 150 pixels, the top eighth and the bottom quarter.
    Characters without a glyph in the fonts are omitted and logged.

    Args:
        words: with times in seconds from the short's first frame.
        frame_times: the frames' sorted times in seconds from the first frame.
        centre_y: the vertical centre of the captions, in pixels from the top.
        font: the style's own font; None for the default one.
        hook: the text that is shown above the captions at the beginning.
        moves: seconds from which on captions have another vertical centre, and that centre.
    """
    subtitles = empty_subtitles(size)
    if style and frame_times:
        log_left_out(left_out(words, font))
        clock = FrameClock(frame_times)
        look = CaptionLook(
            style,
            font,
            (size[0] // 2, centre_y),
            right_to_left_excess("".join(word.text for word in words)) > 0,
        )
        shown = groups(words, Fit.of(style, font))
        for group, following in zip_longest(shown, shown[1:]):
            frames = states(group, following, clock)
            subtitles.events += _moving_events(group, frames, clock, look, moves)
    if hook and frame_times:
        clock = FrameClock(frame_times)
        end = 10 * clock.hundredths(clock.frame_at(SECONDS))
        subtitles.events += hook_events(hook.hook, size, hook.centre, end)
    return subtitles.to_string("ass")


def log_left_out(missing: list[str]) -> None:
    if missing:
        codes = ", ".join(f"U+{ord(character):04X}" for character in missing)
        logger.warning("The captions omit characters that no font has: %s.", codes)


def _moving_events(
    group: Group,
    frames: list[int],
    clock: FrameClock,
    look: CaptionLook,
    moves: Sequence[tuple[float, int]],
) -> Iterator[pysubs2.SSAEvent]:
    """The events that draw a group, on another line from each of `moves` on."""
    starts = [(0, look.centre[1]), *((clock.frame_at(Fraction(time)), y) for time, y in moves)]
    for (start, y), (end, _) in pairwise([*starts, (clock.count, 0)]):
        first, last = max(start, frames[0]), min(end, frames[-1])
        if first >= last:
            continue
        begin, until = 10 * clock.hundredths(first), 10 * clock.hundredths(last)
        for one in _events(group, frames, clock, replace(look, centre=(look.centre[0], y))):
            if one.start < until and begin < one.end:
                one.start, one.end = max(one.start, begin), min(one.end, until)
                yield one


def _events(
    group: Group, frames: list[int], clock: FrameClock, look: CaptionLook
) -> Iterator[pysubs2.SSAEvent]:
    """The events that draw a group.

    If rows are drawn as a whole, there is one event for each state, and each starts when the
    previous one ends.
    """
    times = [10 * clock.hundredths(frame) for frame in frames]
    pitch = look.row_height * group.size
    middle = (len(group.rows) - 1) / 2
    centres = [look.centre[1] + (number - middle) * pitch for number in range(len(group.rows))]
    if look.style.box and frames[0] < frames[-1]:
        for row, y in zip(group.rows, centres, strict=True):
            yield _row_box(row, y, group, look, times)
    if look.has(Emphasis.BOX) or look.has(Emphasis.POP):
        for row, y in zip(group.rows, centres, strict=True):
            yield from _placed_row(row, y, group, frames, times, look)
    else:
        yield from _whole_rows(group, centres, frames, times, look)


def _whole_rows(
    group: Group,
    centres: Sequence[float],
    frames: Sequence[int],
    times: Sequence[int],
    look: CaptionLook,
) -> Iterator[pysubs2.SSAEvent]:
    direction, key = _direction(group, look), _key_token(group, look)
    lights = look.has(Emphasis.COLOUR)
    if look.row_height == ROW_HEIGHT:
        # libass places the rows of one event at this distance.
        parts = [(float(look.centre[1]), group.rows)]
    else:
        parts = [(y, (row,)) for row, y in zip(group.rows, centres, strict=True)]
    indices = range(len(frames) - 1) if lights else [0]
    for number in indices:
        first, last = number, number + 1 if lights else len(frames) - 1
        if frames[first] >= frames[last]:
            continue
        spoken = group.tokens[number] if lights else None
        for y, rows in parts:
            for layer, tags, colours in _layers(group, look):
                text = r"\N".join(direction + _row(row, spoken, key, colours, look) for row in rows)
                at = position(look.centre[0], y + (look.style.shadow if layer == SHADOWS else 0))
                yield event(times[first], times[last], f"{{{at}{tags}}}{text}", layer)


def _layers(group: Group, look: CaptionLook) -> list[tuple[int, str, StyleColours]]:
    """The layers of the text: each with its tags and colours, shadows first."""
    style, scale = look.style, group.size / look.style.size
    size = f"\\fs{group.size * ROW_HEIGHT:.1f}"
    outline = f"\\bord{style.outline * scale:.1f}{colour_tags(3, style.colours.outline, BLACK)}"
    layers = [(TEXT, f"{size}{outline}", style.colours)]
    if style.shadow:
        dark = style.colours.shadow
        soft = f"{size}\\bord{style.outline * scale:.1f}\\blur{style.shadow * scale:.1f}"
        soft += colour_tags(3, dark, "")
        shades = StyleColours(text=dark, spoken=dark, key=dark)
        layers.insert(0, (SHADOWS, soft, shades))
    return layers


def _direction(group: Group, look: CaptionLook) -> str:
    """A prefix for the group's rows that sets their direction; empty for left-to-right text.

    Without it, a Latin name at the beginning would turn an Arabic row around.
    """
    if not _has_right_to_left(group):
        return ""
    return family_tag(" ", look.font) + (
        RIGHT_TO_LEFT if _runs_left(group, look) else LEFT_TO_RIGHT
    )


def _has_right_to_left(group: Group) -> bool:
    return bool({"R", "AL"} & set(map(bidirectional, "".join(t.text for t in group.tokens))))


def _runs_left(group: Group, look: CaptionLook) -> bool:
    text = "".join(token.text for token in group.tokens)
    return _has_right_to_left(group) and (look.runs_left or right_to_left_excess(text) > 0)


# The largest factor by which a spoken word grows; the share of the space beside it that it may take
# up; and the pixels that it may take up if nothing is beside it.
_LARGEST_GROWTH, _GROWTH_ROOM, _GROWTH_ALONE = 1.16, 0.45, 40.0
# Milliseconds in which a word grows beyond its size, and then settles.
_GROWING, _SETTLING = 80, 160


def _placed_row(
    row: Sequence[Token],
    y: float,
    group: Group,
    frames: Sequence[int],
    times: Sequence[int],
    look: CaptionLook,
) -> Iterator[pysubs2.SSAEvent]:
    """A row whose words are drawn one by one, so that the spoken one may grow or have a box while
    the others stay where they are."""
    key, size = _key_token(group, look), group.size
    gap = space(look.font) * size
    edge = look.centre[0] - width(row) * size / 2
    ordered = visual_order(row, _runs_left(group, look))
    for index, token in enumerate(ordered):
        before = ordered[index - 1] if index else None
        if before and _are_spaced(before, token):
            edge += gap
        length = token.width * size
        x, edge = edge + length / 2, edge + length
        number = group.tokens.index(token)
        begins, ends = times[number], times[number + 1]
        is_lit = frames[number] < frames[number + 1]
        room = gap * _GROWTH_ROOM if len(row) > 1 else _GROWTH_ALONE
        grown = min(_LARGEST_GROWTH, 1 + 2 * room / length) if look.has(Emphasis.POP) else 1.0
        if is_lit and look.has(Emphasis.BOX):
            yield _word_box(x, y, length * grown, size, look, (begins, ends))
        spans = [(times[0], begins, False), (begins, ends, True), (ends, times[-1], False)]
        if not is_lit:
            spans = [(times[0], times[-1], False)]
        for start, end, spoken in spans:
            if start < end:
                yield from _placed_word(
                    token, (x, y), (start, end), spoken, key, grown, group, look
                )


def _placed_word(
    token: Token,
    at: tuple[float, float],
    span: tuple[int, int],
    spoken: bool,
    key: Token | None,
    grown: float,
    group: Group,
    look: CaptionLook,
) -> Iterator[pysubs2.SSAEvent]:
    pop = pop_tags(grown) if spoken and look.has(Emphasis.POP) else ""
    lit = token if spoken and look.has(Emphasis.COLOUR) else None
    layers = _layers(group, look)
    if spoken and look.has(Emphasis.BOX):
        # Its box distinguishes the word already, so it needs no outline.
        layers = [(TEXT, _without_outline(layers[-1][1]), look.style.colours)]
    # The outline of a word that touches its neighbour would cover a part of it.
    elif (
        not all(other.is_spaced_from(one) for one, other in pairwise(group.tokens))
        and look.style.outline
    ):
        _, tags, colours = layers[-1]
        layers.append((FILLS, _without_outline(tags), colours))
    for layer, tags, colours in layers:
        place = position(at[0], at[1] + (look.style.shadow if layer == SHADOWS else 0))
        text = _row([token], lit, key, colours, look)
        yield event(*span, f"{{{place}{tags}{pop}}}{text}", layer)


def _without_outline(tags: str) -> str:
    return re.sub(r"\\bord[\d.]+", r"\\bord0", tags)


def pop_tags(grown: float) -> str:
    """Tags by which text grows by the factor `grown`, and settles at half of that."""
    peak, rest = round(100 * grown, 1), round(100 + 50 * (grown - 1), 1)
    return (
        f"\\t(0,{_GROWING},\\fscx{peak}\\fscy{peak})"
        f"\\t({_GROWING},{_SETTLING},\\fscx{rest}\\fscy{rest})"
    )


def _are_spaced(one: Token, other: Token) -> bool:
    before, after = sorted((one, other), key=lambda token: token.start)
    return after.is_spaced_from(before)


# Around text in ems: beside a row, above and below it; beside a word, above and below it; and the
# radius of corners. Capitals are centred in a row and 0.71 high.
_ROW_PADDING, _WORD_PADDING, _RADIUS = (0.36, 0.63), (0.16, 0.56), 0.2


def _row_box(
    row: Sequence[Token], y: float, group: Group, look: CaptionLook, times: Sequence[int]
) -> pysubs2.SSAEvent:
    across, down = (part * group.size for part in _ROW_PADDING)
    half = width(row) * group.size / 2 + across
    x = look.centre[0]
    box = Rectangle(x - half, y - down, x + half, y + down, _RADIUS * group.size)
    return event(times[0], times[-1], box.text(look.style.colours.box), BOXES)


def _word_box(
    x: float, y: float, length: float, size: float, look: CaptionLook, span: tuple[int, int]
) -> pysubs2.SSAEvent:
    across, down = (part * size for part in _WORD_PADDING)
    half = length / 2 + across
    box = Rectangle(x - half, y - down, x + half, y + down, _RADIUS * size)
    # Over the boxes of rows, which begin at the same time or earlier.
    return event(*span, box.text(look.style.colours.spoken_box), BOXES)


def _row(
    row: Sequence[Token],
    spoken: Token | None,
    key: Token | None,
    colours: StyleColours,
    look: CaptionLook,
) -> str:
    opaque = all(len(each) == 7 for each in (colours.text, colours.spoken, colours.key))
    text = ""
    for before, token in zip((None, *row), row, strict=False):
        if before and token.is_spaced_from(before):
            text += family_tag(" ", look.font) + " "
        # Every token sets its colour, so that all states have the same layout.
        colour = (
            colours.spoken if token is spoken else colours.key if token is key else colours.text
        )
        text += f"{{{colour_tags(1, colour if opaque else with_opacity(colour), '')}}}"
        text += drawn_text(token.runs)
    return text


# The fewest letters of a key word: function words are shorter in most languages.
_KEY_LETTERS = 6


def _key_token(group: Group, look: CaptionLook) -> Token | None:
    """The word of a caption that has the key colour: the first number, else the longest word."""
    if not look.style.key_words:
        return None
    numbers = [token for token in group.tokens if any(c.isdecimal() for c in token.text)]
    long = [token for token in group.tokens if _letters(token) >= _KEY_LETTERS]
    return numbers[0] if numbers else max(long, key=_letters, default=None)


def _letters(token: Token) -> int:
    return 0 if is_unspaced(token.text[0]) else sum(map(str.isalpha, token.text))
