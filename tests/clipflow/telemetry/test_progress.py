"""How far the work is, as whoever listens hears it."""

from threading import Thread

from clipflow.telemetry.progress import heard_by, is_heard, part, report


def test_a_part_of_the_work_counts_for_its_share_of_the_whole() -> None:
    told: list[float] = []
    with heard_by(told.append):
        with part(0, 0.25):
            report(0.5)
        with part(0.25, 1), part(0, 0.5):
            report(0.5)
    assert told == [0.125, 0.25, 0.4375, 0.625, 1]


def test_what_is_more_than_all_of_it_is_all_of_it() -> None:
    told: list[float] = []
    with heard_by(told.append):
        report(1.02)
        report(-0.1)
    assert told == [1, 0]


def test_nobody_hears_of_work_after_it_or_in_a_thread_of_its_own() -> None:
    told: list[float] = []
    with heard_by(told.append):
        thread = Thread(target=report, args=(0.5,))
        thread.start()
        thread.join()
    report(0.7)
    with part(0, 0.5):
        report(0.9)
    assert not told and not is_heard()
