"""The colour of a clip's frames, decoded by the clip's own colour tags, and of a poster."""

import subprocess
from base64 import b64decode
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from clipflow.media.fetching import fetch_window
from clipflow.media.output_format import OutputFormat, common_format, to_sdr
from clipflow.media.probe import Colour, probe_source
from clipflow.media.smart_cut import smart_cut
from clipflow.media.source import LocalSource
from clipflow.media.window import Span
from clipflow.results.publish import poster
from tests.made_media import FFMPEG, a_machine

BRICK = (0xC0, 0x20, 0x40)
X264_RGB = ("-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0")


def flat(path: Path, size: str, pixels: str, codec: tuple[str, ...]) -> Path:
    """A video of one second in the colour `BRICK`."""
    picture = f"color=c=0x{bytes(BRICK).hex()}:s={size}:r=25:d=1,format={pixels}"
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    subprocess.run([*command, *codec, str(path)], check=True)
    return path


def clip_of(
    path: Path, change: Callable[[OutputFormat], OutputFormat] = lambda target: target
) -> av.VideoFrame:
    """The first frame of a clip of the source's first half second."""
    source = LocalSource(path)
    probe, span = probe_source(source), Span(Fraction(0), Fraction(1, 2))
    window = fetch_window(source, probe, span, path.with_suffix(".nut"))
    made = path.with_suffix(".made.mp4")
    smart_cut(window, probe, change(common_format([probe])), made, a_machine())
    with av.open(str(made)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("size", ["320x180", "1280x720"])
@pytest.mark.parametrize(
    ("name", "pixels", "codec"),
    [
        pytest.param("rgb.mp4", "rgb24", X264_RGB, id="H.264"),
        pytest.param("png.mov", "rgb24", ("-c:v", "png"), id="PNG"),
        pytest.param("ffv1.mkv", "bgr0", ("-c:v", "ffv1"), id="FFV1, which tags nothing"),
    ],
)
def test_a_source_in_rgb_keeps_its_colour(
    name: str, pixels: str, codec: tuple[str, ...], size: str, tmp_path: Path
) -> None:
    frame = clip_of(flat(tmp_path / name, size, pixels, codec))
    assert (frame.format.name, int(frame.colorspace), int(frame.color_range)) == ("yuv420p", 1, 1)
    shown = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()[20, 20]
    assert np.abs(shown.astype(int) - BRICK).max() <= 3


def test_yuv_that_is_tagged_as_rgb_is_treated_as_untagged(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "colormatrix=GBR")
    frame = clip_of(flat(tmp_path / "wrong.mp4", "320x180", "yuv420p", codec))
    assert int(frame.colorspace) == 2
    shown = frame.reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()[20, 20]
    assert np.abs(shown.astype(int) - BRICK).max() <= 3


def test_hdr_in_rgb_is_cut_with_the_matrix_of_its_primaries(tmp_path: Path) -> None:
    tags = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084")
    path = flat(tmp_path / "hdr.mp4", "320x180", "rgb24", (*tags, *X264_RGB))
    assert common_format([probe_source(LocalSource(path))]).colour == Colour(9, 16, 9)
    frame = clip_of(path)
    assert int(frame.colorspace) == 9
    # Red's luma is 0.2627 of BT.2020, 0.2126 of BT.709.
    red, green, blue = BRICK
    luma = 16 + 219 / 255 * (0.2627 * red + 0.678 * green + 0.0593 * blue)
    assert frame.to_ndarray()[20, 20] == pytest.approx(luma, abs=2)


VP9 = ("-c:v", "libvpx-vp9", "-profile:v", "2", "-deadline", "realtime", "-cpu-used", "8")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "high10")


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("webm", VP9), ("mkv", VP9), ("mp4", VP9), ("mkv", H264), ("mp4", H264), ("mov", H264)],
)
def test_hdr_that_only_the_container_declares_becomes_one_sdr(
    suffix: str, codec: tuple[str, ...], tmp_path: Path
) -> None:
    # A saturated green outside of BT.709, which versions of ffmpeg would convert differently.
    green = ["-f", "lavfi", "-i", "color=c=0x10c010:s=320x180:r=25:d=1,format=gbrp"]
    tags = ["color_primaries=bt2020", "color_trc=smpte2084", "colorspace=bt2020nc", "range=tv"]
    # An encoder of H.264 would also tag its packets.
    written = tags if codec == VP9 else ["color_primaries=2", "color_trc=2", "colorspace=2"]
    filters = (
        "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,"
        f"setparams={':'.join(written)}"
    )
    make, encoded = [FFMPEG, "-v", "error", "-y"], tmp_path / f"encoded.{suffix}"
    subprocess.run([*make, *green, "-vf", filters, *codec, str(encoded)], check=True)
    path = tmp_path / f"hdr.{suffix}"
    declared = [part for tag in tags[:3] for part in f"-{tag}".split("=")]
    subprocess.run([*make, "-i", str(encoded), "-c", "copy", *declared, str(path)], check=True)
    frame = clip_of(path, to_sdr)
    made = (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace))
    assert made == (1, 1, 1)
    planes = frame.to_ndarray()
    assert planes[90, 160] == pytest.approx(173, abs=2)


@pytest.mark.parametrize(
    ("matrix", "spread"), [("bt709", "tv"), ("bt709", "pc"), ("smpte170m", "tv")]
)
def test_a_poster_has_the_colour_of_its_video(matrix: str, spread: str, tmp_path: Path) -> None:
    tags = f"colormatrix={matrix}:range={spread}"
    scale = f"scale=out_color_matrix={matrix}:out_range={spread},format=yuv420p"
    codec = ("-vf", scale, "-c:v", "libx264", "-qp", "2", "-x264-params", tags)
    path = flat(tmp_path / "video.mp4", "1280x720", "rgb24", codec)
    assert furthest(poster(LocalSource(path), 320, a_machine())) <= 4


def test_a_poster_of_hdr_is_as_bright_as_a_clip_in_sdr(tmp_path: Path) -> None:
    scale = "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    tags = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:range=tv"
    codec = ("-vf", scale, "-c:v", "libx264", "-qp", "2", "-x264-params", tags)
    path = flat(tmp_path / "hdr.mp4", "640x360", "rgb24", codec)
    shown = clip_of(path, to_sdr).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    picture = poster(LocalSource(path), 320, a_machine())
    assert furthest(picture, shown[20, 20].astype(int)) <= 4


def furthest(picture: str, wanted: Sequence[int] = BRICK) -> int:
    """How far a channel of a JPEG, in a data: URI, is from `wanted`, of 255."""
    content = np.frombuffer(b64decode(picture.partition(",")[2]), np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return int(np.abs(pixels[40, 40].astype(int) - wanted).max())
