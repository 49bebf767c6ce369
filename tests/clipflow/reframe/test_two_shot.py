"""The demo's two-shot: the right one of two people is shown, as the sample's script knows it."""

from fractions import Fraction

from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.reframe.analysis import Film
from clipflow.reframe.director import SHORTEST, plan_frames
from demo.make_two_shot import SIZE, TWO_SHOT, Line, lines

# Two answers of the host, one of them with both mouths open, and what the guest says between.
_START, _END = Fraction(36), Fraction(54)


def spoken(line: Line) -> list[Word]:
    count = max(1, int(2 * (line.end - line.start)))
    step = (line.end - line.start) / count
    begin = line.start - float(_START)
    return [
        Word(text="word", start=begin + n * step, end=begin + (n + 0.9) * step)
        for n in range(count)
    ]


def test_the_speaker_is_shown_alone_and_both_where_both_open_their_mouths() -> None:
    said = [line for line in lines() if line.end > _START + 1 and line.start < _END - 1]
    words = [word for line in said for word in spoken(line) if 0 <= word.start < _END - _START]
    film = Film(TWO_SHOT, start=_START, end=_END)
    plan = plan_frames(film, Layout.AUTO, Aspect.TALL, words)
    assert [part.layout for part in plan.sections] == [Layout.SPLIT, Layout.CROP]
    together, guest = said[0], said[1]
    assert together.together and guest.speaker == "guest"
    both, alone = plan.sections
    assert abs(both.end - (guest.start - float(_START))) < 0.5
    assert both.end >= SHORTEST
    # The host is on the left, and the guest on the right.
    host_crop, guest_crop = both.crops
    assert host_crop.at(1)[0] + host_crop.width <= SIZE[0] / 2 + 40
    assert guest_crop.at(1)[0] >= SIZE[0] / 2 - 40
    assert alone.crops[0].at(10)[0] >= SIZE[0] / 2 - 40
    assert (plan.framing.speaker_in_frame or 0) >= 0.97
