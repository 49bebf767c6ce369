"""`make demo` (`python -m deployments.demo`): runs both jobs on the sample in its own stack.

Both jobs are run with the `clipflow` command, as a user runs it and at the same time, and their
results are checked.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO, Any

import av
from av.container import InputContainer
from rich.console import Console

from clipflow.domain.clips import ClipStatus
from clipflow.domain.timecode import parse_timecode
from clipflow.media.loudness import TARGET, measure_loudness
from deployments.command.files import clip_files, remove_results, short_files
from deployments.local_stack import RunningStack, StackError, running_stack

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "demo" / "sample"
# This file shows both speakers side by side.
TALK = SAMPLE / "two-shot.mp4"
OUT = ROOT / "out"

TENANT = "demo"
TRACKS = {"main": ["host"], "guest": ["guest"]}
# Seconds of silence that are kept around a line.
_PAUSE = Fraction(1, 5)
# Lines of the conversation, in play order: one from the guest's own track; three out of order,
# from both.
CLIPS = {"one-idea": [3], "best-moments": [19, 20, 7]}

SHORTS_COUNT, SHORTS_SECONDS = 3, 14
# Loudness units by which a short may miss the target.
_LOUDNESS_TOLERANCE = 1.0

console = Console()


def main() -> int:
    """Runs the demo; returns the exit code, which is 0 only if all results are correct."""
    # Each demo has an episode of its own, so the command would not replace an earlier one's files.
    if others := remove_results(OUT, [*_clip_results(), *_short_results()]):
        console.print(f"{others[0]} exists, and was not made by clipflow. Move it.", markup=False)
        return 1
    console.print("Starting the local stack …")
    try:
        # The shorts are checked while the stack stops.
        with ThreadPoolExecutor() as checks, running_stack() as stack:
            with clips_in_background(stack) as clips:
                shorts = make_shorts(stack)
                is_right = finish_clips(clips) and shorts
            faults = checks.map(short_faults, _shorts()) if shorts else []
        is_right = _report(chain.from_iterable(faults)) and is_right
    except StackError as error:
        console.print(f"{error}. If `make up` is running, stop it first.", markup=False)
        return 1
    if not is_right:
        return 1
    console.print("The videos are in out/. `make up` starts the stack again, with all of its data.")
    return 0


@dataclass
class RunningClips:
    """The command that makes the clips of `episode`. Its output is in the file `output`."""

    episode: "Episode"
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]


@contextmanager
def clips_in_background(stack: RunningStack) -> Iterator[RunningClips]:
    """Stores an episode of two tracks and starts the command that makes its clips.

    Clips are cut while speech is recognised, as neither takes all cores all of the time.
    """
    episode = Episode(stack, f"episode-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    episode.put()
    command = ["clips", "--tenant", TENANT, "--episode", episode.id]
    _show(*command, "&")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            _command(*command), cwd=ROOT, env=_environment(stack), stdout=output, stderr=output
        )
        try:
            yield RunningClips(episode, process, output)
        finally:
            process.terminate()
            process.wait()


def finish_clips(clips: RunningClips) -> bool:
    """Waits for the clips and prints the command's output; returns whether all are correct."""
    made = clips.process.wait() == 0
    console.print("The clips that were made at the same time:")
    clips.output.seek(0)
    console.print(clips.output.read().decode().rstrip(), markup=False, soft_wrap=True)
    files = {clip: OUT / f"{clip}.mp4" for clip in CLIPS}
    return made and _report(
        f"{clip}: {fault}"
        for clip, file in files.items()
        for fault in (
            clip_faults(clips.episode.record(clip), file) if file.exists() else ["is missing"]
        )
    )


def make_shorts(stack: RunningStack) -> bool:
    """Makes shorts of the same conversation; returns whether the command has succeeded."""
    options = ["--count", str(SHORTS_COUNT), "--seconds", str(SHORTS_SECONDS)]
    command = ["shorts", str(TALK.relative_to(ROOT)), *options]
    _show(*command)
    ended = subprocess.run(_command(*command), cwd=ROOT, env=_environment(stack), check=False)
    return ended.returncode == 0


@dataclass
class Episode:
    """The sample episode in the local AWS."""

    stack: RunningStack
    id: str

    def __post_init__(self) -> None:
        self._s3 = self.stack.client("s3")
        self._table = self.stack.resource("dynamodb").Table(self.stack.env["TABLE_NAME"])

    def put(self) -> None:
        """Stores the tracks, their records and the clips' records, as a detector would."""
        for track, speakers in TRACKS.items():
            key = f"{self.id}/tracks/{track}.mp4"
            self._s3.upload_file(str(SAMPLE / f"{track}.mp4"), self.stack.env["BUCKET_NAME"], key)
            names = {"trackName": track, "s3Key": key, "speakers": speakers}
            self._table.put_item(Item={**self._key("track", track), **names})
        lines = json.loads((SAMPLE / "conversation.json").read_text())
        for clip, chosen in CLIPS.items():
            history = [{"status": ClipStatus.DETECTED.value, "timestamp": _now()}]
            record = {"status": ClipStatus.DETECTED.value, "statusHistory": history}
            segments = list(_segments(lines, chosen))
            self._table.put_item(Item={**self._key("clip", clip), **record, "segments": segments})

    def record(self, clip: str) -> dict[str, Any]:
        answer = self._table.get_item(Key=self._key("clip", clip), ConsistentRead=True)
        return dict(answer["Item"])

    def _key(self, kind: str, name: str) -> dict[str, str]:
        return {"pk": f"{TENANT}#{self.id}", "sk": f"{kind}#{name}"}


def _segments(lines: list[dict[str, str]], chosen: list[int]) -> Iterator[dict[str, Any]]:
    """The chosen lines as segments, sorted by time; `order` is their position in the clip."""
    for line in sorted(chosen):
        start, end = (parse_timecode(lines[line][name]) for name in ("startTime", "endTime"))
        yield {
            "startTime": Decimal(f"{float(start - _PAUSE):.3f}"),
            "endTime": Decimal(f"{float(end + _PAUSE):.3f}"),
            "speaker": lines[line]["speaker"],
            "text": lines[line]["text"],
            "order": chosen.index(line),
        }


def clip_faults(record: dict[str, Any], path: Path) -> list[str]:
    """The defects of a clip that its record declares complete; empty if it has none."""
    spans = [[parse_timecode(s[n]) for n in ("startTime", "endTime")] for s in record["segments"]]
    length = sum((end - start for start, end in spans), Fraction(0))
    with av.open(str(path)) as container:
        checks = {
            "its length is not that of its segments": (
                abs(_sound_seconds(container) - length) < Fraction(1, 1000)
            ),
            "its record has another length": record["durationSeconds"] == length,
            "its record has another size": record["fileSize"] == path.stat().st_size,
            **_stream_checks(container),
        }
    return [fault for fault, is_right in checks.items() if not is_right]


def short_faults(path: Path) -> list[str]:
    """The defects of a short, each with the name of its file; empty if it has none."""
    if not path.exists():
        return [f"{path.name}: is missing"]
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        seconds = _sound_seconds(container)
        checks = {
            "it is not 1080x1920": (video.width, video.height) == (1080, 1920),
            "it is too short or too long": SHORTS_SECONDS / 2 <= seconds <= SHORTS_SECONDS * 3 / 2,
            "it is too loud or too quiet": abs(measure_loudness(path) - TARGET)
            <= _LOUDNESS_TOLERANCE,
            **_stream_checks(container),
        }
    return [f"{path.name}: {fault}" for fault, is_right in checks.items() if not is_right]


def _sound_seconds(container: InputContainer) -> Fraction:
    audio = container.streams.audio[0]
    return Fraction((audio.duration or 0) * (audio.time_base or 0))


def _stream_checks(container: InputContainer) -> dict[str, bool]:
    video, audio = container.streams.video[0], container.streams.audio[0]
    video.thread_type = "AUTO"
    return {
        "it is not H.264 with AAC": (video.name, audio.name) == ("h264", "aac"),
        "it cannot be decoded": sum(1 for _ in container.decode(video=0)) == video.frames,
    }


def _shorts() -> list[Path]:
    return [OUT / f"{TALK.stem}-{number}.mp4" for number in range(1, SHORTS_COUNT + 1)]


def _clip_results() -> list[str]:
    return [name for clip in CLIPS for name in clip_files(clip)]


def _short_results() -> list[str]:
    return short_files(TALK, SHORTS_COUNT)


def _show(*arguments: str) -> None:
    console.print(f"$ clipflow {' '.join(arguments)}", markup=False, soft_wrap=True)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deployments.command", *arguments, "--out", str(OUT)]


def _environment(stack: RunningStack) -> dict[str, str]:
    return {**os.environ, **stack.env}


def _report(faults: Iterable[str]) -> bool:
    """Prints the faults; returns whether there are none."""
    found = list(faults)
    for fault in found:
        console.print(fault, style="red", markup=False)
    return not found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    sys.exit(main())
