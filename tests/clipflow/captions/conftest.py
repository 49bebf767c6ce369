"""Fixtures that run caption tests without the machine's fonts, and with both ffmpegs."""

from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

PROGRAMS = {"system": "", "bundled": imageio_ffmpeg.get_ffmpeg_exe()}


@pytest.fixture(autouse=True)
def _without_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "fonts.conf"
    empty.write_text('<?xml version="1.0"?>\n<fontconfig></fontconfig>\n')
    monkeypatch.setenv("FONTCONFIG_FILE", str(empty))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.fixture(params=PROGRAMS)
def _each_ffmpeg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the ffmpeg that is found first, and then that of imageio-ffmpeg."""
    if PROGRAMS[request.param]:
        monkeypatch.setenv("CLIPFLOW_FFMPEG", PROGRAMS[request.param])
    yield
    monkeypatch.undo()
