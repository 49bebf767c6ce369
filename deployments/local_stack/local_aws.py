"""MiniStack with two changes for the local stack: `python -m deployments.local_stack.local_aws`.

Each change to MiniStack 1.5 can be removed when a release of MiniStack includes it:
- MiniStack reads a whole object for every range request: 1 MB of 2.5 GB took 2.5 s and twice the
  object's size in memory, and other requests waited meanwhile. Here, ranges are read from the disk.
- MiniStack saves its tables and queues only when it stops, so a SIGKILL loses all of them. Here, it
  also saves within `SAVE_EVERY` seconds of a change.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from ministack import app as ministack
from ministack.core.persistence import save_all
from ministack.core.responses import StreamingResponse
from ministack.services import s3

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SAVE_EVERY = 2.0
CHUNK = 256 * 1024
READS = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "ReceiveMessage")


class StoredBytes:
    """A range of a file's bytes that can be sliced like a bytes object without being read."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._end = file, start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, part: slice) -> "StoredBytes":
        first, last, _ = part.indices(len(self))
        return StoredBytes(self._file, self._start + first, self._start + max(first, last))

    async def send(self, send: Send, receive: Receive) -> None:
        """Sends all bytes of the range, unless the client closes the connection earlier."""
        gone = asyncio.create_task(disconnected(receive))
        left = len(self)
        with self._file as file:
            file.seek(self._start)
            while left and not gone.done():
                chunk = await asyncio.to_thread(file.read, min(CHUNK, left))
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
                if not chunk:  # the file is shorter than the size in its record
                    break
        gone.cancel()


async def disconnected(receive: Receive) -> None:
    """Returns once the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


_streaming: ContextVar[bool] = ContextVar("streaming", default=False)
_read_body, _get_object = s3._read_body, s3._get_object


def read_body(bucket: str, key: str, record: dict[str, Any]) -> bytes | StoredBytes:
    """An object's body: a reference to its file if it is only sent, otherwise its bytes."""
    path = s3._object_disk_path(bucket, key)
    if not _streaming.get() or record.get("body") is not None or not path:
        return _read_body(bucket, key, record)  # type: ignore[no-any-return]
    file = Path(path).open("rb")  # noqa: SIM115  # closed once it is sent
    return StoredBytes(file, 0, record["size"])


def get_object(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
    """Handles GetObject with a streamed body, unless the object is empty."""
    token = _streaming.set(True)
    try:
        status, answer, body = _get_object(bucket, key, headers, query)
    finally:
        _streaming.reset(token)
    if isinstance(body, StoredBytes):
        answer["Content-Length"] = str(len(body))
        body = StreamingResponse(body.send) if len(body) else b""
    return status, answer, body


class Saving:
    """MiniStack's application, which saves its state soon after a request that may change it."""

    def __init__(self, application: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._application = application
        self._changed = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            saving = asyncio.create_task(self._save())
            await self._application(scope, receive, send)
            saving.cancel()
            return
        await self._application(scope, receive, send)
        if changes_state(scope):
            self._changed.set()

    async def _save(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SAVE_EVERY)
            self._changed.clear()
            save_all(ministack._build_persistence_save_dict())


def changes_state(scope: Message) -> bool:
    """Whether a request may change state that is only in memory. Objects are always on disk."""
    headers = dict(scope.get("headers", ()))
    action = headers.get(b"x-amz-target", b"").decode("latin-1").partition(".")[2]
    return scope.get("method") == "POST" and not action.startswith(READS)


def main() -> None:
    """Serves until SIGTERM, then saves."""
    logging.getLogger("persistence").setLevel(logging.WARNING)
    s3._read_body, s3._get_object = read_body, get_object
    ministack.app = Saving(ministack.app)
    ministack.main()


if __name__ == "__main__":
    main()
