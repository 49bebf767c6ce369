"""An episode of two tracks, and the clips that `clipflow clips` asks for by an event."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from clipflow.domain.clips import ClipStatus
from clipflow.domain.timecode import parse_timecode
from deployments.demo.command import run_command
from deployments.demo.sample import OUT, SAMPLE, console
from deployments.local_stack import RunningStack

TENANT = "demo"
TRACKS = {"main": ["host"], "guest": ["guest"]}
# Seconds of pause kept around a line.
_PAUSE = Fraction(1, 5)
# Lines of the conversation, in play order: one from the guest's own track; three out of order,
# from both.
CLIPS = {"one-idea": [3], "best-moments": [19, 20, 7]}


@dataclass
class Episode:
    """The sample episode in the local AWS."""

    stack: RunningStack
    id: str

    def __post_init__(self) -> None:
        self._s3 = self.stack.client("s3")
        self._table = self.stack.resource("dynamodb").Table(self.stack.env["TABLE_NAME"])

    def put(self) -> None:
        """The tracks, their records and the clips' records, as a detector would leave them."""
        for track, speakers in TRACKS.items():
            key = f"{self.id}/tracks/{track}.mp4"
            self._s3.upload_file(str(SAMPLE / f"{track}.mp4"), self._bucket, key)
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

    @property
    def _bucket(self) -> str:
        return self.stack.env["BUCKET_NAME"]

    def _key(self, kind: str, name: str) -> dict[str, str]:
        return {"pk": f"{TENANT}#{self.id}", "sk": f"{kind}#{name}"}


def _segments(lines: list[dict[str, str]], chosen: list[int]) -> Iterator[dict[str, Any]]:
    """The chosen lines as a detector finds them, by time; `order` says how they are to play."""
    for line in sorted(chosen):
        start, end = (parse_timecode(lines[line][name]) for name in ("startTime", "endTime"))
        yield {
            "startTime": Decimal(f"{float(start - _PAUSE):.3f}"),
            "endTime": Decimal(f"{float(end + _PAUSE):.3f}"),
            "speaker": lines[line]["speaker"],
            "text": lines[line]["text"],
            "order": chosen.index(line),
        }


def faults(record: dict[str, Any], path: Path) -> list[str]:
    """What is not as it should be in a clip that says it is complete."""
    spans = [[parse_timecode(s[n]) for n in ("startTime", "endTime")] for s in record["segments"]]
    length = sum((end - start for start, end in spans), Fraction(0))
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        sound = (audio.duration or 0) * (audio.time_base or 0)
        checks = {
            "its length is not that of its segments": abs(sound - length) < Fraction(1, 1000),
            "the record tells another length": record["durationSeconds"] == length,
            "the record tells another size": record["fileSize"] == path.stat().st_size,
            "it is not H.264 with AAC": (video.name, audio.name) == ("h264", "aac"),
            "it cannot be decoded": sum(1 for _ in container.decode(video=0)) == video.frames,
        }
    return [fault for fault, is_right in checks.items() if not is_right]


def make_clips(stack: RunningStack) -> bool:
    """Whether every clip came out right."""
    files = {clip: OUT / f"{clip}.mp4" for clip in CLIPS}
    episode = Episode(stack, f"episode-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    episode.put()
    made = run_command(stack, files.values(), "clips", "--tenant", TENANT, "--episode", episode.id)
    wrong = [
        f"{clip}: {fault}"
        for clip, file in files.items()
        for fault in (faults(episode.record(clip), file) if file.exists() else ["is not there"])
    ]
    for fault in wrong:
        console.print(fault, style="red", markup=False)
    return made and not wrong


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
