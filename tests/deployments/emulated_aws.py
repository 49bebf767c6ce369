"""The local AWS with additions for the templates of `infra/`.

    python -m tests.deployments.emulated_aws

MiniStack 1.5 does not support metric math, saved queries of Logs Insights, or the scaling of a
service. With the additions, a stack can contain them: alarms with metric math are created but never
go off, saved queries are created but cannot be read, and a service keeps its number of tasks, which
may be a parameter. A migration of Prefect's database ends at once, successfully.
"""

import json
from typing import Any

from ministack.services import ecs
from ministack.services.cloudformation import provisioners

from deployments.local_stack.local_aws import main

_record = provisioners._cw_metric_alarm_record
_create_service = provisioners._ecs_service_create
_update_service = provisioners._ecs_service_update
_run_task = ecs._run_task


def alarm_record(name: str, properties: dict[str, Any]) -> Any:
    """The record of an alarm. Metric math is replaced by the first metric that it reads."""
    if metrics := properties.get("Metrics"):
        read = next(each["MetricStat"] for each in metrics if "MetricStat" in each)
        named = {key: read["Metric"][key] for key in ("Namespace", "MetricName")}
        period = {"Statistic": read["Stat"], "Period": read["Period"]}
        properties = {**properties, "Metrics": None, **named, **period}
    return _record(name, properties)


def create_nothing(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, Any]:
    return f"{stack}-{logical_id}", {}


def update_nothing(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, **_: Any
) -> tuple[str, Any]:
    return physical_id, {}


def delete_nothing(physical_id: str, properties: dict[str, Any]) -> None:
    """Do nothing, because nothing was created."""


def create_service(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
    return _create_service(logical_id, numbered(properties), stack)


def update_service(id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
    return _update_service(id, numbered(old), numbered(new), stack)


def numbered(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties of a service, with its numbers of tasks as numbers."""
    providers = [
        {**one, "Base": int(one.get("Base", 0))}
        for one in properties.get("CapacityProviderStrategy", [])
    ]
    count = int(properties.get("DesiredCount", 1))
    return {**properties, "DesiredCount": count, "CapacityProviderStrategy": providers}


def run_task(request: dict[str, Any]) -> Any:
    status, headers, body = _run_task(request)
    if "-migration" in request["taskDefinition"]:
        for task in json.loads(body)["tasks"]:
            ecs._stop_task({"cluster": request["cluster"], "task": task["taskArn"]})
    return status, headers, body


if __name__ == "__main__":
    provisioners._RESOURCE_HANDLERS["AWS::ECS::Service"] |= {
        "create": create_service,
        "update": update_service,
    }
    ecs._ACTION_MAP["RunTask"] = run_task
    provisioners._cw_metric_alarm_record = alarm_record
    for kind in (
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::Logs::QueryDefinition",
    ):
        provisioners._RESOURCE_HANDLERS[kind] = {
            "create": create_nothing,
            "update": update_nothing,
            "delete": delete_nothing,
        }
    main()
