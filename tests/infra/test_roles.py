"""The permissions of the roles of `infra/roles.yaml`, simulated by the IAM of the local AWS."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deployments.stored_aws import StoredAws
from tests.infra.templates import deploy, resources

pytestmark = pytest.mark.slow
HERE = "us-east-1:000000000000"
MEDIA = "arn:aws:s3:::media"
TABLE = f"arn:aws:dynamodb:{HERE}:table/records"
EVENTS = f"arn:aws:sqs:{HERE}:events"
DEAD = f"arn:aws:sqs:{HERE}:dead"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:prefect-abcdef"
REPOSITORY = f"arn:aws:ecr:{HERE}:repository/clipflow"
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/a.b"
SHORTS = f"{MEDIA}/klippers_warehouse/u/v"
KEY = f"arn:aws:kms:{HERE}:key/1"
LOGS = f"arn:aws:logs:{HERE}:log-group"
GIVEN = {
    "BucketName": "media",
    "TableArn": TABLE,
    "QueueArn": EVENTS,
    "DeadLetterQueueArn": DEAD,
    "ClusterName": "studio",
    "FlowsLogGroup": "flows",
    "BridgeLogGroup": "bridge",
    "PrefectApiKeySecretArn": SECRET,
    "RepositoryArns": REPOSITORY,
}


@dataclass(frozen=True)
class Roles:
    """The roles of a deployed stack. A role is named by the output that has its ARN."""

    iam: Any
    outputs: dict[str, str]

    def allow(self, role: str, action: str, resource: str) -> bool:
        """Whether IAM allows the role to perform the action on the resource."""
        answer = self.iam.simulate_principal_policy(
            PolicySourceArn=self.outputs[role], ActionNames=[action], ResourceArns=[resource]
        )
        return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredAws]:
    aws = StoredAws(tmp_path_factory.mktemp("aws"))
    aws.start()
    yield aws
    aws.stop()


@pytest.fixture(scope="module")
def roles(aws: StoredAws) -> Roles:
    return Roles(aws.client("iam"), deploy(aws.client("cloudformation"), "roles", GIVEN)[1])


@pytest.fixture(scope="module")
def custom_roles(aws: StoredAws) -> Roles:
    """The roles of a stack in which every parameter is set."""
    given = {
        "KeyPrefix": "studio/{tenantId}/",
        "Sources": "recordings/*",
        "ShortsBucketName": "warehouse",
        "ShortsPrefix": "videos",
        "ModelArns": f"{MODEL},{MODEL}-2",
        "ModelKeysSecretArn": f"{SECRET}-2",
        "MediaKeyArn": KEY,
    }
    return Roles(
        aws.client("iam"), deploy(aws.client("cloudformation"), "roles", GIVEN | given, "wider")[1]
    )


ALLOWED = [
    ("TaskRoleArn", "s3:ListBucket", MEDIA),
    ("TaskRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("TaskRoleArn", "s3:GetObject", f"{MEDIA}/tenant/episode/tracks/host/0001.ts"),
    ("TaskRoleArn", "s3:PutObject", f"{MEDIA}/episode/clips/c-1/clip.mp4"),
    ("TaskRoleArn", "s3:PutObject", f"{MEDIA}/episode/clips/c-1/segments/0.mp4"),
    ("TaskRoleArn", "s3:PutObjectTagging", f"{MEDIA}/episode/clips/c-1/segments/0.mp4"),
    ("TaskRoleArn", "s3:GetObject", f"{MEDIA}/episode/clips/c-1/segments/0.mp4"),
    ("TaskRoleArn", "s3:GetObject", f"{MEDIA}/episode/clips/c-1/index.html"),
    ("TaskRoleArn", "s3:PutObject", f"{MEDIA}/episode/clips/c-1/index.html"),
    (
        "TaskRoleArn",
        "s3:AbortMultipartUpload",
        f"{MEDIA}/klippers_warehouse/u/v/transcript/levels.bin",
    ),
    ("TaskRoleArn", "s3:PutObject", f"{MEDIA}/klippers_warehouse/u/v/original.srt"),
    ("TaskRoleArn", "dynamodb:UpdateItem", TABLE),
    ("TaskRoleArn", "dynamodb:GetItem", TABLE),
    ("TaskRoleArn", "dynamodb:Query", TABLE),
    ("MediaRoleArn", "s3:ListBucket", MEDIA),
    ("MediaRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("MediaRoleArn", "s3:PutObject", f"{MEDIA}/episode/clips/c-1/segments/0.mp4"),
    ("MediaRoleArn", "s3:PutObjectTagging", f"{MEDIA}/episode/clips/c-1/segments/0.mp4"),
    ("MediaRoleArn", "s3:GetObject", f"{SHORTS}/original.mp4"),
    (
        "MediaRoleArn",
        "s3:PutObject",
        f"{SHORTS}/videos-cropped-stacked/segment_1_cropped_stacked.mp4",
    ),
    ("MediaRoleArn", "s3:PutObject", f"{SHORTS}/reframe/segment_1.json"),
    ("MediaRoleArn", "s3:PutObject", f"{SHORTS}/transcript/window_1.words.json"),
    ("PrepareRoleArn", "s3:PutObject", f"{SHORTS}/original.srt"),
    ("PrepareRoleArn", "s3:AbortMultipartUpload", f"{SHORTS}/transcript/levels.bin"),
    ("MarksRoleArn", "dynamodb:UpdateItem", TABLE),
    ("BridgeRoleArn", "sqs:ReceiveMessage", EVENTS),
    ("BridgeRoleArn", "sqs:ChangeMessageVisibility", EVENTS),
    ("BridgeRoleArn", "sqs:DeleteMessage", EVENTS),
    ("BridgeRoleArn", "sqs:SendMessage", DEAD),
    ("BridgeRoleArn", "dynamodb:Query", f"{TABLE}/index/by-status"),
    ("BridgeRoleArn", "dynamodb:Scan", f"{TABLE}/index/by-outbox"),
    ("BridgeRoleArn", "dynamodb:UpdateItem", TABLE),
    ("ExecutionRoleArn", "logs:PutLogEvents", f"{LOGS}:flows:log-stream:media/1"),
    ("ExecutionRoleArn", "logs:CreateLogStream", f"{LOGS}:bridge:log-stream:bridge/1"),
    ("ExecutionRoleArn", "secretsmanager:GetSecretValue", SECRET),
    ("ExecutionRoleArn", "ecr:BatchGetImage", REPOSITORY),
]
DENIED = [
    ("TaskRoleArn", "s3:PutObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("TaskRoleArn", "s3:GetObject", f"{MEDIA}/somebody/else.mp4"),
    ("TaskRoleArn", "s3:DeleteObject", f"{MEDIA}/episode/clips/c-1/clip.mp4"),
    ("TaskRoleArn", "s3:PutObject", "arn:aws:s3:::another/episode/clips/c-1/clip.mp4"),
    ("TaskRoleArn", "dynamodb:Scan", TABLE),
    ("TaskRoleArn", "dynamodb:DeleteItem", TABLE),
    ("TaskRoleArn", "dynamodb:GetItem", f"{TABLE}-of-somebody"),
    ("TaskRoleArn", "sqs:ReceiveMessage", EVENTS),
    ("TaskRoleArn", "secretsmanager:GetSecretValue", SECRET),
    ("TaskRoleArn", "bedrock:InvokeModel", MODEL),
    ("MediaRoleArn", "s3:PutObject", f"{MEDIA}/episode/clips/c-1/clip.mp4"),
    ("MediaRoleArn", "s3:PutObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("MediaRoleArn", "s3:PutObject", f"{SHORTS}/original.mp4"),
    ("MediaRoleArn", "s3:PutObject", f"{SHORTS}/shorts_config.json"),
    ("MediaRoleArn", "s3:PutObject", f"{SHORTS}/index.html"),
    ("MediaRoleArn", "dynamodb:UpdateItem", TABLE),
    ("MediaRoleArn", "dynamodb:Query", TABLE),
    ("MediaRoleArn", "events:PutEvents", f"arn:aws:events:{HERE}:event-bus/default"),
    ("PrepareRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("PrepareRoleArn", "dynamodb:UpdateItem", TABLE),
    ("PrepareRoleArn", "dynamodb:Query", TABLE),
    ("PrepareRoleArn", "bedrock:InvokeModel", MODEL),
    ("MarksRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("BridgeRoleArn", "sqs:PurgeQueue", EVENTS),
    ("BridgeRoleArn", "sqs:ReceiveMessage", DEAD),
    ("BridgeRoleArn", "dynamodb:Scan", TABLE),
    ("BridgeRoleArn", "s3:GetObject", f"{MEDIA}/episode/clips/c-1/clip.mp4"),
    ("ExecutionRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4"),
    ("ExecutionRoleArn", "logs:PutLogEvents", f"{LOGS}:others:log-stream:1"),
    ("ExecutionRoleArn", "secretsmanager:GetSecretValue", f"{SECRET}-2"),
    ("ExecutionRoleArn", "ecr:BatchGetImage", f"{REPOSITORY}-of-somebody"),
]


@pytest.mark.parametrize(("role", "action", "resource"), ALLOWED)
def test_a_role_may_do_its_work(roles: Roles, role: str, action: str, resource: str) -> None:
    assert roles.allow(role, action, resource)


@pytest.mark.parametrize(("role", "action", "resource"), DENIED)
def test_a_role_may_do_nothing_else(roles: Roles, role: str, action: str, resource: str) -> None:
    assert not roles.allow(role, action, resource)


@pytest.mark.parametrize("role", ["TaskRoleArn", "BridgeRoleArn"])
def test_events_are_sent_under_clipflows_own_source_only(roles: Roles, role: str) -> None:
    bus = f"arn:aws:events:{HERE}:event-bus/default"
    assert roles.allow(role, "events:PutEvents", bus)
    assert not roles.allow(role, "events:PutEvents", f"{bus}-2")
    # The local IAM does not evaluate conditions of requests, so the policy is read.
    name = roles.outputs[role].rpartition("/")[2]
    [policy] = roles.iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = roles.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    [sending] = [s for s in document["Statement"] if s["Action"] == "events:PutEvents"]
    assert sending["Condition"] == {"ForAllValues:StringEquals": {"events:source": "clipflow"}}


def test_a_key_prefix_with_the_tenant_limits_where_clips_are_written(
    custom_roles: Roles,
) -> None:
    clip = "episode/clips/c-1/clip.mp4"
    assert custom_roles.allow("TaskRoleArn", "s3:PutObject", f"{MEDIA}/studio/tenant/{clip}")
    assert not custom_roles.allow("TaskRoleArn", "s3:PutObject", f"{MEDIA}/another/tenant/{clip}")


def test_parameters_select_the_sources_the_warehouse_and_the_models(
    custom_roles: Roles,
) -> None:
    assert custom_roles.allow("TaskRoleArn", "s3:GetObject", f"{MEDIA}/recordings/a.mp4")
    assert not custom_roles.allow("TaskRoleArn", "s3:GetObject", f"{MEDIA}/episode/tracks/main.mp4")
    assert custom_roles.allow(
        "TaskRoleArn", "s3:PutObject", "arn:aws:s3:::warehouse/videos/u/v/a.mp4"
    )
    assert custom_roles.allow("TaskRoleArn", "s3:ListBucket", "arn:aws:s3:::warehouse")
    assert not custom_roles.allow("TaskRoleArn", "s3:PutObject", f"{MEDIA}/videos/u/v/a.mp4")
    assert custom_roles.allow("PrepareRoleArn", "bedrock:InvokeModel", f"{MODEL}-2")
    assert not custom_roles.allow("PrepareRoleArn", "bedrock:InvokeModel", f"{MODEL}-3")
    for role in ("TaskRoleArn", "MediaRoleArn", "MarksRoleArn"):
        assert not custom_roles.allow(role, "bedrock:InvokeModel", f"{MODEL}-2")
    assert custom_roles.allow("ExecutionRoleArn", "secretsmanager:GetSecretValue", f"{SECRET}-2")


@pytest.mark.parametrize("role", ["MediaRoleArn", "PrepareRoleArn"])
def test_machines_that_decode_media_read_only_the_owner_of_a_record(
    roles: Roles, role: str
) -> None:
    """Reads the policy, because the local IAM does not evaluate conditions of requests."""
    [reading] = [s for s in statements(roles, role) if "dynamodb" in str(s["Action"])]
    assert reading["Action"] == "dynamodb:GetItem"
    assert reading["Condition"] == {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "sk", "flowRunId"]},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    }


def statements(roles: Roles, role: str) -> list[dict[str, Any]]:
    """The statements of the inline policy of the role."""
    name = roles.outputs[role].rpartition("/")[2]
    [policy] = roles.iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = roles.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    return list(document["Statement"])


def test_a_key_of_the_media_bucket_is_used_only_through_s3() -> None:
    (policy,) = [
        each
        for name, each in resources("roles", "AWS::IAM::ManagedPolicy").items()
        if name == "UseTheMediaKey"
    ]
    assert policy["Roles"] == ["FlowRuns", "MediaRuns", "PrepareRuns"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Resource"] == "MediaKeyArn"
    assert statement["Condition"] == {
        "StringEquals": {"kms:ViaService": "s3.${AWS::Region}.amazonaws.com"}
    }


def test_a_worker_can_pass_only_the_roles_of_flow_runs(roles: Roles) -> None:
    """Reads the policy, because the local IAM does not evaluate iam:PassedToService."""
    limits = roles.outputs["WorkerLimitsArn"]
    version = roles.iam.get_policy(PolicyArn=limits)["Policy"]["DefaultVersionId"]
    found = roles.iam.get_policy_version(PolicyArn=limits, VersionId=version)["PolicyVersion"]
    (passing,) = [
        statement
        for statement in found["Document"]["Statement"]
        if any(action.startswith(("iam:", "*")) for action in listed(statement["Action"]))
    ]
    assert passing["Action"] == "iam:PassRole"
    names = ("Task", "Media", "Prepare", "Marks", "Execution")
    assert passing["Resource"] == [roles.outputs[f"{name}RoleArn"] for name in names]
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }


def listed(value: str | list[str]) -> list[str]:
    """A list of strings, from a policy element that is a string or a list of strings."""
    return [value] if isinstance(value, str) else value
