"""A proxy in front of the local AWS that injects configured faults."""

import http.client
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit


@dataclass
class Request:
    """A request that the proxy received: `PUT`, `/bucket/key`, and the DynamoDB operation, if any.

    `range` is the value of the Range header (`bytes=a-b`) or empty. `sent` is the number of bytes
    of the response body that were sent to the client.
    """

    method: str
    path: str
    operation: str
    range: str = ""
    sent: int = 0


@dataclass
class Fault:
    """A failure that is injected into the requests for which `matches` returns true.

    The proxy responds with `status` to the first `times` of them, or to all if `times` is None.
    If `after` is set, it forwards the real response instead and closes the connection after that
    many bytes of the body. `length` selects the `Content-Length` of this response: that of the
    whole body, that of the bytes sent, or none. `count` is the number of requests into which the
    failure has been injected.
    """

    matches: Callable[[Request], bool]
    times: int | None = None
    status: int = 503
    body: bytes = b"simulated failure"
    after: int | None = None
    length: Literal["whole", "sent", "missing"] = "whole"
    count: int = 0

    def triggers(self, request: Request) -> bool:
        """Whether the failure is injected into this request, which is counted if so."""
        if not self.matches(request) or (self.times is not None and self.count >= self.times):
            return False
        self.count += 1
        return True


class FaultyProxy:
    """A proxy that listens at `url`; `faults` may be changed at any time.

    `requests` has the requests received so far, in order. Response headers whose names begin with
    one of `omitted_headers` are not forwarded.
    """

    def __init__(self, target: str) -> None:
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.omitted_headers: tuple[str, ...] = ()
        address = urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # With Nagle's algorithm a small body waits for the acknowledgement of its headers.
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                # A client may disconnect in the middle of a body, as ranges are often read in part.
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def forward(self) -> None:
                operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                path, span = urlsplit(self.path).path, self.headers.get("Range", "")
                request = Request(self.command, path, operation, span)
                proxy.requests.append(request)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = next((fault for fault in proxy.faults if fault.triggers(request)), None)
                if fault and fault.after is None:
                    return self.respond(request, fault.status, {}, [fault.body], len(fault.body))
                cut = fault.after if fault else None
                # Close the connection even if the client disconnects during the response.
                with closing(http.client.HTTPConnection(address, timeout=60)) as upstream:
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    reply = upstream.getresponse()
                    length: int | None = int(reply.headers.get("Content-Length") or 0)
                    parts = iter(lambda: reply.read(1 << 16), b"")
                    if fault and cut is not None:
                        sent = reply.read(cut)
                        parts = iter([sent])
                        length = {"whole": length, "sent": len(sent), "missing": None}[fault.length]
                        self.close_connection = True
                    self.respond(request, reply.status, dict(reply.headers), parts, length)

            def respond(
                self,
                request: Request,
                status: int,
                headers: dict[str, str],
                body: Iterable[bytes],
                length: int | None,
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    omitted = ("content-length", "transfer-encoding", "connection")
                    if not name.lower().startswith((*omitted, *proxy.omitted_headers)):
                        self.send_header(name, value)
                if length is None:
                    self.send_header("Connection", "close")
                else:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    for part in body:
                        self.wfile.write(part)
                        request.sent += len(part)

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
