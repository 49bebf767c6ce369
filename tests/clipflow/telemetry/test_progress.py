"""How far the work is, as whoever listens hears it."""

from threading import Thread

from clipflow.telemetry.progress import is_observed, portion, report, reporting_to


def test_nested_progress_is_scaled_to_its_share() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        with portion(0, 0.25):
            report(0.5)
        with portion(0.25, 1), portion(0, 0.5):
            report(0.5)
    assert told == [0.125, 0.25, 0.4375, 0.625, 1]


def test_progress_is_limited_to_one() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        report(1.02)
        report(-0.1)
    assert told == [1, 0]


def test_progress_is_not_reported_after_the_context_or_from_another_thread() -> None:
    told: list[float] = []
    with reporting_to(told.append):
        thread = Thread(target=report, args=(0.5,))
        thread.start()
        thread.join()
    report(0.7)
    with portion(0, 0.5):
        report(0.9)
    assert not told and not is_observed()
