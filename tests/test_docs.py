"""The guides are correct: names and links exist, and generated content is up to date."""

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from clipflow.domain.caption_styles import STYLE_NAMES
from clipflow.domain.clips import ClipStatus
from clipflow.domain.errors import FailureCode
from clipflow.domain.layouts import Layout
from clipflow.domain.shorts import FailedState
from clipflow.settings import Transcriber
from deployments.command.output import ExitCode
from docs import make_schemas, make_settings, make_states
from docs.pictures import make_pictures
from tests import guides
from tests.guides import PAGES
from tests.programs import ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_target_exists(page: Path) -> None:
    for link in guides.links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not anchor or anchor in guides.anchors(file), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_named_on_a_page_exists(page: Path) -> None:
    assert [name for name in guides.paths(page) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_named_on_a_page_is_a_setting(page: Path) -> None:
    text = make_settings.PAGE.read_text()
    others = "".join(path.read_text() for path in ROOT.glob("tests/faults/*.py"))
    for name in re.findall(r"`(CLIPFLOW_[A-Z_]+[A-Z])[`=]", page.read_text()):
        prefix = name.removesuffix("_MEMORY").removesuffix("_STORAGE_GIB").removesuffix("_LIMIT")
        assert f"`{name}`" in text or f"`{prefix}_CPU`" in text or f'"{name}"' in others, name


def test_the_settings_page_is_up_to_date() -> None:
    remedy = "python -m docs.make_settings"
    assert make_settings.PAGE.read_text() == make_settings.page(), remedy


def test_the_diagrams_of_states_are_up_to_date() -> None:
    assert make_states.PAGE.read_text() == make_states.page(), "python -m docs.make_states"


def test_every_status_and_every_state_is_in_the_diagrams() -> None:
    text = make_states.page()
    ends = re.findall(r"(\w+) --> \[\*\]", text)
    assert set(ends) == {"Completed", "Failed", "AlreadyMade", "AlreadyInProgress", *FailedState}
    drawn = {state for a, b, _ in make_states.record_edges() for state in (a, b)}
    assert drawn == {*ClipStatus, "[*]"}


def test_strings_continued_on_the_next_line_do_not_join_two_words() -> None:
    folders = ("clipflow", "tasks", "flows", "deployments")
    joined = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for found in re.finditer(r'.*(?<!\\)[\w,.:]"\n\s+f?"\w.*', path.read_text())
    ]
    assert joined == []


def test_the_schemas_are_up_to_date() -> None:
    root = make_schemas.ROOT
    files = [file for folder in make_schemas.FOLDERS for file in (root / folder).iterdir()]
    existing = {str(file.relative_to(root)): file.read_text() for file in files}
    assert existing == make_schemas.schemas(), "python -m docs.make_schemas"


def test_every_picture_is_generated_used_and_small() -> None:
    files = [path for path in make_pictures.FOLDER.glob("*.*") if path.suffix != ".py"]
    existing = {path.name: path.stat().st_size for path in files}
    assert set(existing) == set(make_pictures.PICTURES)
    assert max(existing.values()) < 60_000 and sum(existing.values()) < 500_000
    shown = "".join(page.read_text() for page in guides.GUIDES)
    assert [name for name in existing if f"pictures/{name}" not in shown] == []


@pytest.mark.slow
def test_a_picture_matches_the_current_output(tmp_path: Path) -> None:
    name = "layout-blur.jpg"
    make_pictures.make(tmp_path / name)
    now, then = (cv2.imread(str(folder / name)) for folder in (tmp_path, make_pictures.FOLDER))
    assert now is not None and then is not None and now.shape == then.shape == (480, 270, 3)
    # The encoders of different ffmpeg versions differ by less than is visible.
    remedy = "python -m docs.pictures.make_pictures"
    assert np.abs(now.astype(int) - then.astype(int)).mean() < 3, remedy


def test_the_readme_has_at_most_90_lines() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 90


def test_the_map_names_every_package() -> None:
    text = (ROOT / "docs" / "map.md").read_text()
    packages = [path.parent for path in ROOT.glob("*/__init__.py")]
    inner = [
        path.parent
        for package in ("clipflow", "deployments")
        for path in ROOT.glob(f"{package}/*/__init__.py")
    ]
    packages += [*inner, *(path.parent for path in ROOT.glob("tests/*/__init__.py"))]
    assert [package.name for package in packages if f"{package.name}/" not in text] == []


def test_names_listed_in_the_map_are_defined_in_their_modules() -> None:
    text = (ROOT / "docs" / "map.md").read_text()
    named = re.findall(r"`(\w+)` in `([\w/]+\.py)`", text)
    assert len(named) >= 4
    missing = [
        f"{name} in {file}"
        for name, file in named
        if not re.search(rf"^(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_failure_code_is_listed_in_its_guide() -> None:
    for guide, codes in (("clips.md", FailureCode), ("shorts.md", FailedState)):
        text = (ROOT / "docs" / guide).read_text()
        assert [code for code in codes if f"\n| `{code}` |" not in text] == []


def test_every_alarm_and_metric_is_in_the_operating_guide() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    for template, kind in (
        ("alarms", "AWS::CloudWatch::Alarm"),
        ("metrics", "AWS::Logs::MetricFilter"),
    ):
        found = yaml.load((ROOT / f"infra/{template}.yaml").read_text(), make_settings.NamesOnly)
        for name, resource in found["Resources"].items():
            if resource["Type"] == kind:
                metrics = resource["Properties"].get("MetricTransformations")
                assert f"`{metrics[0]['MetricName'] if metrics else name}`" in text


CONTRACT = ROOT / "docs" / "contract.md"


def test_each_part_of_the_contract_names_tests_that_exist() -> None:
    text = CONTRACT.read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
    assert len(named) > 20
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    without = [part.splitlines()[0] for part in parts if not re.search(r"`tests/\S+::", part)]
    assert without == ["Not promised"]


def test_the_contract_lists_every_status_code_state_and_exit_code() -> None:
    text = CONTRACT.read_text()
    names = [*FailureCode, *FailedState, *ClipStatus]
    assert [name for name in names if f"`{name}`" not in text] == []
    codes = ", ".join(str(int(code)) for code in list(ExitCode)[:-1])
    assert f"exit codes {codes} and {int(ExitCode.INTERRUPTED)}" in text


@pytest.mark.parametrize(
    ("page", "row", "choices"),
    [
        ("shorts", "`layout`", Layout),
        ("shorts", "`caption_style`", STYLE_NAMES),
        ("command", "`--layout`", Layout),
        ("command", "`--captions`", STYLE_NAMES),
    ],
)
def test_a_guide_lists_every_layout_and_caption_style(
    page: str, row: str, choices: Iterable[str]
) -> None:
    lines = (ROOT / f"docs/{page}.md").read_text().splitlines()
    # The name, the default and the choices; an alias is in brackets.
    listed = next(line for line in lines if line.startswith(f"| {row} | `")).split("|")[3]
    names = re.findall(r"`([\w-]+)`", re.sub(r"\(.*?\)", "", listed))
    assert sorted(names) == sorted(choices)


@pytest.mark.parametrize(
    ("start", "choices"),
    [
        ("`layout` is ", Layout),
        ("**`caption_style`** is ", STYLE_NAMES),
        ("`CLIPFLOW_TRANSCRIBER`, which is ", Transcriber),
    ],
)
def test_the_contract_lists_every_layout_caption_style_and_transcriber(
    start: str, choices: Iterable[str]
) -> None:
    listed = re.split(r"or the key|;|, and `", CONTRACT.read_text().partition(start)[2])[0]
    assert sorted(re.findall(r"`([\w-]+)`", listed)) == sorted(choices)


def test_the_map_names_every_module() -> None:
    folders = ("clipflow", "tasks", "flows", "deployments")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("[!_]*.py")]
    text = (ROOT / "docs" / "map.md").read_text()
    assert len(modules) > 100
    unnamed = [m for m in modules if not re.search(rf"(?<![a-z_]){m.stem}\.py", text)]
    assert [str(path.relative_to(ROOT)) for path in unnamed] == []


def test_a_change_is_one_sentence_on_one_line() -> None:
    for line in (ROOT / "CHANGELOG.md").read_text().splitlines():
        assert re.fullmatch(r"(#+ .*|- .*[.]|[A-Z].*[.]|)", line), line
