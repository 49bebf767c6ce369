"""The commands behind `make`: deploying to a local AWS, and operating the local stack."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.cloudformation import templates
from deployments.cloudformation.stacks import NotDeployedError, Stacks, additions
from deployments.cloudformation.templates import Template
from deployments.operate.account import DeployedResources
from deployments.operate.deploy import missing
from deployments.operate.runs import log_streams
from deployments.work_pools import work_pools
from deployments.work_pools.pools import WorkPool
from tests.deployments.stored_aws import StoredAws
from tests.programs import AWS, ROOT, PrefectServer

# The settings of a user before the first `make deploy`, except the address of the Prefect server.
USER_SETTINGS = {
    **AWS,
    "CLIPFLOW_IMAGE": "clipflow:1",
    "CLIPFLOW_VPC_ID": "vpc-00000001",
    "CLIPFLOW_SUBNETS": "subnet-00000001,subnet-00000002",
    # The local AWS has no Service Quotas.
    "CLIPFLOW_FARGATE_VCPU": "30",
    "CLIPFLOW_FARGATE_SPOT_VCPU": "40",
}
# Variables of the test's own environment that must not reach the commands.
REMOVED_VARIABLES = re.compile(
    r"AWS_|CLIPFLOW_|PREFECT_|(BUCKET_NAME|TABLE_NAME|CONFIRM|DRY_RUN|RUN)$"
)
# A Prefect server in the account. Its address in the tests is that of another server.
OWN_SERVER = {
    "CLIPFLOW_PREFECT_SERVER": "own",
    "CLIPFLOW_PREFECT_DOMAIN": "prefect.example.com",
    "CLIPFLOW_PREFECT_CERTIFICATE_ARN": "arn:aws:acm:us-east-1:000000000000:certificate/1",
    "CLIPFLOW_PREFECT_CLIENTS": "10.0.0.0/16",
}
PREFECT = {"clipflow-prefect-data", "clipflow-prefect-server"}
INFRA = {"clipflow-data", "clipflow-cluster", "clipflow-roles", "clipflow-bridge"}
WORKERS = {f"clipflow-worker-{name}" for name in ("marks", "media", "orchestrate", "prepare")}


def run_command(env: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    inherited = {
        name: value for name, value in os.environ.items() if not REMOVED_VARIABLES.match(name)
    }
    return subprocess.run(
        command,
        env={**inherited, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def run_verb(env: dict[str, str], *arguments: str) -> str:
    """The output of a verb of `deployments.operate` that succeeds."""
    process = run_command(env, sys.executable, "-m", "deployments.operate", *arguments)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def run_refused_verb(env: dict[str, str], *arguments: str) -> str:
    """The output of a verb of `deployments.operate` that is refused with exit code 2."""
    process = run_command(env, sys.executable, "-m", "deployments.operate", *arguments)
    assert process.returncode == 2, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    return process.stdout


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[StoredAws]:
    aws = StoredAws(tmp_path)
    aws.start()
    yield aws
    aws.stop()


def deployment_of(name: str, server: PrefectServer) -> dict[str, Any]:
    """A deployment as Prefect has it."""
    found = httpx.get(f"{server.url}/deployments/name/{name}").raise_for_status()
    return dict(found.json())


def size_of(deployment: str, server: PrefectServer) -> tuple[int | None, int | None]:
    """The CPU units and MiB of a deployment's machine, if they are not its pool's."""
    variables = deployment_of(deployment, server)["job_variables"]
    return variables.get("cpu"), variables.get("memory")


def stacks(aws: StoredAws) -> dict[str, str]:
    """The status of each CloudFormation stack, by name."""
    found = aws.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack["StackStatus"] for stack in found}


def test_templates_are_ordered_by_their_outputs() -> None:
    order = [template.name for template in templates.read()]
    assert order.index("data") < order.index("roles") < order.index("bridge")
    assert order.index("cluster") < order.index("roles")


def test_a_parameter_is_named_by_its_description_or_its_name() -> None:
    body = """
Parameters:
  Shorts: {Type: String, Description: VIDEO_WAREHOUSE_S3_BUCKET_NAME of the flow runs.}
  VpcId: {Type: String, Description: The network.}
  TableName: {Type: String, Default: records}
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "${VpcId}-queue"}}
"""
    template = Template.parse("one", body)
    names = [parameter.variable for parameter in template.parameters.values()]
    assert names == ["VIDEO_WAREHOUSE_S3_BUCKET_NAME", "CLIPFLOW_VPC_ID", "TABLE_NAME"]
    assert templates.missing([template], {}) == set(names[:2])


def test_new_stacks_are_listed_without_the_resources_that_their_conditions_leave_out() -> None:
    def omitted_resources(environment: dict[str, str]) -> set[str]:
        return {
            name
            for template in templates.read()
            for name in template.resources.keys()
            - {
                change.resource
                for change in additions(template, templates.arguments(template, {}, environment))
            }
        }

    other_conditions = {"UseTheMediaKey", "SendTraces", "Address"}
    alarm_resources = {"Alarms", "AlarmsByMail", "OnlyAlarmsAreSent", "AlarmsKey"}
    assert omitted_resources({}) == alarm_resources | other_conditions
    assert omitted_resources({"CLIPFLOW_ALARM_EMAIL": "somebody@example.com"}) == other_conditions
    assert omitted_resources(
        {"CLIPFLOW_EXISTING_CLUSTER": "studio"}
    ) == alarm_resources | other_conditions | {"Cluster"}


def test_a_worker_is_listed_without_the_secrets_and_logs_that_exist() -> None:
    (pool, *_) = work_pools(gpu=False, environment={})
    environment = {
        "CLIPFLOW_PREFECT_API_KEY_SECRET_ARN": "arn:aws:secretsmanager:::secret:prefect",
        "CLIPFLOW_LOG_GROUP": "flows",
    }
    template = templates.worker_template(pool, environment)
    kinds = template.created(templates.worker_arguments(pool, environment)).values()
    assert "AWS::ECS::Service" in kinds
    assert not {"AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"} & set(kinds)


def test_all_missing_settings_are_listed_together() -> None:
    assert missing(templates.chosen({}), {}) == [
        "AWS_REGION",
        "CLIPFLOW_IMAGE",
        "CLIPFLOW_SUBNETS",
        "CLIPFLOW_VPC_ID",
        "PREFECT_API_URL",
    ]


def test_a_worker_can_log_in_and_pass_only_permitted_roles() -> None:
    (pool, *_) = work_pools(gpu=False, environment={})
    template = templates.worker_template(pool, {templates.LIMITS: "arn:aws:iam::1:policy/limits"})
    assert '"PREFECT_API_AUTH_STRING"' in template.body
    assert '"PREFECT_AUTH_STRING"' not in template.body
    assert template.body.count("arn:aws:iam::1:policy/limits") == 1


def test_nothing_connects_to_a_worker_and_only_its_rule_sends_to_its_queue() -> None:
    (pool, *_) = work_pools(gpu=False, environment={})
    body = json.loads(templates.worker_template(pool, {}).body)
    by_kind = {each["Type"]: each["Properties"] for each in body["Resources"].values()}
    assert "SecurityGroupIngress" not in by_kind["AWS::EC2::SecurityGroup"]
    (container,) = by_kind["AWS::ECS::TaskDefinition"]["ContainerDefinitions"]
    assert "PortMappings" not in container
    host = {"Name": "PREFECT_WORKER_WEBSERVER_HOST", "Value": "127.0.0.1"}
    assert host in container["Environment"]
    (statement,) = by_kind["AWS::SQS::QueuePolicy"]["PolicyDocument"]["Statement"]
    assert "aws:SourceArn" in statement["Condition"]["ArnEquals"]


def test_one_worker_has_the_events_of_the_tasks_of_all_pools() -> None:
    def rules_and_queues(pool: WorkPool) -> tuple[str, set[int]]:
        body = json.loads(templates.worker_template(pool, {}).body)
        found = [(each["Type"], each["Properties"]) for each in body["Resources"].values()]
        (state,) = (it["State"] for kind, it in found if kind == "AWS::Events::Rule")
        return state, {it["MessageRetentionPeriod"] for kind, it in found if "RedrivePolicy" in it}

    pools = {pool.purpose: pool for pool in work_pools(gpu=False, environment={})}
    state, (kept,) = rules_and_queues(pools.pop("marks"))
    assert state == "ENABLED" and kept > 86400
    assert all(rules_and_queues(pool) == ("DISABLED", {60}) for pool in pools.values())


def test_names_in_the_operating_guide_exist() -> None:
    guide = (ROOT / "docs" / "aws.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    targets |= set(" ".join(re.findall(r"^VERBS := (.*)", makefile, re.MULTILINE)).split())
    targets_of_guide = set(re.findall(r"(?:^|`)make ([a-z-]+)", guide, re.MULTILINE))
    assert targets_of_guide >= {
        "deploy",
        "destroy",
        "status",
        "runs",
        "logs",
        "run-clips",
        "run-shorts",
    }
    assert targets_of_guide <= targets
    dockerfiles = "".join(path.read_text() for path in ROOT.glob("infra/images/*.Dockerfile"))
    arguments = set(re.findall(r"--build-arg ([A-Z_]+)=", guide))
    assert arguments and all(f"ARG {name}" in dockerfiles for name in arguments)


@pytest.mark.parametrize(
    "setting", ["CLIPFLOW_PREFECT_API_KEY_SECRET_ARN", "CLIPFLOW_PREFECT_AUTH_SECRET_ARN"]
)
def test_a_worker_may_read_its_secret_and_has_no_policy_without_one(setting: str) -> None:
    [pool, *_] = work_pools(False, {})

    def policies(environment: dict[str, str]) -> int:
        kinds = templates.worker_template(pool, environment).resources.values()
        return list(kinds).count("AWS::IAM::Policy")

    assert policies({setting: "arn:aws:secretsmanager:::secret:prefect"}) == policies({}) + 1


@pytest.mark.slow
def test_missing_settings_are_reported_before_any_change(aws: StoredAws) -> None:
    output = run_refused_verb({**AWS, "AWS_ENDPOINT_URL": aws.url}, "deploy")
    assert "CLIPFLOW_IMAGE, CLIPFLOW_SUBNETS, CLIPFLOW_VPC_ID, PREFECT_API_URL" in output
    assert stacks(aws) == {}


@pytest.mark.slow
def test_an_account_is_deployed_inspected_and_destroyed(
    aws: StoredAws, prefect_server: PrefectServer
) -> None:
    env = {**USER_SETTINGS, "AWS_ENDPOINT_URL": aws.url, "PREFECT_API_URL": prefect_server.url}

    plan = run_verb({**env, "DRY_RUN": "1"}, "deploy")
    assert "Add    Records (AWS::DynamoDB::Table)" in plan
    assert "clipflow-worker-media: new" in plan
    assert "the service-linked role of ECS: new" in plan
    assert "quotas of 30 and 40 vCPU: marks 2, media 10, orchestrate 10, prepare 1" in plan
    # Neither an address for alarms nor a new secret was requested.
    assert not re.search("AWS::SNS::Topic|AWS::SecretsManager::Secret|WorkerLogGroup", plan)
    assert "clipflow-prefect" not in plan
    assert "clipflow-warm" not in plan
    large_model = {"CLIPFLOW_WHISPER_MODEL": "large-v3"}
    plan = run_verb({**env, **large_model, "DRY_RUN": "1"}, "deploy")
    assert "a window with large-v3: 4 vCPU; 16 need a quota of 320 vCPU of Spot" in plan
    assert "quotas of 30 and 40 vCPU: marks 2, media 10, orchestrate 10, prepare 1" in plan
    assert "window  " not in plan
    # Of the warm machines of 4 vCPU, three are on Spot.
    env |= OWN_SERVER | large_model | {"CLIPFLOW_FARGATE_SPOT_VCPU": "332"}
    env |= {"CLIPFLOW_WARM_MACHINES": "1-4"}
    plan = run_verb({**env, "DRY_RUN": "1"}, "deploy")
    assert "a window with large-v3: 16 vCPU\n" in plan
    assert "window       clipflow-media: FARGATE_SPOT, 16384 CPU, 32768 MiB" in plan
    # Ten windows take 120 vCPU more than ten other runs of the pool.
    assert "media 50" in plan
    assert "Add    Database (AWS::RDS::DBInstance)" in plan
    assert "Add    Balancer (AWS::ElasticLoadBalancingV2::LoadBalancer)" in plan
    assert stacks(aws) == {}

    output = run_verb(env, "deploy")
    assert "Deployment 'generate-shorts/clipflow'" in output
    assert "clipflow-warm: process, 1-4 machines" in output
    of_clips, of_shorts = (
        deployment_of(f"generate-{what}/clipflow", prefect_server)["work_pool_name"]
        for what in ("clip", "shorts")
    )
    assert (of_clips, of_shorts) == ("clipflow-warm", "clipflow-orchestrate")
    assert size_of("transcribe-window/clipflow", prefect_server) == (16384, 32768)
    assert size_of("render-shorts/clipflow", prefect_server) == (None, None)
    # The database is migrated before the server starts, and the server before what needs it.
    steps = ("prefect-data: new", "database: migrated", "bridge: new", "worker-media: new")
    assert sorted(steps, key=output.index) == list(steps)
    deployed = stacks(aws)
    assert deployed.keys() >= INFRA | WORKERS | PREFECT | {"clipflow-warm"}
    assert set(deployed.values()) == {"CREATE_COMPLETE"}
    outputs = output_values(aws, "clipflow-data")

    path = "/aws-service-role/ecs.amazonaws.com/"
    assert len(aws.client("iam").list_roles(PathPrefix=path)["Roles"]) == 1

    # A user who sets the name of the existing bucket keeps this bucket.
    changed = {**env, "BUCKET_NAME": outputs["BucketName"], "CLIPFLOW_IMAGE": "clipflow:2"}
    plan = run_verb(changed, "deploy", "--dry-run")
    assert "clipflow-data: unchanged" in plan
    assert "service-linked role" not in plan
    assert "clipflow-bridge: changed" in plan
    assert "Modify Container (AWS::ECS::TaskDefinition)" in plan
    assert "clipflow-worker-media: changed" in plan
    assert "clipflow-warm: changed" in plan
    without = {**env, "CLIPFLOW_WARM_MACHINES": "0-0", "CLIPFLOW_FARGATE_SPOT_VCPU": ""}
    plan_without = run_verb(without, "deploy", "--dry-run")
    assert "clipflow-warm: deleted" in plan_without
    assert "The quotas of Fargate are unknown" in plan_without
    assert "a window with large-v3: 4 vCPU;" in plan_without and "window  " not in plan_without
    assert "the least, 4, is more than the most" in run_refused_verb(
        {**env, "CLIPFLOW_WARM_MACHINES": "4-1"}, "deploy"
    )
    assert "Modify ApiContainer (AWS::ECS::TaskDefinition)" in plan
    status_output = run_verb(env, "status")
    assert "api  2 of 2 running" in status_output
    assert "database  available" in status_output
    assert "clipflow-worker-prepare  CREATE_COMPLETE" in status_output
    assert "clipflow-media  ecs, not_ready, 0 workers online, 0 runs waiting" in status_output

    output = run_refused_verb(env, "destroy")
    assert "clipflow-data's Media, clipflow-data's Records" in output
    assert "a snapshot of clipflow-prefect-data's Database" in output
    assert stacks(aws) == deployed

    aws.client("s3").put_object(Bucket=outputs["BucketName"], Key="a", Body=b"picture")
    ecs, cluster = aws.client("ecs"), output_values(aws, "clipflow-cluster")["ClusterName"]
    machine = {"name": "prefect", "image": "clipflow:1", "memory": 128}
    for family in ("clipflow-media", "clipflow-begin", "clipflow-window"):
        ecs.register_task_definition(family=family, containerDefinitions=[machine])
        ecs.run_task(cluster=cluster, taskDefinition=family)
    output = run_verb({**env, "CONFIRM": "yes"}, "destroy")
    assert "flow runs ended: 3" in output
    assert "automations deleted: 2" in output
    (snapshot,) = aws.client("rds").describe_db_snapshots()["DBSnapshots"]
    assert f"Kept: CLIPFLOW_PREFECT_SNAPSHOT={snapshot['DBSnapshotIdentifier']}" in output
    assert not set(stacks(aws).values()) - {"DELETE_COMPLETE"}
    assert f"BUCKET_NAME={outputs['BucketName']}" in output


@pytest.mark.slow
def test_retained_resources_are_imported_by_the_next_stack(aws: StoredAws) -> None:
    data = next(template for template in templates.read() if template.name == "data")
    account = Stacks(aws.client("cloudformation"))
    account.execute(account.prepare(data, {"TableName": "records", "BucketName": "studio-media"}))
    item = {"pk": {"S": "tenant#episode"}, "sk": {"S": "clip#one"}}
    aws.client("dynamodb").put_item(TableName="records", Item=item)
    account.delete(data.stack)

    change_set = account.prepare(data, {"TableName": "records", "BucketName": "studio-media"})
    actions = {change.resource: change.action for change in change_set.changes}
    assert (actions["Media"], actions["Records"], actions["Events"]) == ("Import", "Import", "Add")
    account.discard(change_set)
    # The local AWS plans to import a bucket, but then rejects its name as taken.
    account.execute(account.prepare(data, {"TableName": "records"}))
    assert aws.client("dynamodb").get_item(TableName="records", Key=item)["Item"] == item
    assert account.outputs(data.stack)["TableName"] == "records"
    assert account.prepare(data, {"TableName": "records"}).changes == ()


@pytest.mark.slow
def test_a_stack_that_cannot_be_created_says_why_and_can_be_fixed(aws: StoredAws) -> None:
    data = next(template for template in templates.read() if template.name == "data")
    broken = data.body.replace("VisibilityTimeout: 60", "VisibilityTimeout: 99999")
    account = Stacks(aws.client("cloudformation"))
    with pytest.raises(NotDeployedError, match="Events"):
        account.execute(account.prepare(Template.parse("data", broken), {}))
    account.execute(account.prepare(data, {}))
    assert stacks(aws) == {"clipflow-data": "CREATE_COMPLETE"}


@pytest.mark.slow
def test_earlier_stack_failures_are_not_reported_again(aws: StoredAws) -> None:
    data = next(template for template in templates.read() if template.name == "data")
    account = Stacks(aws.client("cloudformation"))
    account.execute(account.prepare(data, {}))
    reasons = {}
    for resource in ("Events", "DeadLetters"):
        before, name, after = data.body.partition(f"  {resource}:\n")
        broken = before + name + after.replace("Period: 1209600", "Period: 99999999", 1)
        with pytest.raises(NotDeployedError) as refusal:
            account.execute(account.prepare(Template.parse("data", broken), {}))
        reasons[resource] = refusal.value.message
    assert "Events: " in reasons["Events"]
    assert "DeadLetters: " in reasons["DeadLetters"] and "Events: " not in reasons["DeadLetters"]


def output_values(aws: StoredAws, stack: str) -> dict[str, str]:
    (found,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@pytest.mark.slow
def test_the_containers_of_a_run_are_found_by_run_and_by_task(
    aws: StoredAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_groups = {"CLIPFLOW_LOG_GROUP": "flows", "CLIPFLOW_BRIDGE_LOG_GROUP": "bridge"}
    for name, value in {**AWS, "AWS_ENDPOINT_URL": aws.url, **log_groups}.items():
        monkeypatch.setenv(name, value)
    began = datetime.now(UTC)
    logged = {"level": "INFO", "logger": "clipflow", "message": "cut", "run_id": "run-1"}
    put_log(aws, "flows", "media/prefect/1", json.dumps(logged))
    put_log(aws, "flows", "media/prefect/2", json.dumps({**logged, "run_id": "run-2"}))
    put_log(aws, "flows", "prepare/prefect/3", "exec format error")
    put_log(aws, "flows", "ecs/prefect-worker/4", "a worker started")
    put_log(aws, "bridge", "bridge/bridge/5", "the bridge started")

    run = FlowRun(
        flow_id=uuid4(),
        infrastructure_pid="c::arn:aws:ecs:x:1:task/c/3",
        work_pool_name="clipflow-prepare",
    )
    found = dict(DeployedResources().container_logs(["run-1"], log_streams(run), began))
    assert list(found) == ["prepare/prefect/3", "media/prefect/1"]
    assert [line[10:] for lines in found.values() for line in lines] == [
        "exec format error",
        "INFO  cut",
    ]
    output = "\n".join(DeployedResources().logs(minutes=5))
    for text in ("a worker started", "the bridge started", "cut", "exec format error"):
        assert text in output


def put_log(aws: StoredAws, group: str, stream: str, message: str) -> None:
    logs = aws.client("logs")
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = round(datetime.now(UTC).timestamp() * 1000) + 1
    event = {"timestamp": now, "message": message}
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])
