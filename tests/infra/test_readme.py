"""`infra/README.md` says what there is, and names settings that Prefect has."""

import re

import pytest
from prefect.settings import Settings

from tests.infra.templates import FOLDER, ORDER

README = (FOLDER / "README.md").read_text()


def test_every_template_is_told_of_in_the_order_they_are_deployed_in() -> None:
    assert re.findall(r"^\| `(\w+)\.yaml`", README, re.MULTILINE) == list(ORDER)


def test_the_servers_settings_are_prefects(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict(re.findall(r"^(PREFECT_SERVER_\w+)=(\S+)", README, re.MULTILINE))
    assert len(told) == 8
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    understood = Settings().to_environment_variables(exclude_unset=True)
    assert {name: understood.get(name, "").lower() for name in told} == told
