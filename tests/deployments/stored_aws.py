"""The AWS of the local stack as a separate program that tests start and kill."""

import re
from pathlib import Path
from typing import Any

import boto3

from tests.programs import AWS, Program, free_port


class StoredAws(Program):
    """A local AWS that stores its objects and state in `home`, so that they survive a restart."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(home / "s3"),
            "IOT_MTLS_ENABLED": "0",
        }
        command = "tests.deployments.emulated_aws"
        super().__init__(home / "log", command, env, f"{self.url}/_ministack/ready")

    def client(self, service: str) -> Any:
        """A boto3 client of this AWS."""
        session: Any = boto3.Session(
            aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
            region_name=AWS["AWS_REGION"],
        )
        return session.client(service, endpoint_url=self.url)

    def reset_peak_memory(self) -> None:
        """Reset the peak of its memory."""
        (self._proc / "clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """The peak of its memory in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", (self._proc / "status").read_text())
        assert found
        return int(found[1]) * 1024

    @property
    def _proc(self) -> Path:
        assert self._process
        return Path(f"/proc/{self._process.pid}")
