"""The Dockerfiles: they install what a flow needs and nothing else, and the installation works.

No container engine is needed: the install step is run in a clean virtual environment.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipflow.storage.objects import ObjectStore
from clipflow.storage.records import RecordStore
from deployments.work_pools.pools import COMMAND
from flows.generate_clip import generate_clip
from tests.flows.conftest import Episode
from tests.made_media import make_source
from tests.programs import ROOT, PrefectServer

FOLDER = ROOT / "infra" / "images"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
VENV = "/opt/clipflow/venv"
BIN = Path(sys.executable).parent


def instructions(path: Path) -> list[str]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def copied(path: Path) -> list[str]:
    """The files that a Dockerfile copies from this repository."""
    taken = [line.split()[1:-1] for line in instructions(path) if line.startswith("COPY ")]
    return [source for sources in taken if "--from" not in sources[0] for source in sources]


def pins(lock: str) -> set[str]:
    """The pinned distributions of a lock file, as `name==version`."""
    found = re.findall(r"^([a-z0-9._-]+==[^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    assert found
    return set(found)


def named(found: set[str]) -> set[str]:
    return {pin.partition("==")[0] for pin in found}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path: Path) -> None:
    ended = subprocess.run(
        [BIN / "hadolint", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_names_no_url_and_no_fixed_base_image(path: Path) -> None:
    assert "://" not in path.read_text().replace("[a-z]*://", "")
    bases = [line.split()[1] for line in instructions(path) if line.startswith("FROM ")]
    stages = re.findall(r"^FROM \S+ AS (\S+)", path.read_text(), re.MULTILINE)
    assert all(base.startswith("${") or base in stages for base in bases)


def test_a_container_is_not_root_and_has_a_health_check() -> None:
    last = instructions(FOLDER / "clipflow.Dockerfile")
    users = [line for line in last if line.startswith("USER ")]
    assert users[-1] == "USER 10001"
    assert any(line.startswith("HEALTHCHECK ") for line in last)
    # The other image is based on it and changes neither.
    other = instructions(FOLDER / "whisperx.Dockerfile")
    assert not [line for line in other if line.startswith(("USER ", "HEALTHCHECK "))]


def test_the_build_context_has_only_files_that_are_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert let_in == {source for path in DOCKERFILES for source in copied(path)}
    assert all((ROOT / source).exists() for source in let_in)


def test_the_images_have_tested_versions_without_test_dependencies() -> None:
    slim = pins("requirements-image.lock")
    assert slim <= pins("requirements.lock")
    assert not {"ministack", "pytest", "mypy", "cfn-lint"} & named(slim)
    with_models = pins("requirements-image-whisperx.lock")
    assert with_models <= pins("requirements-whisperx.lock")
    assert named(slim) | {"whisperx", "torch"} <= named(with_models)
    for lock in ("requirements-image.lock", "requirements-image-whisperx.lock"):
        assert "://" not in (ROOT / lock).read_text()


def test_images_and_make_install_with_the_same_uv() -> None:
    made = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made
    for path in DOCKERFILES:
        assert f"ARG UV_VERSION={made[1]}" in instructions(path)


ENGINE = """#!/bin/sh
echo "$@" >>calls
[ "$1" != image ] || cat digest
"""


def test_images_are_built_on_the_digest_that_the_first_build_records(tmp_path: Path) -> None:
    """A program in the place of the container engine notes what it is asked for."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "infra" / "images").mkdir(parents=True)
    (tmp_path / "engine").write_text(ENGINE)
    (tmp_path / "engine").chmod(0o755)
    lock, calls = tmp_path / "infra" / "images" / "base.lock", tmp_path / "calls"

    def make(target: str, digest: str, returns: int = 0) -> list[str]:
        (tmp_path / "digest").write_text(digest)
        calls.unlink(missing_ok=True)
        ended = subprocess.run(
            ["make", target, "ENGINE=./engine"],
            cwd=tmp_path,
            env={name: it for name, it in os.environ.items() if not name.startswith("MAKE")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode != 0) == (returns != 0), ended.stderr
        return calls.read_text().splitlines()

    make("image", "<no value>\n", returns=2)
    assert not lock.exists()
    pull, inspect, build = make("image", "python@sha256:1\n")
    assert pull.endswith("linux/amd64 python:3.11-slim-bookworm")
    assert inspect.startswith("image inspect ")
    assert " --build-arg PYTHON_IMAGE=python@sha256:1 " in build
    for target in ("image", "image-whisperx"):
        (build,) = make(target, "python@sha256:2\n")
        assert " --build-arg PYTHON_IMAGE=python@sha256:1 " in build
    make("base", "python@sha256:2\n")
    assert lock.read_text() == "python@sha256:2\n"


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in the simulated container; its working folder is `CODE`."""
    root = tmp_path_factory.mktemp("container")
    dockerfile = FOLDER / "clipflow.Dockerfile"
    (step,) = [line for line in instructions(dockerfile) if "uv pip sync" in line]
    command = step[step.index("UV_DEFAULT_INDEX") :].replace(VENV, str(root / "venv"))
    # Use the cache of this machine and compile nothing, unlike in an image, to be fast.
    for slow in ("--no-cache ", "--compile-bytecode "):
        command = command.replace(slow, "")
    command = command.replace('"${PACKAGE_INDEX}"', "$UV_DEFAULT_INDEX")
    removed = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if name not in removed}
    for line in (f"uv venv --python {sys.executable} {root / 'venv'}", command):
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**clean, "PATH": f"{BIN}:{clean['PATH']}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    for source in copied(dockerfile):
        copy(ROOT / source, root / "code" / source)
    return {
        **clean,
        "PATH": f"{root / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(root),
        "PREFECT_HOME": str(root / "prefect"),
        "PYTHONPATH": str(root / "code"),
        "CODE": str(root / "code"),
    }


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def run(container: dict[str, str], command: str, **more: str) -> str:
    """Run a command in the simulated container, and return its output; it must succeed."""
    ended = subprocess.run(
        command.split(),
        env={**container, **more},
        cwd=container["CODE"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.slow
def test_the_installed_image_passes_its_health_check(container: dict[str, str]) -> None:
    dockerfile = FOLDER / "clipflow.Dockerfile"
    (check,) = [line for line in instructions(dockerfile) if line.startswith("HEALTHCHECK ")]
    command = " ".join(re.findall(r'"([^"]+)"', check.partition("CMD")[2]))
    assert re.search(r"\d+ flows, \S*ffmpeg\S*, \d+ fonts", run(container, command))
    assert "run-shorts" in run(container, "python -m deployments.operate --help")


@pytest.mark.slow
def test_the_installed_image_makes_a_clip(
    container: dict[str, str],
    objects: ObjectStore,
    records: RecordStore,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> None:
    episode = Episode("episode-in-a-container", records)
    episode.put_main(make_source(tmp_path / "main.mp4", seconds=4, sound=("-c:a", "aac")))
    episode.detect({"startTime": "00:00:01", "endTime": "00:00:02"})
    keys = episode.keys
    parameters = {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
    }
    with (
        temporary_settings({PREFECT_API_URL: prefect_server.url}),
        get_client(sync_client=True) as client,
    ):
        # As deployed by prefect.yaml: the code is installed, so there is no pull step.
        deployment = client.create_deployment(
            client.create_flow(generate_clip),
            "in-a-container",
            entrypoint="flows.generate_clip.generate_clip",
            pull_steps=[],
        )
        made = client.create_flow_run_from_deployment(deployment, parameters=parameters)
        # As started by the ECS worker. Storage and server are set in this process's environment.
        variables = {
            name: os.environ[name] for name in os.environ if name.startswith(("AWS_", "BUCK"))
        }
        variables |= {"TABLE_NAME": os.environ["TABLE_NAME"], "PREFECT_API_URL": prefect_server.url}
        variables |= {"PREFECT__FLOW_RUN_ID": str(made.id)}
        output = run(container, COMMAND, **variables)
        state = client.read_flow_run(made.id).state
    assert state and state.is_completed(), output
    assert episode.record["status"] == "Generation Complete"
    assert objects.head(keys.clip)
