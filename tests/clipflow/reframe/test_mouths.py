"""Activity of mouths, measured by the packaged landmarks or by a user's ONNX model."""

from pathlib import Path

import pytest

from clipflow.domain.errors import NotInstalledError
from clipflow.domain.layouts import Aspect, Layout
from clipflow.reframe import mouths
from clipflow.reframe.analysis import Analysis, FaceSample
from clipflow.reframe.director import direct
from clipflow.reframe.faces import Face
from clipflow.reframe.mouths import MouthLandmarks, MouthModel, MouthMotion, mouth_activity
from tests.clipflow.reframe.test_speakers import face, words

_FLOAT = 1


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer, which is the format of ONNX files."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def declared(name: str, *sides: int | str) -> bytes:
    dimensions = b"".join(
        field(1, field(1, side) if isinstance(side, int) else field(2, side)) for side in sides
    )
    tensor = field(1, _FLOAT) + field(2, dimensions)
    return field(1, name) + field(2, field(1, tensor))


def brightness(height: int = 80) -> bytes:
    """An ONNX model that outputs the mean brightness of each face."""
    axes = field(1, "axes") + field(20, 7) + field(8, 1) + field(8, 2)
    kept = field(1, "keepdims") + field(20, 2) + field(3, 0)
    node = field(1, "faces") + field(2, "activity") + field(4, "ReduceMean")
    node += field(5, axes) + field(5, kept)
    graph = field(1, node) + field(2, "tiny")
    graph += field(11, declared("faces", "count", height, 64))
    graph += field(12, declared("activity", "count"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def with_brightness(detected: Face, bright: bool) -> Face:
    assert detected.aligned is not None
    aligned = detected.aligned.copy()
    # Only the model can tell which face speaks, by its brightness, because nothing moves.
    aligned[:] = 250 if bright else 20
    return Face(detected.x, detected.y, detected.size, detected.mouth, aligned)


def test_a_users_mouth_model_selects_the_speaker(tmp_path: Path) -> None:
    path = tmp_path / "mouth.onnx"
    path.write_bytes(brightness())
    samples = [
        FaceSample(
            n / 8,
            (with_brightness(face(480, 0, 1), n < 40), with_brightness(face(1440, 0, 2), n >= 40)),
        )
        for n in range(80)
    ]
    analysis = Analysis(1920, 1080, samples, [(0.0, 10.0)])
    plan = direct(analysis, Layout.AUTO, Aspect.TALL, words(10), MouthModel(path))
    [section] = plan.sections
    assert section.layout is Layout.CROP
    assert section.crops[0].at(2)[0] < 480 < section.crops[0].at(2)[0] + section.crops[0].width
    assert section.crops[0].at(8)[0] < 1440 < section.crops[0].at(8)[0] + section.crops[0].width


@pytest.mark.parametrize("content", [b"no model", b"", None])
def test_an_invalid_model_file_is_reported(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mouth.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotInstalledError, match="CLIPFLOW_MOUTH_MODEL") as refused:
        MouthModel(path)
    assert "(faces, 80, 64)" in refused.value.remedy


def test_a_mouth_model_with_another_input_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mouth.onnx"
    path.write_bytes(brightness(height=32))
    samples = [FaceSample(n / 8, (face(480, 0, 1), face(1440, 0, 2))) for n in range(24)]
    analysis = Analysis(1920, 1080, samples, [(0.0, 3.0)])
    with pytest.raises(NotInstalledError, match="cannot be used"):
        direct(analysis, Layout.AUTO, Aspect.TALL, words(3), MouthModel(path))


def test_landmarks_are_used_where_their_package_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(mouth_activity(None), MouthLandmarks)
    monkeypatch.setattr(mouths, "_MESH_PACKAGE", "no_such_package")
    mouths._packaged_mesh.cache_clear()
    try:
        assert isinstance(mouth_activity(None), MouthMotion)
    finally:
        mouths._packaged_mesh.cache_clear()


def test_another_file_in_place_of_the_landmarks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "other_landmarks" / mouths._MESH_FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the published model")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(mouths, "_MESH_PACKAGE", "other_landmarks")
    mouths._packaged_mesh.cache_clear()
    try:
        with pytest.raises(NotInstalledError, match="face_landmark") as refused:
            mouth_activity(None)
        assert "requirements-weights.lock" in refused.value.remedy
    finally:
        mouths._packaged_mesh.cache_clear()
