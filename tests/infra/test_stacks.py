"""Every template of `infra/`, deployed into the local AWS and inspected with boto3."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from deployments.work_pools import PoolSettings
from tests.deployments.stored_aws import StoredAws
from tests.infra.templates import ORDER, deploy, described, resources
from tests.programs import ROOT

pytestmark = pytest.mark.slow
ACCOUNT = "us-east-1:000000000000"
SECRET = f"arn:aws:secretsmanager:{ACCOUNT}:secret:prefect-abcdef"
GIVEN = {
    "Image": "clipflow:1",
    "PrefectApiUrl": "https://prefect.example/api",
    "PrefectAuthSecretArn": SECRET,
    "PrefectClients": "10.0.0.0/16",
    "PrefectDomain": "prefect.example.com",
    "PrefectCertificateArn": f"arn:aws:acm:{ACCOUNT}:certificate/1",
    "RepositoryArns": f"arn:aws:ecr:{ACCOUNT}:repository/clipflow",
    "AlarmEmail": "somebody@example.com",
    "WarmMachines": "1-4",
}
CHANGES = {
    "SegmentDays": "0",
    "FlowsLogDays": "90",
    "Sources": "*/recordings/*",
    "Image": "clipflow:2",
    "Namespace": "clipflow-two",
}


@dataclass(frozen=True)
class Account:
    """The deployed stacks.

    Attributes:
        client: creates a boto3 client of a service.
        given: parameters that were set by the user.
        stacks: outputs of each stack, by the name of its template.
    """

    client: Callable[[str], Any]
    given: dict[str, str]
    stacks: dict[str, dict[str, str]]

    def output(self, name: str) -> str:
        return next(outputs[name] for outputs in self.stacks.values() if name in outputs)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    aws = StoredAws(tmp_path_factory.mktemp("aws"))
    aws.start()
    client = cache(aws.client)
    ec2 = client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    network = {
        "VpcId": subnets[0]["VpcId"],
        "Subnets": ",".join(subnet["SubnetId"] for subnet in subnets),
    }
    given = {**GIVEN, **network}
    statuses, stacks = deploy_all(client, given)
    assert set(statuses.values()) == {"CREATE_COMPLETE"}
    yield Account(client, given, stacks)
    aws.stop()


def deploy_all(
    client: Callable[[str], Any], given: dict[str, str], prefix: str = "clipflow"
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Deploy all stacks, each with the outputs of earlier ones unless `given`
    has another value.

    Returns the status and the outputs of each stack.
    """
    statuses: dict[str, str] = {}
    stacks: dict[str, dict[str, str]] = {}
    known = dict(given)
    for name in ORDER:
        statuses[name], stacks[name] = deploy(client("cloudformation"), name, known, prefix)
        known = stacks[name] | known
    return statuses, stacks


def test_a_second_deployment_changes_nothing(account: Account) -> None:
    statuses, stacks = deploy_all(account.client, account.given)
    assert set(statuses.values()) == {""}
    assert stacks == account.stacks


def test_an_update_changes_only_the_given_parameters(account: Account) -> None:
    client = account.client
    _, stacks = deploy_all(client, account.given, "updated")
    before = Account(client, account.given, stacks)
    bucket, table = before.output("BucketName"), before.output("TableName")
    key = {"pk": {"S": "tenant#episode"}, "sk": {"S": "clip#one"}}
    client("s3").put_object(Bucket=bucket, Key="a", Body=b"picture")
    client("dynamodb").put_item(TableName=table, Item=key)

    statuses, stacks = deploy_all(client, account.given | CHANGES, "updated")
    after = Account(client, account.given | CHANGES, stacks)

    assert set(statuses.values()) == {"UPDATE_COMPLETE"}
    assert {
        name
        for stack, outputs in stacks.items()
        for name, value in outputs.items()
        if before.stacks[stack][name] != value
    } == {"Namespace", "PrefectMigrationArn", "TaskDefinitionArn"}
    assert client("s3").get_object(Bucket=bucket, Key="a")["Body"].read() == b"picture"
    assert client("dynamodb").get_item(TableName=table, Key=key)["Item"] == key
    assert retention_days(after)[after.output("FlowsLogGroup")] == 90
    assert bridge_service(after)["taskDefinition"] == after.output("TaskDefinitionArn")
    assert bridge_container(after)["image"] == "clipflow:2"
    assert {each["Namespace"] for each in alarms(after)} == {"clipflow-two", "AWS/SQS"}
    assert len(alarms(after)) == 11


def test_stack_outputs_cover_the_work_pool_settings(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPFLOW_IMAGE", "clipflow:1")
    cloudformation = account.client("cloudformation")
    for stack in ("data", "cluster", "roles"):
        for variable, value in described(
            cloudformation, f"clipflow-{stack}", "Description"
        ).items():
            monkeypatch.setenv(variable, value)
    settings = PoolSettings()
    assert settings.task_role_arn == account.output("TaskRoleArn")
    assert settings.auth_secret_arn == SECRET
    assert settings.log_group == account.output("FlowsLogGroup")
    assert settings.network == {
        "subnets": account.given["Subnets"].split(","),
        "assignPublicIp": "DISABLED",
        "securityGroups": [account.output("SecurityGroups")],
    }


def test_the_bridge_runs_as_a_service(account: Account) -> None:
    service = bridge_service(account)
    assert (service["desiredCount"], service["runningCount"]) == (1, 1)
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {
        "enable": True,
        "rollback": True,
    }
    found = bridge_container(account)
    assert found["command"] == ["python", "-m", "deployments.bridge"]
    assert {each["name"]: each["value"] for each in found["environment"]} == {
        "AWS_REGION": "us-east-1",
        "BUCKET_NAME": account.output("BucketName"),
        "CLIPFLOW_BRIDGE_ALIVE_FILE": "/tmp/clipflow-bridge.alive",
        "CLIPFLOW_QUEUE_NAME": account.output("QueueName"),
        "CLIPFLOW_WARM_MACHINES": "1-4",
        "CLIPFLOW_WARM_RUNS": "4",
        "PREFECT_API_URL": "https://prefect.example/api",
        "TABLE_NAME": account.output("TableName"),
    }
    assert found["logConfiguration"]["options"]["awslogs-group"] == account.output("BridgeLogGroup")


def test_warm_machines_run_as_a_service_with_the_role_of_clips(account: Account) -> None:
    ecs = account.client("ecs")
    (service,) = ecs.describe_services(
        cluster=account.output("ClusterName"), services=[account.output("WarmService")]
    )["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    found = definition["taskDefinition"]
    assert found["taskRoleArn"] == account.output("TaskRoleArn")
    (container,) = found["containerDefinitions"]
    assert container["command"] == ["python", "-m", "deployments.warm"]
    assert container["logConfiguration"]["options"]["awslogs-group"] == account.output(
        "FlowsLogGroup"
    )


def test_secrets_are_passed_to_the_bridge_by_arn() -> None:
    """Reads the template, because the local ECS does not return secrets."""
    (definition,) = resources("bridge", "AWS::ECS::TaskDefinition").values()
    found, _ = definition["ContainerDefinitions"]
    assert [chosen for _, chosen, _ in found["Secrets"]] == [
        {"Name": "PREFECT_API_KEY", "ValueFrom": "PrefectApiKeySecretArn"},
        {"Name": "PREFECT_API_AUTH_STRING", "ValueFrom": "PrefectAuthSecretArn"},
    ]


def test_log_groups_have_a_retention_period_and_metric_filters(account: Account) -> None:
    groups = {account.output("FlowsLogGroup"), account.output("BridgeLogGroup")}
    assert {retention_days(account)[group] for group in groups} == {30}
    for group in groups:
        filters = account.client("logs").describe_metric_filters(logGroupName=group)
        measured = [each["metricTransformations"][0] for each in filters["metricFilters"]]
        assert {each["metricNamespace"] for each in measured} == {"clipflow"}


def test_every_alarm_is_on_the_dashboard_and_notifies_the_topic(account: Account) -> None:
    topic, found = account.output("AlarmTopicArn"), alarms(account)
    assert len(found) == 11
    assert all(each["AlarmActions"] == each["OKActions"] == [topic] for each in found)
    dashboard = account.client("cloudwatch").get_dashboard(
        DashboardName=account.output("DashboardName")
    )
    (first, *_) = json.loads(dashboard["DashboardBody"])["widgets"]
    assert set(first["properties"]["alarms"]) == {each["AlarmArn"] for each in found}


def test_without_an_email_address_no_topic_is_created(account: Account) -> None:
    known = {name: value for outputs in account.stacks.values() for name, value in outputs.items()}
    _, outputs = deploy(account.client("cloudformation"), "alarms", known, "quiet")
    assert "AlarmTopicArn" not in outputs
    quiet = Account(account.client, {}, {"alarms": outputs})
    assert [each["AlarmActions"] for each in alarms(quiet)] == [[]] * 11


def retention_days(account: Account) -> dict[str, int]:
    """The retention of each log group in days."""
    groups = account.client("logs").describe_log_groups()["logGroups"]
    return {group["logGroupName"]: group["retentionInDays"] for group in groups}


def bridge_service(account: Account) -> dict[str, Any]:
    """The description of the bridge's ECS service."""
    (service,) = account.client("ecs").describe_services(
        cluster=account.output("ClusterName"), services=[account.output("ServiceName")]
    )["services"]
    return dict(service)


def bridge_container(account: Account) -> dict[str, Any]:
    """The container definition of the bridge."""
    answer = account.client("ecs").describe_task_definition(
        taskDefinition=account.output("TaskDefinitionArn")
    )
    (found,) = answer["taskDefinition"]["containerDefinitions"]
    return dict(found)


def alarms(account: Account) -> list[dict[str, Any]]:
    """The alarms of the stack that created the dashboard."""
    prefix = account.output("DashboardName") + "-"
    found = account.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)
    return list(found["MetricAlarms"])


def test_the_repository_scans_images_and_deletes_old_ones(account: Account) -> None:
    body = (ROOT / "infra" / "images" / "repository.yaml").read_text()
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(StackName="clipflow-repository", TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="clipflow-repository", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
    )
    ecr = account.client("ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=["clipflow"])["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["imageTagMutability"] == "IMMUTABLE"
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName="clipflow")["lifecyclePolicyText"])
    counts = {rule["selection"]["tagStatus"]: rule["selection"] for rule in policy["rules"]}
    assert counts["untagged"]["countNumber"] == 7
    assert (counts["any"]["countType"], counts["any"]["countNumber"]) == ("imageCountMoreThan", 20)
