"""Writes the findings as a table, as `bench.json` and, if matplotlib is installed, as plots."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Finding


def table(findings: Sequence[Finding]) -> Table:
    """A table with a row for each finding, which shows whether the target is met."""
    shown = Table("measured", "value", "target", "", "of what")
    for finding in findings:
        target = "" if finding.target is None else f"≤ {finding.target:g}"
        shown.add_row(finding.name, f"{finding.ratio:.3g}", target, _mark(finding), finding.detail)
    return shown


def _mark(finding: Finding) -> str:
    if finding.target is None:
        return ""
    return "[red]missed[/]" if finding.missed else "[green]met[/]"


def as_json(findings: Sequence[Finding]) -> str:
    """The JSON list of `{name, ratio, target, detail}`; `target` is null if there is none."""
    rows = []
    for finding in findings:
        row = asdict(finding)
        if not row.pop("holds"):
            row["detail"] += " (at a lower quality)"
        rows.append(row)
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def write(findings: Sequence[Finding], folder: Path, console: Console) -> None:
    """Print the table, and write `bench.json` and the plots into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print(table(findings))
    (folder / "bench.json").write_text(as_json(findings), encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        console.print("No plots: matplotlib is not installed.")
        return
    for topic, rows in groupby(findings, key=lambda finding: finding.name.partition("/")[0]):
        plot(list(rows), folder / f"bench-{topic}.png")


def plot(findings: Sequence[Finding], path: Path) -> None:
    """Plot the findings of a topic as bars, with a line at each target."""
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    figure = Figure(figsize=(8, 1.2 + 0.5 * len(findings)), layout="constrained")
    axes = figure.subplots()
    places = range(len(findings))
    colours = ["tab:red" if f.missed else "tab:green" if f.target else "tab:gray" for f in findings]
    values = [finding.ratio for finding in findings]
    bars = axes.barh(places, values, color=colours)
    axes.bar_label(bars, fmt="%.3g", padding=3)
    for place, finding in enumerate(findings):
        if finding.target is not None:
            axes.vlines(finding.target, place - 0.45, place + 0.45, color="black")
    axes.set_yticks(places, [finding.name for finding in findings])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    if max(values) > 50 * min(values):
        axes.set_xscale("log")
    axes.set_title("black line: target; green bar: target met")
    figure.savefig(path, dpi=120)
