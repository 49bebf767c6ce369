"""A long video in the local warehouse, for tests of `generate-shorts`."""

import json
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from clipflow.domain.keys import ShortsKeys
from clipflow.storage.objects import shorts_store
from clipflow.storage.records import plain, record_store
from flows.generate_shorts import generate_shorts

SENTENCES = [
    "One clip holds one idea, and the idea of a clip is told by its title.",
    "Nobody waits for the good part of a clip to begin, so begin with it.",
    "Silence is part of what a speaker says, so leave some silence in.",
    "Captions are for people who watch without sound, and most of them do.",
]
CONFIG = {"segment_count": 2, "target_short_video_duration_in_seconds": 6}


def subtitles() -> str:
    """Subtitles with four sentences of five seconds, each followed by a second of silence."""
    cues = (
        f"{n + 1}\n00:00:{6 * n:02},500 --> 00:00:{6 * n + 5:02},500\n{text}\n"
        for n, text in enumerate(SENTENCES)
    )
    return "\n".join(cues)


class Warehouse:
    """The folder and the record of one video, and a method to run `generate-shorts` for it."""

    def __init__(self, video_id: str) -> None:
        self.keys = ShortsKeys("u", video_id, "klippers_warehouse")
        self.objects = shorts_store()

    def put(self, name: str, content: Path | str | dict[str, Any]) -> None:
        """Store a file, a text or a JSON document under this name in the video's folder."""
        body = json.dumps(content) if isinstance(content, dict) else content
        data = body.read_bytes() if isinstance(body, Path) else body.encode()
        self.objects.client.put_object(
            Bucket=self.objects.bucket, Key=f"{self.keys.folder}/{name}", Body=data
        )

    def delete(self, name: str) -> None:
        self.objects.client.delete_object(
            Bucket=self.objects.bucket, Key=f"{self.keys.folder}/{name}"
        )

    def generate(self, **more: Any) -> State[Any]:
        """Run `generate-shorts` in this process, and return its final state."""
        return generate_shorts("u", self.keys.video_id, return_state=True, **more)

    def versions(self) -> dict[str, str]:
        """The modification time and ETag of each object in the video's folder, by name."""
        folder = f"{self.keys.folder}/"
        listed = self.objects.client.list_objects_v2(Bucket=self.objects.bucket, Prefix=folder)
        return {
            entry["Key"].removeprefix(folder): f"{entry['LastModified']} {entry['ETag']}"
            for entry in listed.get("Contents", [])
        }

    def names(self) -> set[str]:
        """The names of the objects in the video's folder."""
        return set(self.versions())

    def text(self, name: str) -> str:
        """The content of an object in the video's folder."""
        return self.objects.text(f"{self.keys.folder}/{name}", 1 << 20)

    @property
    def record(self) -> dict[str, Any]:
        table = record_store().table
        return dict(plain(table.get_item(Key=self.keys.record, ConsistentRead=True)["Item"]))

    @property
    def history(self) -> list[str]:
        return [entry["status"] for entry in self.record["statusHistory"]]
