"""A proxy before the local AWS that fails as it is told to."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Request:
    """What a fault may look at: `PUT`, `/bucket/key`, and DynamoDB's operation or nothing."""

    method: str
    path: str
    operation: str


@dataclass
class Fault:
    """`status` to each request that `hits`, `times` times or, where that is None, for good."""

    hits: Callable[[Request], bool]
    times: int | None = None
    status: int = 503
    seen: int = 0

    def strikes(self, request: Request) -> bool:
        if not self.hits(request) or (self.times is not None and self.seen >= self.times):
            return False
        self.seen += 1
        return True


class FaultyProxy:
    """Listens on a port of its own at `url`; `faults` may be changed at any time."""

    def __init__(self, target: str) -> None:
        self.faults: list[Fault] = []
        address = urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                # A client may go away in the middle of a body: ranges are often read in part.
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def forward(self) -> None:
                operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                request = Request(self.command, urlsplit(self.path).path, operation)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                for fault in proxy.faults:
                    if fault.strikes(request):
                        return self.answer(fault.status, {}, [b"told to fail"], 12)
                upstream = http.client.HTTPConnection(address, timeout=60)
                upstream.request(self.command, self.path, body, dict(self.headers))
                reply = upstream.getresponse()
                length = int(reply.headers.get("Content-Length") or 0)
                self.answer(
                    reply.status,
                    dict(reply.headers),
                    iter(lambda: reply.read(1 << 16), b""),
                    length,
                )
                upstream.close()

            def answer(self, status: int, headers: dict[str, str], body: Any, length: int) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    for part in body:
                        self.wfile.write(part)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        proxy = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
