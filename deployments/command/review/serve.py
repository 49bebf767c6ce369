"""`clipflow review`: serves the page on a loopback port until Ctrl-C."""

import socket
from collections.abc import Callable
from secrets import token_urlsafe

import uvicorn
from prefect.client.orchestration import get_client

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.storage.objects import shorts_store
from deployments.command.edit import made_of, video_of
from deployments.command.open import open_address
from deployments.command.output import Output
from deployments.command.prefect_api import recent_jobs
from deployments.command.review.app import review_app
from deployments.command.review.video import ReviewedVideo

_LOOPBACK = "127.0.0.1"
# The number of recent jobs among which the newest video is searched.
_SEARCHED = 50


def review(job: str | None, port: int, opens: bool, output: Output) -> None:
    """Serves the page of a video, the newest one without a name, until Ctrl-C.

    `port` 0 chooses a free one. Raises InvalidInputError if there is no such video, or the port
    is in use.
    """
    keys = video_of(job) if job else _newest_video()
    video = ReviewedVideo(keys, shorts_store())
    made_of(video.keys, video.objects)
    with _listening(port) as listener:
        chosen = int(listener.getsockname()[1])
        token = token_urlsafe(24)
        address = f"http://{_LOOPBACK}:{chosen}/{token}/"
        output.document |= {"job": "review", "name": keys.video_id, "address": address}
        if opens:
            open_address(address, output)
        else:
            output.line(address)
        output.line("Only this machine can open it, by this address. Ctrl-C ends it.")
        config = uvicorn.Config(
            review_app(video, token, chosen), log_level="warning", access_log=False
        )
        _until_interrupted(lambda: uvicorn.Server(config).run(sockets=[listener]))


def _until_interrupted(serve: Callable[[], None]) -> None:
    """Ctrl-C is the way to end it: uvicorn raises it again when it has closed its connections."""
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
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"Port {port} cannot be used: {error.strerror}.", "Name another with --port."
        ) from None
    return listener
