"""Every locked distribution has a reviewed licence."""

import re

from tests.supply.licences import REASONS, TABLE, is_copyleft, licences


def listed() -> dict[str, str]:
    """The licences in the table of docs/licences.md, by distribution."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (.+?) \|", TABLE.read_text(), re.M)
    return {name: licence for name, licence in rows if name not in ("distribution", "---")}


def test_each_locked_distribution_is_listed_with_the_licence_it_has() -> None:
    found, known = licences(), listed()
    new = {name: licence for name, licence in found.items() if known.get(name) != licence}
    assert not new, "review these licences, then run: python -m tests.supply.licences"


def test_each_distribution_has_a_licence_and_copyleft_has_a_reason() -> None:
    found = licences()
    assert not [name for name, licence in found.items() if not licence]
    copyleft = {name for name, licence in found.items() if is_copyleft(name, licence)}
    assert copyleft <= set(REASONS)
