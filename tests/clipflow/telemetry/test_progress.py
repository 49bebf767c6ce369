"""How far the work is, as whoever listens hears it."""

from threading import Thread

from clipflow.telemetry.progress import is_observed, portion, report, reporting_to


def test_a_part_of_the_work_counts_for_its_share_of_the_whole() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        with portion(0, 0.25):
            report(0.5)
        with portion(0.25, 1), portion(0, 0.5):
            report(0.5)
    assert told == [0.125, 0.25, 0.4375, 0.625, 1]


def test_what_is_more_than_all_of_it_is_all_of_it() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        report(1.02)
        report(-0.1)
    assert told == [1, 0]


def test_nobody_hears_of_work_after_it_or_in_a_thread_of_its_own() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        thread = Thread(target=report, args=(0.5,))
        thread.start()
        thread.join()
    report(0.7)
    with portion(0, 0.5):
        report(0.9)
    assert not told and not is_observed()
