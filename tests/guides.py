"""Parsing of the README and the guides: commands, links, paths and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.programs import ROOT

GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*GUIDES, *sorted((ROOT / "docs" / "adr").glob("*.md")), ROOT / "CHANGELOG.md"]
# The folders that contain the files named in the guides.
FOLDERS = (
    *("benchmarks", "clipflow", "demo", "deployments", "docs", "flows", "infra", "tasks", "tests"),
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s+)# .*$")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"""(?:\]\(|src=")([^)"\s]+)""")
_HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)
_NO_FILE = re.compile(r"[*…{}<>()$= ]")


@dataclass(frozen=True)
class Command:
    """One command line of a guide, with continuation lines joined and its comment removed."""

    guide: str
    line: str


def blocks(guide: Path, language: str) -> list[str]:
    """The guide's fenced blocks of `language`."""
    return [text for name, text in _BLOCK.findall(guide.read_text()) if name == language]


def commands() -> list[Command]:
    """Every line of every `sh` block of every guide."""
    return [
        Command(guide.name, line)
        for guide in GUIDES
        for block in blocks(guide, "sh")
        for line in _lines(block)
    ]


def _lines(block: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", "", _quoted_in_one_line(block)).splitlines():
        if bare := _COMMENT.sub("", line).strip():
            yield bare


def _quoted_in_one_line(block: str) -> str:
    return re.sub(r"'[^']*'", lambda quoted: quoted[0].replace("\n", " "), block)


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text())


def paths(page: Path) -> set[str]:
    """Paths of this repository's files that the page names in backticks."""
    named = {name.partition("::")[0] for name in _CODE.findall(prose(page))}
    return {
        name for name in named if name.split("/")[0] in FOLDERS and "/" in name and _is_whole(name)
    }


def _is_whole(name: str) -> bool:
    return not _NO_FILE.search(name)


def links(page: Path) -> list[str]:
    """Link targets of the page, without those on other sites."""
    found = _LINK.findall(prose(page))
    return [link for link in found if not re.match(r"https?:|mailto:", link)]


def anchors(page: Path) -> set[str]:
    """Anchors of the page's headings, as GitHub generates them."""
    headings = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
