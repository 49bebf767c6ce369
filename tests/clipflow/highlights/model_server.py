"""A local server that implements the OpenAI API with predefined replies."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Reply = int | str | list[dict[str, Any]]


@dataclass
class ModelServer:
    """Returns `replies` in order and repeats the last: moments, prose, or an HTTP status."""

    url: str
    replies: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def model_server(*replies: Reply) -> Iterator[ModelServer]:
    """Run a server within the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.requests.append(request)
            reply = model.next()
            status, body = (reply, _refusal(self)) if isinstance(reply, int) else (200, None)
            if not isinstance(reply, int):
                body = _responses(reply) if "responses" in self.path else _chat(reply, request)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            # The client then retries without a delay.
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model = ModelServer(f"http://127.0.0.1:{server.server_port}/v1", list(replies))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _refusal(handler: BaseHTTPRequestHandler) -> dict[str, Any]:
    # Like some servers, the message repeats the API key of the request.
    server = f"no: {handler.headers['Authorization']}"
    return {"error": {"message": server, "type": "invalid_request_error", "code": "no_such_thing"}}


def _chat(reply: str | list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(reply, str):
        message["content"] = reply
    else:
        called = {
            "name": request["tools"][0]["function"]["name"],
            "arguments": json.dumps({"moments": reply}),
        }
        message["tool_calls"] = [{"id": "call", "type": "function", "function": called}]
    return {
        "id": "chat",
        "object": "chat.completion",
        "created": 0,
        "model": "small",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _responses(reply: str | list[dict[str, Any]]) -> dict[str, Any]:
    called = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call",
        "name": "final_result",
        "arguments": json.dumps({"moments": reply}),
        "status": "completed",
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": "small",
        "output": [called],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
