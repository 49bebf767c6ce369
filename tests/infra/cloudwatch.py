"""An emulation of the CloudWatch features that `infra/` uses: metric filters, metric math, alarms.

The local AWS evaluates neither metric filters of JSON log lines nor metric math.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tests.infra.templates import resources

# A metric: its namespace, its name and the values of its dimensions.
Metric = tuple[str, str, tuple[str, ...]]
# The values of each metric, with their times in seconds.
Points = Mapping[Metric, list[tuple[float, float]]]
# `!Ref Namespace` in the templates, which is the namespace of clipflow's own metrics.
OWN_NAMESPACE = "Namespace"
FILTERS = {
    **resources("metrics", "AWS::Logs::MetricFilter"),
    **resources("warm", "AWS::Logs::MetricFilter"),
}
ALARMS = {
    **resources("alarms", "AWS::CloudWatch::Alarm"),
    **resources("warm", "AWS::CloudWatch::Alarm"),
}
# The default values of the parameters that are thresholds of alarms.
THRESHOLDS = {
    "FailurePercent": 20,
    "OldestEventSeconds": 300,
    "InProgressSeconds": 7200,
    "LateSeconds": 1800,
}


def points_of_lines(group: str, lines: Iterable[tuple[float, Mapping[str, Any]]]) -> Points:
    """The points that the metric filters of a log group create from log lines and their times."""
    points: dict[Metric, list[tuple[float, float]]] = defaultdict(list)
    for at, line in lines:
        for properties in FILTERS.values():
            (made,) = properties["MetricTransformations"]
            metric = (OWN_NAMESPACE, made["MetricName"], ())
            if properties["LogGroupName"] != group:
                continue
            if _matches(properties["FilterPattern"], line):
                value = made["MetricValue"]
                read = line.get(value[2:]) if value.startswith("$.") else value
                points[metric].append((at, float(str(read))))
            elif "DefaultValue" in made:
                points[metric].append((at, float(made["DefaultValue"])))
    return points


def _matches(pattern: str, line: Mapping[str, Any]) -> bool:
    terms = re.findall(r'\$\.(\w+) = "(\w+)"', pattern)
    assert terms, pattern
    return all(line.get(field) == value for field, value in terms)


def is_in_alarm(name: str, points: Points, now: float) -> bool:
    """Whether the alarm is in the state ALARM at `now`."""
    alarm = ALARMS[name]
    metrics = alarm.get("Metrics") or [
        {
            "Id": "m",
            "MetricStat": {
                "Metric": {
                    "Namespace": alarm["Namespace"],
                    "MetricName": alarm["MetricName"],
                    "Dimensions": alarm.get("Dimensions", []),
                },
                "Period": alarm["Period"],
                "Stat": alarm["Statistic"],
            },
        }
    ]
    (period,) = {int(each["MetricStat"]["Period"]) for each in metrics if "MetricStat" in each}
    threshold = THRESHOLDS.get(alarm["Threshold"], alarm["Threshold"])
    is_breaching = []
    for number in range(int(alarm["EvaluationPeriods"])):
        end = now - number * period
        value = _value(metrics, points, end - period, end)
        if value is None:
            is_breaching.append(alarm["TreatMissingData"] == "breaching")
        elif alarm["ComparisonOperator"] == "GreaterThanThreshold":
            is_breaching.append(value > float(threshold))
        elif alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold":
            is_breaching.append(value >= float(threshold))
        else:
            assert alarm["ComparisonOperator"] == "LessThanThreshold"
            is_breaching.append(value < float(threshold))
    return all(is_breaching)


def _value(metrics: list[dict[str, Any]], points: Points, start: float, end: float) -> float | None:
    """The value of the alarm's metric or expression in one period; None without data."""
    by_id = {each["Id"]: each for each in metrics}
    (watched,) = [each for each in metrics if each.get("ReturnData") != "false"]

    def of(id: str) -> float | None:
        each = by_id[id]
        if "Expression" in each:
            read = set(re.findall(r"[a-z_]+", each["Expression"])) & by_id.keys()
            names = {name: of(name) for name in read}
            return evaluate(each["Expression"], names)
        metric = each["MetricStat"]["Metric"]
        dimensions = tuple(it["Value"] for it in metric.get("Dimensions", []))
        there = points.get((metric["Namespace"], metric["MetricName"], dimensions), [])
        return _statistic(each["MetricStat"]["Stat"], [v for at, v in there if start < at <= end])

    return of(watched["Id"])


def _statistic(name: str, values: list[float]) -> float | None:
    if name == "SampleCount":
        return float(len(values)) if values else None
    functions: dict[str, Any] = {"Sum": sum, "Maximum": max, "Minimum": min}
    return float(functions[name](values)) if values else None


class _Conditional(ast.NodeTransformer):
    """Replaces `IF(a, b, c)` by `b if a else c`, so that only one of b and c is evaluated."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "IF":
            test, body, orelse = node.args
            return ast.IfExp(test=test, body=body, orelse=orelse)
        return node


def evaluate(expression: str, names: Mapping[str, float | None]) -> float | None:
    """The value of an expression of metric math; None if a metric in it has no data."""
    tree = ast.fix_missing_locations(_Conditional().visit(ast.parse(expression, mode="eval")))

    def fill(value: float | None, default: float) -> float:
        return default if value is None else value

    def largest(values: list[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    try:
        found = eval(
            compile(tree, "metric math", "eval"), {"FILL": fill, "MAX": largest}, {**names}
        )
    except TypeError:
        return None
    return None if found is None else float(found)
