"""The events that clipflow sends to EventBridge when a record is complete or has failed.

They are stored in the record by the update that finishes it (`OutboxEntry`), and sent after it:
`clipflow.storage.outbox` has the rest. `infra/events` has the JSON Schema of each detail.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import Field

from clipflow.domain.clips import ClipResult
from clipflow.domain.errors import Failure, FailureCode
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.model import Model
from clipflow.domain.shorts import FailedState, Short, ShortsResult, ShortStatus, Thumbnail

SOURCE = "clipflow"


class DetailType(StrEnum):
    """The `detail-type` of each event."""

    CLIP_COMPLETE = "Clip Generation Complete"
    CLIP_FAILED = "Clip Generation Failed"
    SHORTS_COMPLETE = "Shorts Complete"
    SHORTS_FAILED = "Shorts Failed"
    SHORT_RENDERED = "Short Rendered"


class ResultDetail(Model):
    """The fields of every detail: `event_id` is the same for each delivery of one event, `time` the
    record's `updatedAt`."""

    version: Literal["1"] = "1"
    event_id: str
    time: str
    flow_run_id: str


class EventError(Model):
    """Why it failed, as in the record's `processingError`."""

    code: FailureCode
    message: str


class ClipComplete(ResultDetail, ClipResult):
    """`Clip Generation Complete`: the clip's ids, and the attributes of its record."""

    tenant_id: str
    episode_id: str
    clip_id: str


class ClipFailed(ResultDetail):
    """`Clip Generation Failed`."""

    tenant_id: str
    episode_id: str
    clip_id: str
    error: EventError


class ShortSummary(Model):
    """One short in `Shorts Complete` and `Shorts Failed`; the record has the rest. A failed short
    has a `code` and no size."""

    id: str | None = None
    index: int
    s3_key: str
    status: ShortStatus
    file_size: int | None = None
    etag: str | None = None
    code: FailureCode | None = None


class ShortsComplete(ResultDetail):
    """`Shorts Complete`."""

    user_id: str
    video_id: str
    segment_count: int | None = None
    shorts: list[ShortSummary]


class ShortsFailed(ResultDetail):
    """`Shorts Failed`: shorts that were made all the same are in it."""

    user_id: str
    video_id: str
    failed_state: FailedState | None = None
    error: EventError
    shorts: list[ShortSummary]


class ShortRendered(ResultDetail):
    """`Short Rendered`: a short that is new or was made again. Times are those of the video."""

    user_id: str
    video_id: str
    id: str | None = None
    index: int
    s3_key: str
    etag: str
    file_size: int
    duration: str
    start: str
    end: str
    score: float
    title: Annotated[str, Field(max_length=1000)]
    hook: str | None = None
    description: str | None = None
    hashtags: tuple[str, ...] | None = None
    thumbnail: Thumbnail | None = None


DETAILS: dict[DetailType, type[ResultDetail]] = {
    DetailType.CLIP_COMPLETE: ClipComplete,
    DetailType.CLIP_FAILED: ClipFailed,
    DetailType.SHORTS_COMPLETE: ShortsComplete,
    DetailType.SHORTS_FAILED: ShortsFailed,
    DetailType.SHORT_RENDERED: ShortRendered,
}


class OutboxEntry(Model):
    """One event to send, as a record's `outbox` lists it; `detail` is JSON text."""

    detail_type: DetailType
    detail: str


def completed(
    keys: RecordKeys, run_id: str, time: str, result: Model, already: Collection[str] = ()
) -> list[OutboxEntry]:
    """The events of a record that is complete. `already` has the ETags of the shorts that the
    record had before: those are not new."""
    match keys, result:
        case ClipKeys(), ClipResult():
            about = _about(keys, run_id, time)
            return [_entry(DetailType.CLIP_COMPLETE, **about, **dict(result))]
        case ShortsKeys(), ShortsResult(shorts=shorts):
            made = shorts or []
            whole = _entry(
                DetailType.SHORTS_COMPLETE,
                **_about(keys, run_id, time),
                segment_count=result.segment_count,
                shorts=_summaries(made),
            )
            return [*_rendered(keys, run_id, time, made, already), whole]
    raise TypeError(f"{keys.label} cannot have a {type(result).__name__}")


def failed(
    keys: RecordKeys,
    run_id: str,
    time: str,
    failure: Failure,
    result: Model | None = None,
    already: Collection[str] = (),
) -> list[OutboxEntry]:
    """The events of a record that has failed; `result` has the outputs that were made anyway."""
    about = _about(keys, run_id, time)
    error = EventError(code=failure.code, message=failure.message)
    if isinstance(keys, ClipKeys):
        return [_entry(DetailType.CLIP_FAILED, **about, error=error)]
    made = (result.shorts or []) if isinstance(result, ShortsResult) else []
    whole = _entry(
        DetailType.SHORTS_FAILED,
        **about,
        failed_state=result.failed_state if isinstance(result, ShortsResult) else None,
        error=error,
        shorts=_summaries(made),
    )
    return [*_rendered(keys, run_id, time, made, already), whole]


def _rendered(
    keys: RecordKeys, run_id: str, time: str, shorts: Sequence[Short], already: Collection[str]
) -> Iterator[OutboxEntry]:
    for short in shorts:
        if short.is_made and short.etag and short.etag not in already:
            stored = short.model_dump(mode="json", by_alias=False, include=_OF_SHORT)
            about = _about(keys, run_id, time, short.s3_key, short.etag)
            yield _entry(
                DetailType.SHORT_RENDERED, **about, **stored | {"title": short.title[:1000]}
            )


_OF_SHORT = set(ShortRendered.model_fields) & set(Short.model_fields)


def _summaries(shorts: Sequence[Short]) -> list[ShortSummary]:
    fields = set(ShortSummary.model_fields)
    return [ShortSummary(**short.model_dump(by_alias=False, include=fields)) for short in shorts]


def _about(keys: RecordKeys, run_id: str, time: str, *parts: str) -> dict[str, str]:
    """The ids in a detail. The event's id is derived, so it is the same for each delivery."""
    names = {"tenant_id", "episode_id", "clip_id", "user_id", "video_id"}
    ids = {name: value for name, value in vars(keys).items() if name in names}
    event_id = uuid5(NAMESPACE_URL, "\0".join([*keys.record.values(), *(parts or (run_id, time))]))
    return {**ids, "event_id": str(event_id), "time": time, "flow_run_id": run_id}


def _entry(detail_type: DetailType, **fields: Any) -> OutboxEntry:
    detail = DETAILS[detail_type](**fields)
    text = detail.model_dump_json(exclude_none=True)
    return OutboxEntry(detail_type=detail_type, detail=text)
