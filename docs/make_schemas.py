"""Write the JSON Schemas of `edits.json`, `segment_{n}.json`, and of events that clipflow sends.

    python -m docs.make_schemas

Run this after a change of one of their classes. A test fails until then.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipflow.domain.brands import Brand
from clipflow.domain.caption_styles import CaptionStyle
from clipflow.domain.edits import Edits
from clipflow.domain.result_events import DETAILS, DetailType
from clipflow.domain.shorts import ShortPost

ROOT = Path(__file__).parent.parent
FOLDERS = ("docs/schemas", "infra/events")


def schemas() -> Mapping[str, str]:
    """The text of each file, by its path from the root of the repository."""
    edits = Edits.model_json_schema(by_alias=True)
    events = {
        event_schema(detail_type): _text(
            detail.model_json_schema(mode="serialization"), detail_type
        )
        for detail_type, detail in DETAILS.items()
    }
    brand = Brand.model_json_schema(by_alias=True)
    post = ShortPost.model_json_schema(by_alias=True, mode="serialization")
    style = CaptionStyle.model_json_schema(by_alias=True)
    return {
        "docs/schemas/edits.schema.json": _text(edits, "edits.json"),
        "docs/schemas/brand.schema.json": _text(brand, "brand.json"),
        "docs/schemas/segment.schema.json": _text(post, "segment_{n}.json"),
        "docs/schemas/style.schema.json": _text(style, "style.json"),
        **events,
    }


def event_schema(detail_type: DetailType) -> str:
    """The path of an event's schema."""
    return f"infra/events/{detail_type.lower().replace(' ', '-')}.json"


def _text(schema: dict[str, Any], title: str) -> str:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    for definition in schema.get("$defs", {}).values():
        if "enum" in definition:
            # The docstring of the class is for developers, and not for authors of the document.
            definition.pop("description", None)
    return json.dumps({"$schema": dialect, **schema, "title": title}, indent=2) + "\n"


if __name__ == "__main__":
    for path, text in schemas().items():
        (ROOT / path).write_text(text)
