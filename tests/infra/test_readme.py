"""`infra/README.md` describes every template, and names only settings that exist in Prefect."""

import re

import pytest
from prefect.settings import Settings

from tests.infra.templates import FOLDER, ORDER

README = (FOLDER / "README.md").read_text()


def test_every_template_is_described_in_the_order_of_deployment() -> None:
    assert re.findall(r"^\| `([\w-]+)\.yaml`", README, re.MULTILINE) == list(ORDER)


def test_server_settings_in_the_readme_exist_in_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    named = dict(re.findall(r"^(PREFECT_SERVER_\w+)=(\S+)", README, re.MULTILINE))
    assert len(named) == 8
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    understood = Settings().to_environment_variables(exclude_unset=True)
    assert {name: understood.get(name, "").lower() for name in named} == named
