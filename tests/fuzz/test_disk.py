"""Disk space: work that needs too much is refused, and folders are removed even after a kill."""

import errno
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clipflow.domain.errors import DiskFullError
from clipflow.machine import work_folder

HOLDS_A_FOLDER = """
import sys, time
from pathlib import Path
from clipflow.machine import work_folder
with work_folder(Path(sys.argv[1]), 0) as folder:
    (folder / "window.nut").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def test_a_folder_is_removed_after_the_work_and_after_an_error(root: Path) -> None:
    with work_folder(root, 0) as folder:
        (folder / "a").write_text("a")
    assert list(root.iterdir()) == []
    with pytest.raises(ZeroDivisionError), work_folder(root, 0):
        raise ZeroDivisionError
    assert list(root.iterdir()) == []


def test_work_that_needs_more_space_than_the_disk_has_does_not_begin(root: Path) -> None:
    with pytest.raises(DiskFullError, match="CLIPFLOW_SCRATCH"), work_folder(root, 1 << 60):
        pytest.fail("it began")
    assert list(root.iterdir()) == []


def test_a_full_disk_raises_disk_full_error(root: Path) -> None:
    errors = (OSError(errno.ENOSPC, "No space left on device"), DiskFullError("cut: it is full."))
    for error in errors:
        expected = rf"is full\. Free some space in {re.escape(str(root))}, or set CLIPFLOW_SCRATCH"
        with pytest.raises(DiskFullError, match=expected), work_folder(root, 0):
            raise error


def test_folders_of_other_work_may_disappear_while_its_space_is_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = Path.lstat
    with work_folder(root, 1000) as other:
        for name in ("a", "b"):
            (other / name).mkdir()
            (other / name / "file").touch()

        def lstat_when_the_other_is_gone(path: Path) -> object:
            if path.name == "file":
                shutil.rmtree(other / ("b" if path.parent.name == "a" else "a"))
            return lstat(path)

        monkeypatch.setattr(Path, "lstat", lstat_when_the_other_is_gone)
        with work_folder(root, 0) as folder:
            assert folder.is_dir() and len(list(other.iterdir())) == 1


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_folders_of_killed_processes_are_removed_and_those_of_running_ones_stay(root: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS_A_FOLDER, str(root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        killed, living = (Path(read_line(process)) for process in processes)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert (killed / "window.nut").exists()
        theirs = root / "not-ours"
        theirs.mkdir()
        with work_folder(root, 0) as ours:
            assert sorted(root.iterdir()) == sorted([living, ours, theirs])
            # Folders of this process are in use as well.
            with work_folder(root, 0):
                assert ours.exists()
        assert (living / "window.nut").exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_link_with_a_work_folders_name_is_not_followed(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    root.mkdir()
    (root / "clipflow-work-link").symlink_to(precious)
    with work_folder(root, 0):
        assert (precious / "file").exists()


def test_work_waits_for_the_space_that_other_work_has_reserved(root: Path) -> None:
    root.mkdir()
    free = shutil.disk_usage(root).free
    order = []

    def second() -> None:
        with work_folder(root, free * 2 // 3):
            order.append("second begins")

    with work_folder(root, free * 2 // 3) as folder:
        # The file is small, so that the space is available once the first work has ended.
        with (folder / "window.nut").open("wb") as file:
            file.truncate(1)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        order.append("first ends")
    thread.join(30)
    assert order == ["first ends", "second begins"]
