"""The demo's two-shot: the person who speaks according to the sample's script is shown."""

from fractions import Fraction

from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Film
from clipflow.reframe.crop import CropPath
from clipflow.reframe.director import SHORTEST, plan_frames
from demo.make_two_shot import SIZE, TWO_SHOT, Line, lines

# In seconds: two lines of the host, during one of which both mouths open, and the guest's between.
_START, _END = Fraction(36), Fraction(54)


def spoken(line: Line) -> list[Word]:
    count = max(1, int(2 * (line.end - line.start)))
    step = (line.end - line.start) / count
    begin = line.start - float(_START)
    return [
        Word(text="word", start=begin + n * step, end=begin + (n + 0.9) * step)
        for n in range(count)
    ]


def shows(crop: CropPath, time: float, at: float, reach: float) -> bool:
    """Whether the crop contains all columns within `reach` of `at`; any, if `reach` is negative."""
    left = crop.at(time)[0]
    return left <= at - reach and at + reach <= left + crop.width


def test_the_speaker_is_shown_alone_and_both_where_both_open_their_mouths() -> None:
    script = [line for line in lines() if line.end > _START + 1 and line.start < _END - 1]
    words = [word for line in script for word in spoken(line) if 0 <= word.start < _END - _START]
    film = Film(TWO_SHOT, start=_START, end=_END)
    plan = plan_frames(film, Layout.AUTO, Aspect.TALL, words)
    assert [part.layout for part in plan.sections] == [Layout.SPLIT, Layout.CROP]
    together, guest = script[0], script[1]
    assert together.together and guest.speaker == "guest"
    both, alone = plan.sections
    assert abs(both.end - (guest.start - float(_START))) < 0.5
    assert both.end >= SHORTEST
    # The host's face is in the middle of the left half, and the guest's in that of the right one.
    host_at, guest_at, reach = SIZE[0] / 4, 3 * SIZE[0] / 4, 90
    host_crop, guest_crop = both.crops
    assert shows(host_crop, 1, host_at, reach) and not shows(host_crop, 1, guest_at, -reach)
    assert shows(guest_crop, 1, guest_at, reach) and not shows(guest_crop, 1, host_at, -reach)
    assert shows(alone.crops[0], 10, guest_at, reach)
    assert not shows(alone.crops[0], 10, host_at, -reach)
    assert (plan.framing.speaker_in_frame or 0) >= 0.97
