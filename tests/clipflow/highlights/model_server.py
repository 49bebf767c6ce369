"""A server on this machine that answers as OpenAI's API does, with what it is given to say."""

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
    """`replies` are given in turn, the last one for ever: moments, prose, or an HTTP status."""

    url: str
    replies: list[Reply]
    asked: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def model_server(*replies: Reply) -> Iterator[ModelServer]:
    """A server while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said.asked.append(asked)
            reply = said.next()
            status, body = (reply, _refusal(self)) if isinstance(reply, int) else (200, None)
            if not isinstance(reply, int):
                body = _responses(reply) if "responses" in self.path else _chat(reply, asked)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            # So that a client's own retries take no time.
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said = ModelServer(f"http://127.0.0.1:{server.server_port}/v1", list(replies))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _refusal(handler: BaseHTTPRequestHandler) -> dict[str, Any]:
    # As some servers do, it repeats the key it was sent.
    said = f"no: {handler.headers['Authorization']}"
    return {"error": {"message": said, "type": "invalid_request_error", "code": "no_such_thing"}}


def _chat(reply: str | list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(reply, str):
        message["content"] = reply
    else:
        called = {
            "name": asked["tools"][0]["function"]["name"],
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
