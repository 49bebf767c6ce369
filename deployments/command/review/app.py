"""Serves the page of `clipflow review` on a loopback port: addresses, access control, videos."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import compare_digest, token_urlsafe
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import httpx
import uvicorn
from botocore.exceptions import ClientError
from fastapi import Body, FastAPI, Header, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prefect.client.orchestration import get_client
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipflow.domain.edits import MAX_BYTES
from clipflow.domain.errors import ClipflowError, EditConflictError, InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.storage.aws import error_code, storage_errors
from clipflow.storage.objects import ObjectStore, shorts_store
from deployments.command.edit import find_video, moments_and_transcript
from deployments.command.output import Output, format_error, open_address
from deployments.command.prefect_api import recent_jobs
from deployments.command.review.video import ReviewedVideo

_LOOPBACK = "127.0.0.1"
# The number of recent jobs among which the newest video is searched.
_SEARCHED = 50


def review(job: str | None, port: int, opens: bool, output: Output) -> None:
    """Serves the page of a video, the newest one without a name, until Ctrl-C.

    `port` 0 chooses a free one. Raises InvalidInputError if there is no such video, or the port
    is in use.
    """
    keys = find_video(job) if job else _newest_video()
    video = ReviewedVideo(keys, shorts_store())
    moments_and_transcript(video.keys, video.objects)
    with _listening(port) as listener:
        chosen = int(listener.getsockname()[1])
        token = token_urlsafe(24)
        address = f"http://{_LOOPBACK}:{chosen}/{token}/"
        output.document |= {"job": "review", "name": keys.video_id, "address": address}
        if opens:
            open_address(address, output)
        else:
            output.line(address)
        output.line("Only this machine can open the page, at this address. Ctrl-C stops it.")
        config = uvicorn.Config(
            review_app(video, token, chosen), log_level="warning", access_log=False
        )
        _until_interrupted(lambda: uvicorn.Server(config).run(sockets=[listener]))


def _until_interrupted(serve: Callable[[], None]) -> None:
    """Calls `serve`, and returns if Ctrl-C ends it: uvicorn raises KeyboardInterrupt again once it
    has closed its connections."""
    try:
        serve()
    except KeyboardInterrupt:
        return


def _newest_video() -> ShortsKeys:
    with get_client(sync_client=True) as client:
        jobs = recent_jobs(client, _SEARCHED)
    for job in jobs:
        if isinstance(job.keys, ShortsKeys):
            return job.keys
    raise InvalidInputError(
        "There are no shorts to review.", "Begin with `clipflow shorts talk.mp4`."
    )


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
        # A browser that opens the page before the server has started waits for it.
        listener.listen()
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"Port {port} cannot be used: {error.strerror}.", "Name another with --port."
        ) from None
    return listener


_FOLDER = Path(__file__).parent
PAGES = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined
)
# Of a document as JSON with its ETag; escapes may make a text six times as long.
_LARGEST_BODY = 6 * MAX_BYTES


def review_app(video: ReviewedVideo, token: str, port: int) -> ASGIApp:
    """The page of a video at `http://127.0.0.1:{port}/{token}/`."""
    page = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_pages(page, video)
    _add_api(page, video)
    page.mount("/static", StaticFiles(directory=_FOLDER / "static"))
    root = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    root.mount(f"/{token}", page)
    return Guard(root, token, port)


def _add_pages(page: FastAPI, video: ReviewedVideo) -> None:
    @page.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(PAGES.get_template("review.html").render(name=video.keys.video_id))

    @page.get("/media/short/{number}")
    def short(
        number: Annotated[int, PathParameter(ge=1, le=100_000)],
        range: Annotated[str | None, Header()] = None,
    ) -> Response:
        return media_response(video.objects, video.short_key(number), range)

    @page.get("/media/source")
    def source(range: Annotated[str | None, Header()] = None) -> Response:
        return media_response(video.objects, video.keys.original, range)


def _add_api(page: FastAPI, video: ReviewedVideo) -> None:
    @page.get("/api/state")
    def state() -> dict[str, Any]:
        return video.state()

    @page.put("/api/edits")
    def save(
        edits: Annotated[dict[str, Any], Body()],
        if_match: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        return video.save(edits, if_match)

    @page.post("/api/render")
    def render() -> dict[str, str]:
        return {"run": video.start_run()}

    @page.get("/api/progress/{run}")
    def progress(run: UUID) -> dict[str, Any]:
        return video.progress(run)

    @page.exception_handler(EditConflictError)
    def conflict(_: Request, error: EditConflictError) -> JSONResponse:
        return JSONResponse({"message": str(error), **video.edits()}, 409)

    @page.exception_handler(InvalidInputError)
    def invalid(_: Request, error: InvalidInputError) -> JSONResponse:
        return JSONResponse({"message": str(error)}, 422)

    @page.exception_handler(ClipflowError)
    @page.exception_handler(httpx.HTTPError)
    def failed(_: Request, error: Exception) -> JSONResponse:
        _code, message, remedy = format_error(error)
        return JSONResponse({"message": f"{message} {remedy}"}, 502)

    @page.middleware("http")
    async def bounded(request: Request, call_next: Any) -> Response:
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            return JSONResponse({"message": "The document is too large."}, 413)
        response: Response = await call_next(request)
        return response


# The page loads nothing from elsewhere, sends nothing elsewhere, and is in no other page's frame.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "media", "connect")),
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SAFE = ("GET", "HEAD")


class Guard:
    """Refuses every request that does not come from the page itself.

    `Host` must be the loopback address, which excludes names rebound to it by DNS. The path must
    begin with the token. A request that changes something must have the page's `Origin`, which a
    script or form of another site cannot send.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app, self._token = app, token
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return PlainTextResponse("The page is only at its loopback address.", 421)
        token = scope["path"].removeprefix("/").partition("/")[0]
        if not compare_digest(token.encode(), self._token.encode()):
            return PlainTextResponse("There is nothing here.", 404)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if scope["method"] not in _SAFE and (origin != f"http://{host}" or site != "same-origin"):
            return PlainTextResponse("Only the page itself may change something.", 403)
        return None


if TYPE_CHECKING:
    from botocore.response import StreamingBody

_RANGE = re.compile(r"bytes=\d{0,15}-\d{0,15}", re.ASCII)
_PIECE_BYTES = 1 << 18
_MISSING, _UNSATISFIABLE = ("404", "NoSuchKey", "NotFound"), ("416", "InvalidRange")


def media_response(objects: ObjectStore, key: str, requested: str | None) -> Response:
    """The object, or the range of it that the header `Range` requests, as a stream.

    Raises StorageUnavailableError if S3 does not answer.
    """
    arguments: dict[str, Any] = {"Bucket": objects.bucket, "Key": key}
    if requested and _RANGE.fullmatch(requested):
        arguments["Range"] = requested
    with storage_errors(f"reading {key}"):
        try:
            answer = objects.client.get_object(**arguments)
        except ClientError as error:
            if error_code(error) in _MISSING:
                return PlainTextResponse("There is no such video.", 404)
            if error_code(error) in _UNSATISFIABLE:
                return PlainTextResponse("There is no such range.", 416)
            raise
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(answer["ContentLength"])}
    if content_range := answer.get("ContentRange"):
        headers["Content-Range"] = content_range
    return StreamingResponse(
        _pieces(answer["Body"]), 206 if content_range else 200, headers, "video/mp4"
    )


def _pieces(body: "StreamingBody") -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(_PIECE_BYTES)
    finally:
        body.close()
