"""The operations of Amazon ECS that prefect-aws uses; each task runs as a local process.

The protocol is AWS JSON 1.1. State changes of tasks are sent to EventBridge, as ECS does.
"""

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

from tests.ecs.ecs_task import ACCOUNT, Task


class ApiError(Exception):
    """An error response of the API, with its code and message; botocore raises it in the client."""


class EcsService:
    """A cluster of unlimited capacity, except for the failures that a test configures.

    Attributes:
        images: the environment variables of each image.
        quota: maximum CPU units of all tasks that exist at the same time; None for no limit.
        has_spot: whether Fargate Spot has capacity.
        loses_spot: whether tasks on Fargate Spot are accepted and lost before they start.
        throttled: number of the next RunTask calls that are throttled.
        refusals: number of the next RunTask calls that are refused for lack of capacity, by flow.
        failing_starts: number of the next tasks that are accepted but fail to start, by flow.
        lost_starts: the same for tasks that end for lack of capacity before they start.
        launching: seconds in each state before a container runs. Fargate takes longer.
        definitions: every registered revision, by family and number.
    """

    def __init__(self, events_url: str, images: dict[str, dict[str, str]], logs: Path) -> None:
        self.images, self.refusals, self.failing_starts = images, dict[str, int](), dict[str, int]()
        self.lost_starts: dict[str, int] = {}
        self.quota: int | None = None
        self.has_spot, self.loses_spot, self.throttled = True, False, 0
        self.launching = 0.1
        self.tasks: dict[str, Task] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self._logs, self._lock = logs, threading.RLock()
        self._threads: list[threading.Thread] = []
        self._events = boto3.client("events", endpoint_url=events_url, region_name="us-east-1")

    def of(self, flow: str) -> list[Task]:
        """The tasks of a flow's runs, in the order of their RunTask calls."""
        return [task for task in self.tasks.values() if task.flow == flow]

    def running(self, flow: str = "") -> list[Task]:
        """The tasks that have not stopped."""
        tasks = self.of(flow) if flow else list(self.tasks.values())
        return [task for task in tasks if task.status != "STOPPED"]

    def forget(self) -> None:
        """Remove all tasks, and the failures of the next calls and tasks."""
        for kept in (self.tasks, self.refusals, self.failing_starts, self.lost_starts):
            kept.clear()

    def answer(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """The response to an API call. Raises ApiError with the error of a call that fails."""
        handler = getattr(self, f"_{operation}", None)
        if handler is None:
            raise ApiError("UnknownOperationException", operation)
        with self._lock:
            return dict(handler(body))

    def _RegisterTaskDefinition(self, body: dict[str, Any]) -> dict[str, Any]:
        family = body["family"]
        revision = 1 + sum(known.startswith(f"{family}:") for known in self.definitions)
        name = f"{family}:{revision}"
        arn = f"{ACCOUNT}:task-definition/{name}"
        body.pop("tags", None)
        self.definitions[name] = {
            **body,
            "taskDefinitionArn": arn,
            "revision": revision,
            "status": "ACTIVE",
        }
        return {"taskDefinition": self.definitions[name]}

    def _DescribeTaskDefinition(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["taskDefinition"].rpartition("/")[2]
        found = [name for name in self.definitions if wanted in (name, name.rpartition(":")[0])]
        if not found:
            raise ApiError("ClientException", "Unable to describe task definition.")
        return {"taskDefinition": self.definitions[found[-1]]}

    def _RunTask(self, body: dict[str, Any]) -> dict[str, Any]:
        definition = self._DescribeTaskDefinition(body)["taskDefinition"]
        if len(json.dumps(body["overrides"])) > 8192:
            raise ApiError("InvalidParameterException", "Container Overrides length exceeds 8192")
        if not body.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).get("subnets"):
            raise ApiError("InvalidParameterException", "Network Configuration must be provided")
        arn = f"{ACCOUNT}:task/{body['cluster']}/{uuid.uuid4().hex}"
        task = Task(body, definition, arn)
        if self.throttled > 0:
            self.throttled -= 1
            raise ApiError("ThrottlingException", "Rate exceeded")
        if reason := self._refusal_reason(task):
            return {"tasks": [], "failures": [{"reason": reason}]}
        self.tasks[arn] = task
        self._threads.append(threading.Thread(target=self._run, args=(task,), daemon=True))
        self._threads[-1].start()
        return {"tasks": [task.described()], "failures": []}

    def _refusal_reason(self, task: Task) -> str:
        """The reason why the task cannot be started; empty if it can."""
        unavailable = "Capacity is unavailable at this time. Please try again later."
        if self.refusals.get(task.flow, 0) > 0:
            self.refusals[task.flow] -= 1
            return unavailable
        if task.is_on_spot and not self.has_spot:
            return unavailable
        used = sum(other.cpu for other in self.running())
        if self.quota is not None and used + task.cpu > self.quota:
            return "You've reached the limit on the number of vCPUs you can run concurrently"
        return ""

    def _DescribeTasks(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [self.tasks[arn] for arn in body["tasks"] if arn in self.tasks]
        return {
            "tasks": [{**task.described(), "tags": task.request.get("tags", [])} for task in found],
            "failures": [],
        }

    def _StopTask(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks.get(body["task"])
        if task is None:
            raise ApiError("InvalidParameterException", "The referenced task was not found.")
        self.stop(task, body.get("reason", "Task stopped by user"))
        return {"task": task.described()}

    def stop(self, task: Task, reason: str = "Spot capacity was reclaimed.") -> None:
        """Send SIGTERM to pid 1, and SIGKILL to all processes after the stop timeout."""
        with self._lock:
            if not task.stop_code:
                task.stop_code, task.reason = "UserInitiated", reason
        task.stop_requested.set()
        if task.process and task.process.poll() is None:
            task.process.terminate()
            timer = threading.Timer(task.stop_timeout, task.kill)
            timer.daemon = True
            timer.start()

    def stop_all(self) -> None:
        """Kill every task, and wait until its last event is sent."""
        for task in self.running():
            task.stop_requested.set()
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            for task in self.running():
                task.kill()
            alive[0].join(0.5)

    def _run(self, task: Task) -> None:
        self._send_event(task)
        time.sleep(self.launching)
        self._set_status(task, "PENDING")
        time.sleep(self.launching)
        if (self.loses_spot and task.is_on_spot) or self._takes_one(self.lost_starts, task):
            self._end(task, "TaskFailedToStart", "Capacity is unavailable at this time.")
            return
        image = self.images.get(task.definition["containerDefinitions"][0]["image"])
        if image is None or self._takes_one(self.failing_starts, task):
            self._end(task, "TaskFailedToStart", "CannotPullContainerError: no such image")
            return
        with tempfile.TemporaryDirectory(prefix="ecs-", ignore_cleanup_errors=True) as scratch:
            if not task.stop_requested.is_set():
                task.start(image, scratch, self._logs / f"{task.flow}-{task.arn[-8:]}.log")
                self._set_status(task, "RUNNING")
                assert task.process
                code = task.process.wait()
                task.exit_code = code if code >= 0 else 128 - code
                task.kill()
            self._end(task, "EssentialContainerExited", "Essential container in task exited")

    def _takes_one(self, left: dict[str, int], task: Task) -> bool:
        """Whether some are left for the task's flow; takes one of them."""
        with self._lock:
            found = left.get(task.flow, 0)
            left[task.flow] = max(0, found - 1)
            return found > 0

    def _end(self, task: Task, code: str, reason: str) -> None:
        if not task.stop_code:
            task.stop_code, task.reason = code, reason
        self._set_status(task, "STOPPED")

    def _set_status(self, task: Task, status: str) -> None:
        task.status = status
        self._send_event(task)

    def _send_event(self, task: Task) -> None:
        entry = {
            "Source": "aws.ecs",
            "DetailType": "ECS Task State Change",
            "Detail": json.dumps(task.described()),
            "Resources": [task.arn],
        }
        self._events.put_events(Entries=[entry])  # type: ignore[list-item]


@contextmanager
def serving(service: EcsService, port: int) -> Iterator[str]:
    """Serve the API and yield its address. At the end, processes that still run are killed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            try:
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                status, answer = 200, service.answer(operation, body)
            except ApiError as error:
                status, answer = 400, {"__type": error.args[0], "message": error.args[1]}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing, to keep the output of the tests readable."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()
        service.stop_all()
