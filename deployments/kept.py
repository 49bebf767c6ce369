"""What an operator has set of a work pool, and no deploy undoes."""

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import WorkPool


def called(name: str) -> WorkPoolFilter:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))


def kept(found: Sequence[WorkPool]) -> dict[str, Any]:
    """Of the pool of that name, if there is one, for what takes its place."""
    settings = ({"is_paused": p.is_paused, "concurrency_limit": p.concurrency_limit} for p in found)
    return next(settings, {})
