"""The local AWS with additions for the templates of `infra/`.

    python -m tests.deployments.emulated_aws

MiniStack 1.5 does not support metric math or saved queries of Logs Insights. With the additions, a
stack can contain both: alarms with metric math are created but never go off, and saved queries are
created but cannot be read.
"""

from typing import Any

from ministack.services.cloudformation import provisioners

from deployments.local_stack.local_aws import main

_record = provisioners._cw_metric_alarm_record


def alarm_record(name: str, properties: dict[str, Any]) -> Any:
    """The record of an alarm. Metric math is replaced by the first metric that it reads."""
    if metrics := properties.get("Metrics"):
        read = next(each["MetricStat"] for each in metrics if "MetricStat" in each)
        named = {key: read["Metric"][key] for key in ("Namespace", "MetricName")}
        period = {"Statistic": read["Stat"], "Period": read["Period"]}
        properties = {**properties, "Metrics": None, **named, **period}
    return _record(name, properties)


def create_query(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, Any]:
    return f"{stack}-{logical_id}", {}


def update_query(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, **_: Any
) -> tuple[str, Any]:
    return physical_id, {}


def delete_query(physical_id: str, properties: dict[str, Any]) -> None:
    """Do nothing, because creating a query stores nothing."""


if __name__ == "__main__":
    provisioners._cw_metric_alarm_record = alarm_record
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {
        "create": create_query,
        "update": update_query,
        "delete": delete_query,
    }
    main()
