"""A server of the S3 operations that clipflow uses. It serves a folder and counts the bytes read.

    python -m benchmarks.object_server FOLDER

It prints its URL. A bucket is a folder in FOLDER, and a key is a path in it. Metadata are stored in
a file beside the object, and the parts of a multipart upload in a folder beside it. Sources of
several GB are symbolic links. `GET /_read` returns the bytes sent of each key since the previous
such request.
"""

import hashlib
import json
import shutil
import socket
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_META, _PARTS = ".meta", ".parts"
_CHUNK = 1 << 16
# The socket buffer is small, because bytes in it are counted as read even if the client
# disconnects.
_SEND_BUFFER = 1 << 16


class ObjectServer(ThreadingHTTPServer):
    """Serves `folder` on a free port of the loopback interface."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, key: str, length: int) -> None:
        with self._lock:
            self._sent[key] += length

    def counted(self) -> dict[str, int]:
        """The bytes sent of each `/bucket/key`; resets the counts."""
        with self._lock:
            sent, self._sent = self._sent, Counter()
        return dict(sent)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectServer

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        # Clients that read ranges often disconnect in the middle of a body.
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_HEAD(self) -> None:
        path = self._path()
        if not path.is_file():
            return self._answer(404)
        self._answer(200, {**_headers(path), "Content-Length": str(path.stat().st_size)}, None)

    def do_GET(self) -> None:
        if self.path == "/_read":
            return self._answer(200, {}, json.dumps(self.server.counted()).encode())
        path = self._path()
        if not path.is_file():
            return self._answer(404)
        if self.headers.get("If-Match", "").strip('"') not in ("", etag(path)):
            return self._answer(412)
        size = path.stat().st_size
        first, end = requested_range(self.headers.get("Range"), size)
        headers = {**_headers(path), "Content-Range": f"bytes {first}-{end - 1}/{size}"}
        self._answer(206 if "Range" in self.headers else 200, headers, None, end - first)
        self._send(path, first, end)

    def do_PUT(self) -> None:
        path, query = self._path(), parse_qs(urlsplit(self.path).query)
        if "partNumber" in query:
            path = _parts(path) / f"{int(query['partNumber'][0]):05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._receive(path)
        if "partNumber" not in query:
            self._keep_metadata(path)
        self._answer(200, {"ETag": f'"{etag(path)}"'})

    def do_POST(self) -> None:
        path = self._path()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
            shutil.rmtree(_parts(path), ignore_errors=True)
            self._keep_metadata(path)
            return self._xml("InitiateMultipartUploadResult", "UploadId", "one")
        with path.open("wb") as whole:
            for part in sorted(_parts(path).iterdir()):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole, 1 << 20)
        shutil.rmtree(_parts(path))
        self._xml("CompleteMultipartUploadResult", "ETag", etag(path))

    def _path(self) -> Path:
        return self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")

    def _send(self, path: Path, first: int, end: int) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        key = unquote(urlsplit(self.path).path)
        with path.open("rb") as file:
            file.seek(first)
            while first < end:
                chunk = file.read(min(_CHUNK, end - first))
                # Counted before it is sent: after the last byte, the client may request the counts.
                self.server.count(key, len(chunk))
                self.wfile.write(chunk)
                first += len(chunk)

    def _receive(self, path: Path) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        with path.open("wb") as file:
            while left:
                left -= file.write(self.rfile.read(min(_CHUNK, left)))

    def _keep_metadata(self, path: Path) -> None:
        metadata = {n: v for n, v in self.headers.items() if n.lower().startswith("x-amz-meta-")}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + _META).write_text(json.dumps(metadata))

    def _xml(self, root: str, name: str, value: str) -> None:
        self._answer(200, {}, f"<{root}><{name}>{value}</{name}></{root}>".encode())

    def _answer(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        body: bytes | None = b"",
        length: int | None = None,
    ) -> None:
        """Send the headers and `body`. If it is None, the caller sends `length` bytes itself."""
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body or b"") if length is None else length))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)


def etag(path: Path) -> str:
    """An ETag from the size and modification time of the file, so that the file is not read."""
    stat = path.stat()
    return hashlib.md5(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()


def requested_range(header: str | None, size: int) -> tuple[int, int]:
    """The positions of the first requested byte and of the byte after the last one."""
    if not header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return size - int(last), size
    return int(first), min(int(last) + 1, size) if last else size


def _headers(path: Path) -> dict[str, str]:
    meta = path.with_name(path.name + _META)
    metadata: dict[str, str] = json.loads(meta.read_text()) if meta.exists() else {}
    return {"ETag": f'"{etag(path)}"', "Accept-Ranges": "bytes", **metadata}


def _parts(path: Path) -> Path:
    return path.with_name(path.name + _PARTS)


def main() -> None:
    server = ObjectServer(Path(sys.argv[1]))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # stdin is closed when the process that started this one ends, so that both end together.
    sys.stdin.read()


if __name__ == "__main__":
    main()
