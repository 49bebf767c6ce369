"""docs/scale.md: its tables are made, its words are not."""

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.tables import rows

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
PLOT = PAGE.with_name("scale.png")
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, p: Parameters) -> str:
    """The page's text, each table as the simulation gives it now.

    Raises KeyError for a table that there is not.
    """
    return _MADE.sub(lambda found: found[1] + markdown(rows(found[2], p)) + found[3], text)


def markdown(table: Iterable[tuple[str, ...]]) -> str:
    head, *body = (list(row) for row in table)
    columns = list(zip(*body, strict=True))
    ruled = [head, ["---:" if all(map(_numeric, each)) else "---" for each in columns], *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in ruled)


def _numeric(text: str) -> bool:
    return not text or text[0].isdigit() or text.startswith("piles up")
