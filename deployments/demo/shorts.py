"""The shorts that `clipflow shorts` makes of the same talk."""

from pathlib import Path

import av

from clipflow.media.loudness import TARGET, measure_loudness
from deployments.demo.command import run_command
from deployments.demo.sample import OUT, SAMPLE, console
from deployments.local_stack import RunningStack

TALK = SAMPLE / "main.mp4"
COUNT, SECONDS = 3, 15
# Loudness units by which a short may miss the target.
_TOLERANCE = 1.0


def make_shorts(stack: RunningStack) -> bool:
    """Whether every short came out right."""
    files = [OUT / f"{TALK.stem}-{number}.mp4" for number in range(1, COUNT + 1)]
    asked = ["shorts", str(TALK), "--count", str(COUNT), "--seconds", str(SECONDS)]
    made = run_command(stack, files, *asked)
    wrong = [f"{file.name}: {fault}" for file in files for fault in faults(file)]
    for fault in wrong:
        console.print(fault, style="red", markup=False)
    return made and not wrong


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
            "it is too loud or too quiet": abs(measure_loudness(path) - TARGET) <= _TOLERANCE,
        }
    return [fault for fault, is_right in checks.items() if not is_right]
