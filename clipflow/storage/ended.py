"""The measured lines of a record that is complete or has failed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clipflow.domain.clips import ClipStatus
from clipflow.domain.keys import ClipKeys, RecordKeys
from clipflow.telemetry.lines import CONTEXT
from clipflow.telemetry.measures import RECORD_COMPLETE, RECORD_FAILED, say


def tell(keys: RecordKeys, now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Say what became of a record by an update: `now` is what it set, `before` what was there."""
    about = {
        "job": "clips" if isinstance(keys, ClipKeys) else "shorts",
        **{name: value for name in CONTEXT if (value := getattr(keys, name, None))},
    }
    if now["status"] == ClipStatus.COMPLETE:
        seconds, size = _seconds(before.get("updatedAt"), now["updatedAt"]), _bytes(now)
        message = f"{keys.label} is complete after {seconds} s: {size} bytes."
        say(RECORD_COMPLETE, message, seconds=seconds, bytes=size, **about)
    elif now["status"] == ClipStatus.FAILED:
        error = now["processingError"]
        message = f"{keys.label} failed: {error['message']}"
        say(RECORD_FAILED, message, code=str(error["code"]), **about)


def _seconds(claimed: object, over: str) -> int:
    """Between two times of a record, which are written to the second."""
    if not isinstance(claimed, str):
        return 0
    passed = datetime.fromisoformat(over) - datetime.fromisoformat(claimed)
    return max(0, round(passed.total_seconds()))


def _bytes(made: Mapping[str, Any]) -> int:
    """Of the clip, or of all shorts that are made."""
    sizes = [made.get("fileSize"), *(short.get("fileSize") for short in made.get("shorts", []))]
    return sum(int(size) for size in sizes if size)
