"""The poll interval of the local stack's worker, which depends on the activity of runs."""

from deployments.local_stack.worker import ACTIVE_SECONDS, IDLE_SECONDS, Activity


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_pools_are_polled_rarely_until_a_run_changes_its_state() -> None:
    clock = Clock()
    activity = Activity(clock)

    def polls(seconds: float) -> int:
        """The number of polls in this time, if the worker checks every 0.1 s whether one is due."""
        polled = clock.seconds
        count = 0
        for _ in range(round(seconds * 10)):
            clock.seconds += 0.1
            if activity.poll_due(polled):
                polled, count = clock.seconds, count + 1
        return count

    clock.seconds += ACTIVE_SECONDS
    idle = polls(60)
    assert 60 / IDLE_SECONDS - 2 <= idle <= 60 / IDLE_SECONDS
    activity.changed()
    assert polls(ACTIVE_SECONDS - 0.1) == round((ACTIVE_SECONDS - 0.1) * 10)
    clock.seconds += 0.2
    assert polls(60) == idle
