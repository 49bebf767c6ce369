"""A model's files are looked for in packages, the hub's cache and the hub, and checked."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clipflow.domain.errors import NotInstalledError
from clipflow.speech import weights
from clipflow.speech.weights import find_weights

PARTS = (b"the first half, ", b"the second")


class Loaded:
    """Stands in for a model: reads the files of its folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.files = {path.name: path.read_bytes() for path in self.folder.iterdir()}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that carries a model's one file in two parts."""
    folder = tmp_path / "weights_of_base"
    information = tmp_path / "weights_of_base-1.0.dist-info"
    folder.mkdir()
    information.mkdir()
    names = [f"model.bin.part{number}" for number in (1, 2)]
    for name, content in zip(names, PARTS, strict=True):
        (folder / name).write_bytes(content)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: weights-of-base\n")
    (information / "RECORD").write_text("".join(f"weights_of_base/{name},,\n" for name in names))
    published = hashlib.sha256(b"".join(PARTS)).hexdigest()
    places = [("weights-of-base", name) for name in names]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(weights, "_PACKAGED", {"base": {"model.bin": (published, places)}})
    return folder


@pytest.mark.usefixtures("package")
def test_a_file_in_parts_is_joined_and_removed_after_loading() -> None:
    loaded = find_weights("base").load(Loaded)
    assert loaded.files == {"model.bin": b"".join(PARTS)}
    assert not loaded.folder.exists()


def test_a_file_that_is_not_the_published_one_is_not_loaded(package: Path) -> None:
    changed = package / "model.bin.part2"
    changed.write_bytes(b"something else")
    with pytest.raises(NotInstalledError, match=r"model\.bin.* is not the published file") as error:
        find_weights("base").load(Loaded)
    assert str(package) in str(error.value)
    assert "requirements-weights.lock" in error.value.remedy


def test_an_incomplete_model_package_is_skipped(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (package / "model.bin.part2").unlink()
    cached = tmp_path / "cached"
    cached.mkdir()
    monkeypatch.setattr(weights, "_from_hub", lambda _name: str(cached))
    assert find_weights("base").load(Loaded).folder == cached


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"own")
    loaded = find_weights(str(tmp_path)).load(Loaded)
    assert loaded.files == {"model.bin": b"own"}
    assert tmp_path.exists()


def test_offline_the_error_for_a_missing_model_names_the_command_to_run(tmp_path: Path) -> None:
    video = Path(__file__).parents[3] / "demo" / "sample" / "main.mp4"
    environment = os.environ | {
        "CLIPFLOW_WHISPER_MODEL": "small",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "cache"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.command", "transcribe", video, "--out", tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    lines = [line for line in ended.stderr.splitlines() if "small" in line]
    assert len(lines) == 1
    assert "make weights" in lines[0]
    assert "Traceback" not in ended.stderr
