"""Records the tests that `.ci/run` has retried, in a file outside of the clone.

    python3 .ci/retried.py begin     begins a run of the gate
    python3 .ci/retried.py record    records the tests that failed last, before they are retried
    python3 .ci/retried.py report    prints the tests that this run has retried; exits with 1 if an
                                     earlier run has retried one of them, too

The file is `clipflow/retried.txt` in XDG_CACHE_HOME. It has a line for each retried test: the time
at which the run began, and the test's id. Delete the lines of a test once it is fixed.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clipflow"
RECORD, RUN = CACHE / "retried.txt", CACHE / "run.txt"
# The file in which pytest stores the tests that failed last.
FAILED = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"


def begin() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    RUN.write_text(datetime.now(UTC).isoformat(timespec="seconds"))
    return 0


def record() -> int:
    failed = json.loads(FAILED.read_text()) if FAILED.exists() else {}
    with RECORD.open("a") as lines:
        lines.writelines(f"{RUN.read_text()} {test}\n" for test in sorted(failed))
    return 0


def report() -> int:
    run = RUN.read_text()
    pairs = [line.split(" ", 1) for line in _lines()]
    now = {test for began, test in pairs if began == run}
    again = {test for began, test in pairs if began != run} & now
    if now:
        print(f"\nRetried in this run ({RECORD} lists the tests of all runs):")
        for test in sorted(now):
            print(f"  {test}{'  ALSO IN AN EARLIER RUN' if test in again else ''}")
    return 1 if again else 0


def _lines() -> list[str]:
    return RECORD.read_text().splitlines() if RECORD.exists() else []


if __name__ == "__main__":
    sys.exit({"begin": begin, "record": record, "report": report}[sys.argv[1]]())
