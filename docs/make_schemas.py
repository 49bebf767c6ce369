"""Write `schemas/`: a JSON Schema of each document that people write.

    python -m docs.make_schemas

After a change of a document's class, run this; a test fails until then.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipflow.domain.edits import Edits

FOLDER = Path(__file__).parent / "schemas"


def schemas() -> Mapping[str, str]:
    """The text of each file of the folder, by its name."""
    return {"edits.schema.json": _text(Edits.model_json_schema(by_alias=True), "edits.json")}


def _text(schema: dict[str, Any], title: str) -> str:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    for definition in schema["$defs"].values():
        if "enum" in definition:
            # Written for those who read the class, not for those who write the document.
            definition.pop("description", None)
    return json.dumps({"$schema": dialect, **schema, "title": title}, indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text)
