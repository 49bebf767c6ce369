"""The settings of the local stack, and the environment of its processes."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from clipflow.machine import lock_folder
from deployments.local_stack.run_client import ADDRESS
from deployments.run_environment import run_environment


class StackError(Exception):
    """The stack cannot start or continue. The message has the reason and a remedy."""


HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKET = "clipflow-media"
TABLE = "clipflow-records"
QUEUE = "clipflow-events"
DEAD_LETTER_QUEUE = "clipflow-events-dlq"
# The names in prefect.yaml.
WORK_POOLS = ("clipflow-orchestrate", "clipflow-media", "clipflow-prepare", "clipflow-marks")
# The work queue of the runs that start the clips of events.
STARTERS = "orchestrate"

# The user's own Prefect and AWS settings are removed, because a profile, a key or a proxy would
# connect the stack to other servers. So is the setting that disables bytecode files, because each
# process would compile Prefect again.
FOREIGN = (
    "AWS_",
    "PREFECT_API_",
    "PREFECT_HOME",
    "PREFECT_PROFILE",
    "PREFECT_SERVER_",
    "PYTHONDONTWRITEBYTECODE",
)


class StackSettings(BaseSettings):
    """The settings of `make up`, each read from its environment variable."""

    home: Path = Field(
        default=Path(".clipflow"),
        validation_alias="CLIPFLOW_HOME",
        description="The folder in which the local stack stores its state, logs and videos.",
    )
    aws_port: int = Field(
        default=4566,
        ge=1,
        le=65535,
        validation_alias="CLIPFLOW_AWS_PORT",
        description="The port of the local AWS.",
    )
    prefect_port: int = Field(
        default=4200,
        ge=1,
        le=65535,
        validation_alias="CLIPFLOW_PREFECT_PORT",
        description="The port of the Prefect server and its UI.",
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("prefect_port")
    @classmethod
    def _different(cls, port: int, info: ValidationInfo) -> int:
        if port == info.data.get("aws_port"):
            raise ValueError("is the same as CLIPFLOW_AWS_PORT")
        return port

    @classmethod
    def read(
        cls, home: Path | None = None, aws_port: int | None = None, prefect_port: int | None = None
    ) -> Self:
        """Reads the environment; arguments that are given take precedence.

        Raises pydantic's ValidationError.
        """
        given = {
            "CLIPFLOW_HOME": home,
            "CLIPFLOW_AWS_PORT": aws_port,
            "CLIPFLOW_PREFECT_PORT": prefect_port,
        }
        return cls.model_validate({name: value for name, value in given.items() if value})

    def as_environment(self) -> dict[str, str]:
        """The variables from which `read` makes these settings."""
        return {
            "CLIPFLOW_HOME": str(self.home),
            "CLIPFLOW_AWS_PORT": str(self.aws_port),
            "CLIPFLOW_PREFECT_PORT": str(self.prefect_port),
        }

    @property
    def aws_url(self) -> str:
        return f"http://{HOST}:{self.aws_port}"

    @property
    def prefect_url(self) -> str:
        return f"http://{HOST}:{self.prefect_port}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run_server(self) -> Path:
        """The run server's socket, which is not in `home` because its path must be short."""
        return lock_folder() / f"{self.prefect_port}.runs"

    @property
    def scratch(self) -> Path:
        """The folder of the flow runs' temporary files; emptied whenever no flow run is active."""
        return self.home / "scratch"


def client_environment(settings: StackSettings) -> dict[str, str]:
    """The variables that a program needs, besides its own environment, to connect to the stack."""
    return {
        "AWS_ENDPOINT_URL": settings.aws_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BUCKET_NAME": BUCKET,
        "TABLE_NAME": TABLE,
        "CLIPFLOW_QUEUE_NAME": QUEUE,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": f"{settings.prefect_url}/api",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
    }


def part_environment(settings: StackSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the stack's processes, based on that of the process that starts it."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(FOREIGN)}
    return {
        **kept,
        **client_environment(settings),
        "CLIPFLOW_SCRATCH": inherited.get("CLIPFLOW_SCRATCH") or str(settings.scratch),
        "PYTHONUNBUFFERED": "1",
        "BIND_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "GATEWAY_PORT": str(settings.aws_port),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.home / "aws" / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.home / "aws" / "s3"),
        "IOT_MTLS_ENABLED": "0",  # otherwise MiniStack opens another port on every interface
        "SFTP_ENABLED": "0",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The bridge waits for an event to be stored before it deletes the message; 5 by default.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        **run_environment(inherited),
        # Forking a process that has threads is safe only on Linux.
        **({ADDRESS: str(settings.run_server)} if sys.platform == "linux" else {}),
        # This server requires no CSRF tokens, and each client of a run would ask for one.
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        # A run that waits for a core need not be marked as late, and SQLite allows only one writer.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        # Without a worker to end it, a cancelled run is Cancelled by the server; after 300 s by
        # default. A worker kills a process 30 s after its SIGTERM.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "60",
        # The least time between two polls of a pool; `worker.py` decides when one is due.
        "PREFECT_WORKER_QUERY_SECONDS": "0.1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    }
