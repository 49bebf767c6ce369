"""Fixtures: the programs of a machine without a supervisor, and tenants that use it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.tenants import Tenants, tiny_source
from tests.faults.unsupervised import UnsupervisedMachine, unsupervised_machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnsupervisedMachine]:
    with unsupervised_machine(tmp_path_factory.mktemp("machine") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def tenants(machine: UnsupervisedMachine) -> Iterator[Tenants]:
    with closing(Tenants(machine.stack)) as clients:
        yield clients


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_source(tmp_path_factory.mktemp("source") / "main.mp4")
