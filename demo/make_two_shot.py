"""Make the demo's second sample: the same talk, in which both speakers are seen side by side.

    python -m demo.make_two_shot

Reads `conversation.toml`, and `main.mp4` and `conversation.json` of `sample/`, and writes
`two-shot.mp4` there: the sound of `main.mp4`, copied, and a picture in which the mouth of each
speaker opens with it. During a line with `together = true` both mouths open. The output is
committed. Run this after `make_sample.py`.

`portrait.jpg` is NASA's portrait of Eileen Collins (https://flic.kr/p/r9qvLn), which is in the
public domain. It is taken from scikit-image (`skimage.data.astronaut`). The other speaker is the
same portrait, mirrored and in other colours.
"""

import json
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from math import sin
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from clipflow.domain.timecode import parse_timecode
from clipflow.media.ffmpeg import executable

FOLDER = Path(__file__).parent
SAMPLE = FOLDER / "sample"
TWO_SHOT = SAMPLE / "two-shot.mp4"

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

RATE, SIZE = 25, (1280, 720)
LEFT_TO_RIGHT = ("host", "guest")
# The number of steps to which the opening of a mouth is rounded.
_STEPS = 12
# In pixels of the portrait: the line under the upper teeth, where the jaw parts, half of the
# mouth's width and its middle, the chin, and how far a mouth opens.
_TEETH, _HALF, _MIDDLE, _CHIN, _WIDEST = 147.0, 21.0, 221.0, 178.0, 9.0
# The inside of a mouth, in blue, green and red.
_INSIDE = np.array([38, 30, 62], np.float32)
# The swaying of a head, across and down: its frequency in Hz and its amplitude in pixels.
_SWAY = ((0.23, 5.0), (0.31, 3.0))
_SOUND_RATE = 16_000


@dataclass(frozen=True)
class Line:
    """Speech at `start ≤ t < end` seconds by `speaker`, or by both if `together`."""

    speaker: str
    start: float
    end: float
    together: bool

    def is_spoken_by(self, speaker: str) -> bool:
        return self.together or speaker == self.speaker


def lines() -> list[Line]:
    """The lines of the talk with their speakers and times."""
    script = tomllib.loads((FOLDER / "conversation.toml").read_text(encoding="utf-8"))["line"]
    timed = json.loads((SAMPLE / "conversation.json").read_text(encoding="utf-8"))
    return [
        Line(
            line["speaker"],
            float(parse_timecode(line["startTime"])),
            float(parse_timecode(line["endTime"])),
            entry.get("together", False),
        )
        for line, entry in zip(timed, script, strict=True)
    ]


def loudness(path: Path) -> Values:
    """The loudness of the sound in each frame, from 0 to 1."""
    command = ["-v", "error", "-i", str(path), "-ac", "1", "-ar", str(_SOUND_RATE)]
    raw = subprocess.run(
        [executable(), *command, "-f", "s16le", "-"], stdout=subprocess.PIPE, check=True
    ).stdout
    each = _SOUND_RATE // RATE
    samples = np.frombuffer(raw, "<i2").astype(np.float32)
    frames = samples[: len(samples) // each * each].reshape(-1, each)
    level = np.sqrt((frames**2).mean(axis=1))
    return np.asarray(np.clip(level / np.percentile(level, 90), 0, 1), np.float32)


@cache
def guest_portrait() -> Pixels:
    found = cv2.imread(str(FOLDER / "portrait.jpg"))
    assert found is not None
    return np.asarray(found, np.uint8)


@cache
def host_portrait() -> Pixels:
    """The mirrored portrait in a blue suit, with darker hair."""
    hue, saturation, value = cv2.split(cv2.cvtColor(guest_portrait(), cv2.COLOR_BGR2HSV))
    is_orange = ((hue < 18) | (hue > 172)) & (saturation > 90)
    is_suit = is_orange & (np.arange(hue.shape[0])[:, None] > 165)
    hue = np.where(is_suit, (hue.astype(int) + 105) % 180, hue).astype(np.uint8)
    value = (255 * (value / 255.0) ** 1.35).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2BGR)
    return np.asarray(coloured[:, ::-1], np.uint8)


@cache
def opened(speaker: str, step: int) -> Pixels:
    """The speaker's portrait with the mouth opened by `step`, from 0 (closed) to `_STEPS`."""
    portrait, opening = _PORTRAITS[speaker](), step / _STEPS
    middle = middle_of(speaker)
    height, width = portrait.shape[:2]
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    beside = np.clip(np.abs(across - middle) / (1.9 * _HALF), 0, 1)
    # The whole jaw moves down, the skin beside it a little, and nothing below the neck.
    reach = np.cos(beside * np.pi / 2) ** 2 * np.clip((_CHIN + 14 - down) / 14, 0, 1)
    drop = opening * _WIDEST * reach
    below = down > _TEETH
    source = np.where(below, np.maximum(down - drop, _TEETH), down)
    moved = cv2.remap(portrait, across, source, cv2.INTER_LINEAR)
    lip = np.clip(1 - (np.abs(across - middle) / _HALF) ** 2, 0, 1)
    gap = below & (down <= _TEETH + opening * _WIDEST * lip)
    soft = cv2.GaussianBlur(gap.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.asarray(moved * (1 - soft) + _INSIDE * soft, np.uint8)


_PORTRAITS = {"host": host_portrait, "guest": guest_portrait}


def middle_of(speaker: str) -> float:
    """The middle of the face in the portrait, in pixels from the left."""
    return 511 - _MIDDLE if speaker == "host" else _MIDDLE


def half(speaker: str, opening: float, time: float) -> Pixels:
    """Half of the picture: the swaying speaker, with the mouth opened by `opening`, from 0 to 1."""
    portrait, middle = opened(speaker, round(_STEPS * opening)), middle_of(speaker)
    phase = 2.0 * (speaker == "guest")
    across, down = (reach * sin(6.283 * waves * time + phase) for waves, reach in _SWAY)
    width, height = SIZE[0] // 2, SIZE[1]
    scale = 1.04 * height / portrait.shape[0]
    matrix = np.array(
        [
            [scale, 0, width / 2 - scale * middle + across],
            [0, scale, (height - scale * portrait.shape[0]) / 2 + down],
        ]
    )
    shown = cv2.warpAffine(portrait, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shown, np.uint8)


def main() -> None:
    talk, level = lines(), loudness(SAMPLE / "main.mp4")
    with tempfile.TemporaryDirectory() as folder:
        silent = Path(folder, "silent.mp4")
        with av.open(str(silent), "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            stream.options = {"preset": "slow", "crf": "32", "g": "50"}
            for number, loud in enumerate(level):
                time = number / RATE
                line = next((one for one in talk if one.start <= time < one.end), None)
                halves = [
                    half(who, float(loud) * bool(line and line.is_spoken_by(who)), time)
                    for who in LEFT_TO_RIGHT
                ]
                picture = av.VideoFrame.from_ndarray(np.hstack(halves), "bgr24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        subprocess.run(
            [executable(), "-v", "error", "-y", "-i", str(silent), "-i", str(SAMPLE / "main.mp4")]
            + ["-map", "0:v", "-map", "1:a", "-c", "copy", "-fflags", "+bitexact"]
            + ["-movflags", "+faststart", str(TWO_SHOT)],
            check=True,
        )


if __name__ == "__main__":
    main()
