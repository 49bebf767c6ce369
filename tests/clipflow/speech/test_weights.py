"""A model's files are looked for in packages, the hub's cache and the hub, and checked."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the names of a model's files, and the content that is looked at."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"own")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "vocabulary.txt").write_text("a\n<|notimestamps|>\n")
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
    package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "model.bin.part2").unlink()
    monkeypatch.setattr(weights, "_from_hub", lambda _name: str(folder))
    assert find_weights("base").load(Loaded).folder == folder


def test_a_folder_is_used_as_it_is(folder: Path) -> None:
    loaded = find_weights(str(folder)).load(Loaded)
    assert loaded.folder == folder
    assert loaded.files["model.bin"] == b"own"


@pytest.mark.usefixtures("package")
def test_a_size_is_not_a_folder_of_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.with_name("base"))
    monkeypatch.chdir(folder.parent)
    assert find_weights("base").load(Loaded).files == {"model.bin": b"".join(PARTS)}
    assert find_weights("./base").load(Loaded).files["model.bin"] == b"own"


@pytest.mark.parametrize("name", ["/no/such/model", "./no/model", "~/no-such-model", "a/b/c"])
def test_a_folder_that_does_not_exist_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(NotInstalledError, match=f"There is no folder {name}"):
        find_weights(name)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2])


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("model.bin", Path.unlink, "it has no model.bin"),
        ("config.json", Path.unlink, "it has no config.json"),
        ("config.json", lambda path: path.write_text("{"), "Expecting property name"),
        ("vocabulary.txt", Path.unlink, "it has no vocabulary"),
        ("vocabulary.txt", _truncate, "its vocabulary is incomplete"),
    ],
)
def test_a_damaged_folder_is_named_with_what_is_wrong(
    folder: Path, file: str, damage: Callable[[Path], object], reason: str
) -> None:
    damage(folder / file)
    with pytest.raises(NotInstalledError, match=reason) as error:
        find_weights(str(folder)).load(Loaded)
    assert str(folder) in str(error.value)
    assert "CLIPFLOW_WHISPER_MODEL" in error.value.remedy


@pytest.mark.parametrize(
    ("tokenizer", "reason"), [(True, "EOF while parsing"), (False, "it has no tokenizer")]
)
def test_a_tokenizer_that_cannot_be_read_is_named(
    folder: Path, *, tokenizer: bool, reason: str
) -> None:
    def kind(_: str) -> None:
        raise Exception("EOF while parsing")  # noqa: TRY002  # as the package tokenizers does

    if not tokenizer:
        (folder / "tokenizer.json").unlink()
    with pytest.raises(NotInstalledError, match=reason):
        find_weights(str(folder)).load(kind)


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
