"""A simulated ECS task, whose container is a local process with its child processes."""

import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNT = "arn:aws:ecs:us-east-1:000000000000"
FLOW_NAME, FLOW_RUN_ID = "prefect.io/flow-name", "prefect.io/flow-run-id"


@dataclass
class Task:
    """A RunTask call and the state of the resulting task."""

    request: dict[str, Any]
    definition: dict[str, Any]
    arn: str
    status: str = "PROVISIONING"
    stop_code: str = ""
    reason: str = ""
    exit_code: int | None = None
    process: "subprocess.Popen[bytes] | None" = None
    stop_requested: threading.Event = field(default_factory=threading.Event)

    @property
    def tags(self) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.request.get("tags", [])}

    @property
    def flow(self) -> str:
        return self.tags.get(FLOW_NAME, "")

    @property
    def cpu(self) -> int:
        """The CPU units of the task; 1024 units are one vCPU."""
        return int(self.definition["cpu"])

    @property
    def is_on_spot(self) -> bool:
        providers = self.request.get("capacityProviderStrategy", [])
        return any(each["capacityProvider"] == "FARGATE_SPOT" for each in providers)

    def described(self) -> dict[str, Any]:
        """The task as DescribeTasks and events return it."""
        container = {"name": self._container["name"], "lastStatus": self.status}
        if self.exit_code is not None:
            container["exitCode"] = self.exit_code
        return {
            "taskArn": self.arn,
            "clusterArn": f"{ACCOUNT}:cluster/{self.request['cluster']}",
            "taskDefinitionArn": self.definition["taskDefinitionArn"],
            "lastStatus": self.status,
            "desiredStatus": "STOPPED" if self.stop_code else "RUNNING",
            "containers": [container],
            **({"capacityProviderName": "FARGATE_SPOT"} if self.is_on_spot else {}),
            **(
                {"stopCode": self.stop_code, "stoppedReason": self.reason} if self.stop_code else {}
            ),
        }

    @property
    def _container(self) -> dict[str, Any]:
        return dict(self.definition["containerDefinitions"][0])

    @property
    def stop_timeout(self) -> float:
        return float(self._container.get("stopTimeout", 30))

    def start(self, image: dict[str, str], scratch: str, log: Path) -> None:
        """Start the process with only the environment of the image and of the task."""
        (override,) = self.request["overrides"]["containerOverrides"]
        given = {entry["name"]: entry["value"] for entry in override["environment"]}
        inside = {"HOME": scratch, "TMPDIR": scratch, "ECS_TASK_ARN": self.arn}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                override["command"],
                env={**image, **inside, **given},
                cwd=scratch,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill all processes of the container, as when pid 1 ends or memory is exhausted."""
        mark = f"ECS_TASK_ARN={self.arn}".encode()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):  # not a process, or has ended
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
