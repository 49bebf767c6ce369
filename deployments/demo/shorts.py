"""The shorts that `clipflow shorts` makes of the same talk."""

import os
import subprocess
import sys
from pathlib import Path

import av

from clipflow.media.loudness import TARGET, loudness
from deployments.demo.sample import OUT, SAMPLE, console
from deployments.local_stack import RunningStack

TALK = SAMPLE / "main.mp4"
COUNT, SECONDS = 3, 15
# Loudness units by which a short may miss the target.
_TOLERANCE = 1.0


def make_shorts(stack: RunningStack) -> bool:
    """Whether every short came out right."""
    files = [OUT / f"{TALK.stem}-{number}.mp4" for number in range(1, COUNT + 1)]
    for file in files:
        file.unlink(missing_ok=True)
    asked = ["shorts", str(TALK), "--count", str(COUNT), "--seconds", str(SECONDS)]
    console.print(f"$ clipflow {' '.join(asked)}", markup=False, soft_wrap=True)
    command = [sys.executable, "-m", "deployments.command", *asked, "--out", str(OUT)]
    ended = subprocess.run(command, env={**os.environ, **stack.env}, check=False)
    wrong = [f"{file.name}: {fault}" for file in files for fault in faults(file)]
    for fault in wrong:
        console.print(fault, style="red", markup=False)
    return ended.returncode == 0 and not wrong


def faults(path: Path) -> list[str]:
    """What is not as it should be in a short."""
    if not path.exists():
        return ["is not there"]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        sound = (audio.duration or 0) * (audio.time_base or 0)
        checks = {
            "it is not 1080x1920": (video.width, video.height) == (1080, 1920),
            "it is not H.264 with AAC": (video.name, audio.name) == ("h264", "aac"),
            "it is too short or too long": SECONDS / 2 <= sound <= SECONDS * 3 / 2,
            "it cannot be decoded": sum(1 for _ in container.decode(video=0)) == video.frames,
            "it is too loud or too quiet": abs(loudness(path) - TARGET) <= _TOLERANCE,
        }
    return [fault for fault, is_right in checks.items() if not is_right]
