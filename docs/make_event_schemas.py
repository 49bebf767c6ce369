"""Write the JSON Schemas of the result events into infra/events.

`.venv/bin/python -m docs.make_event_schemas`
"""

import json
from pathlib import Path

from clipflow.domain.result_events import DetailType, schema

FOLDER = Path(__file__).parent.parent / "infra" / "events"


def main() -> None:
    for detail_type in DetailType:
        name = f"{detail_type.lower().replace(' ', '-')}.json"
        (FOLDER / name).write_text(json.dumps(schema(detail_type), indent=2) + "\n")


if __name__ == "__main__":
    main()
