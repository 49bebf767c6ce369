"""The page's addresses: the page, its API, its videos."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Body, FastAPI, Header, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from clipflow.domain.edits import MAX_BYTES
from clipflow.domain.errors import ClipflowError, EditConflictError, InvalidInputError
from deployments.command.output import format_error
from deployments.command.review.guard import Guard
from deployments.command.review.media import media_response
from deployments.command.review.video import ReviewedVideo

_FOLDER = Path(__file__).parent
_PAGES = Environment(
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
        return HTMLResponse(_PAGES.get_template("review.html").render(name=video.keys.video_id))

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
