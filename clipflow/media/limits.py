"""Limits for reading a user's file in a process of its own: small files may expand to gigabytes."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


@contextmanager
def limits(seconds: int, memory: int) -> Iterator[None]:
    """Limits the time and the additional memory, in bytes, of this process, which does nothing
    else. Raises TimeoutError; allocations beyond the limit fail."""

    def timeout(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"reading it takes more than {seconds} s")

    used = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, timeout)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory, used[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, used)


def _address_space() -> int:
    """The bytes of address space that this process already uses."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 4 << 30
