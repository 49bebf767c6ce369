"""Imports run one way: deployments → flows → tasks → clipflow, and inside it towards domain."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each room may import of the others, itself aside.
ALLOWED = {
    "deployments": {"flows", "tasks", "clipflow"},
    "flows": {"tasks", "clipflow"},
    "tasks": {"clipflow"},
    "clipflow": set(),
    "clipflow.jobs": {
        "clipflow.telemetry",
        "clipflow.speech",
        "clipflow.highlights",
        "clipflow.reframe",
        "clipflow.captions",
        "clipflow.subtitles",
        "clipflow.media",
        "clipflow.storage",
        "clipflow.domain",
    },
    "clipflow.results": {
        "clipflow.jobs",
        "clipflow.subtitles",
        "clipflow.speech",
        "clipflow.media",
        "clipflow.storage",
        "clipflow.domain",
    },
    "clipflow.speech": {"clipflow.media", "clipflow.telemetry", "clipflow.domain"},
    "clipflow.reframe": {"clipflow.domain"},
    "clipflow.highlights": {"clipflow.domain"},
    "clipflow.captions": {"clipflow.domain"},
    "clipflow.subtitles": {"clipflow.domain"},
    "clipflow.media": {"clipflow.telemetry", "clipflow.domain"},
    "clipflow.storage": {"clipflow.telemetry", "clipflow.domain"},
    "clipflow.telemetry": {"clipflow.domain"},
    "clipflow.domain": set(),
}
# Facts that every room of clipflow may know.
COMMON = {"clipflow", "clipflow.machine", "clipflow.settings"}


def modules() -> list[Path]:
    rooms = [room for room in ALLOWED if "." not in room]
    return [path for room in rooms for path in ROOT.glob(f"{room}/**/*.py")]


def room_of(module: str) -> str:
    parts = module.split(".")
    inner = ".".join(parts[:2])
    return inner if inner in ALLOWED else parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ours = {name for name in imported(path) - COMMON if name.split(".")[0] in ALLOWED}
    inside = room.startswith("clipflow.")
    rooms = {room_of(name) if inside else name.split(".")[0] for name in ours}
    assert rooms - {room} <= ALLOWED[room]


@pytest.mark.parametrize("path", list(ROOT.glob("clipflow/**/*.py")), ids=lambda path: path.name)
def test_the_craft_knows_nothing_of_prefect(path: Path) -> None:
    assert not {name for name in imported(path) if name.split(".")[0].startswith("prefect")}
