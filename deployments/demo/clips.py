"""An episode of two tracks, one event, and the clips that come out of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from rich.table import Table

from clipflow.domain.clips import ClipStatus
from clipflow.domain.timecode import parse_timecode
from deployments.demo.sample import OUT, ROOT, SAMPLE, console
from deployments.local_stack import RunningStack

TENANT = "demo"
TRACKS = {"main": ["host"], "guest": ["guest"]}
# Seconds of pause kept around a line, and seconds after which a clip counts as stuck.
_PAUSE = Fraction(1, 5)
_PATIENCE = 300
# Lines of the conversation, in play order: one from the guest's own track; three out of order,
# from both.
CLIPS = {"one-idea": [3], "best-moments": [19, 20, 7]}


@dataclass
class Episode:
    """The sample episode in the local AWS."""

    stack: RunningStack
    episode_id: str

    def __post_init__(self) -> None:
        self._s3 = self.stack.client("s3")
        self._events = self.stack.client("events")
        self._table = self.stack.resource("dynamodb").Table(self.stack.env["TABLE_NAME"])

    def put(self) -> None:
        """The tracks, their records and the clips' records, as a detector would leave them."""
        for track, speakers in TRACKS.items():
            key = f"{self.episode_id}/tracks/{track}.mp4"
            self._s3.upload_file(str(SAMPLE / f"{track}.mp4"), self._bucket, key)
            names = {"trackName": track, "s3Key": key, "speakers": speakers}
            self._table.put_item(Item={**self._key("track", track), **names})
        lines = json.loads((SAMPLE / "conversation.json").read_text())
        for clip, chosen in CLIPS.items():
            history = [{"status": ClipStatus.DETECTED.value, "timestamp": _now()}]
            record = {"status": ClipStatus.DETECTED.value, "statusHistory": history}
            segments = list(_segments(lines, chosen))
            self._table.put_item(Item={**self._key("clip", clip), **record, "segments": segments})

    def ask(self) -> None:
        """The event that a detector sends."""
        answer = self._events.put_events(
            Entries=[
                {
                    "Source": "nullcheck.clips",
                    "DetailType": "Begin Clip Generation",
                    "Detail": json.dumps({"tenantId": TENANT, "episodeId": self.episode_id}),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            raise SystemExit(f"EventBridge refused the event: {answer['Entries']}")

    def watch(self) -> dict[str, dict[str, Any]]:
        """The clips' records, once each is complete or failed; every change is said."""
        began, seen = time.monotonic(), dict.fromkeys(CLIPS, "detected")
        while time.monotonic() < began + _PATIENCE:
            records = {clip: self.record(clip) for clip in CLIPS}
            for clip, record in records.items():
                if record["status"] != seen[clip]:
                    seen[clip] = record["status"]
                    console.print(f"{time.monotonic() - began:5.1f} s  {clip}: {seen[clip]}")
            if set(seen.values()) <= {ClipStatus.COMPLETE, ClipStatus.FAILED}:
                return records
            time.sleep(0.2)
        raise SystemExit(f"Not done within {_PATIENCE} s: {seen}. See {self.stack.logs}.")

    def record(self, clip: str) -> dict[str, Any]:
        answer = self._table.get_item(Key=self._key("clip", clip), ConsistentRead=True)
        return dict(answer["Item"])

    def fetch(self, record: dict[str, Any], clip: str) -> Path:
        OUT.mkdir(exist_ok=True)
        path = OUT / f"{clip}.mp4"
        self._s3.download_file(self._bucket, record["s3Key"], str(path))
        return path

    @property
    def _bucket(self) -> str:
        return self.stack.env["BUCKET_NAME"]

    def _key(self, kind: str, name: str) -> dict[str, str]:
        return {"pk": f"{TENANT}#{self.episode_id}", "sk": f"{kind}#{name}"}


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


def show(records: dict[str, dict[str, Any]], paths: dict[str, Path]) -> None:
    """A table of what came out."""
    table = Table("file", "played, in seconds", "length", "picture", "size")
    for clip, path in paths.items():
        record = records[clip]
        played = sorted(record["segments"], key=lambda segment: segment["order"])
        table.add_row(
            str(path.relative_to(ROOT)),
            "\n".join(
                f"{s['speaker']:<5} {s['startTime']:6.2f}–{s['endTime']:.2f}" for s in played
            ),
            record["duration"],
            record["resolution"],
            f"{int(record['fileSize']) / 1e6:.1f} MB",
        )
    console.print(table)


def make_clips(stack: RunningStack) -> bool:
    """Whether every clip came out right."""
    episode = Episode(stack, f"episode-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    episode.put()
    episode.ask()
    console.print(f"Asked for the clips of {episode.episode_id} by an EventBridge event.")
    records = episode.watch()
    failed = {
        clip: record["processingError"]["message"]
        for clip, record in records.items()
        if record["status"] == ClipStatus.FAILED
    }
    paths = {c: episode.fetch(r, c) for c, r in records.items() if c not in failed}
    wrong = {clip: faults(records[clip], path) for clip, path in paths.items()}
    show(records, paths)
    for clip, why in {**failed, **{c: ", ".join(f) for c, f in wrong.items() if f}}.items():
        console.print(f"[red]{clip}: {why}")
    return not failed and not any(wrong.values())


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
