"""What `make demo` does to files that are already in `out/`. CI runs the demo itself."""

from pathlib import Path

import pytest

from clipflow.domain.keys import ClipKeys
from deployments import demo
from deployments.command.files import OutputManifest
from deployments.local_stack import StackError


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the demo's results, on a machine where the stack does not start."""

    def refuse() -> None:
        raise StackError("the stack does not start")

    monkeypatch.setattr(demo, "OUT", tmp_path)
    monkeypatch.setattr(demo, "running_stack", refuse)
    return tmp_path


def test_a_persons_own_file_is_kept(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = out / "one-idea.mp4"
    own.write_text("the only copy")
    assert demo.main() == 1
    assert own.read_text() == "the only copy"
    assert "was not made by clipflow. Move it." in " ".join(capsys.readouterr().out.split())


def test_the_files_of_an_earlier_demo_are_removed(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["one-idea.mp4", "best-moments.html", "two-shot-1.mp4", "two-shot.html", "talk.mp4"]
    for name in names:
        (out / name).write_text("a result")
        OutputManifest(out, ClipKeys("demo", "an earlier episode", "clip")).add(name)
    assert demo.main() == 1
    assert "the stack does not start" in capsys.readouterr().out
    assert [path.name for path in out.glob("[!.]*")] == ["talk.mp4"]
