"""A file of this machine as clipflow names it and holds it."""

import hashlib
import re
from pathlib import Path

from clipflow.storage.objects import ObjectStore

# Whose a person's own videos are: the user of their shorts and the tenant of their clips.
LOCAL = "local"
_NAME_LENGTH = 60


def plain_name(text: str) -> str:
    """`text` as an identifier may have it, short enough for more to come after it."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", text, flags=re.ASCII).strip("-")[:_NAME_LENGTH]


def identifier(path: Path) -> str:
    """What the file is called and what is in it: the same for the same video, however often."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{plain_name(path.stem)}-{digest[:8]}".lstrip("-")


def put_once(objects: ObjectStore, path: Path, key: str) -> None:
    """The file under `key`, unless it is there."""
    head = objects.head(key)
    if head is None or head.size != path.stat().st_size:
        objects.upload(path, key, {})
