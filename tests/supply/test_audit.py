"""The audit's own judgement; the service itself is not asked by tests."""

from tests.supply.audit import unanswered

FOUND = [
    {"name": "sound", "version": "1", "vulns": []},
    {
        "name": "hurt",
        "version": "2",
        "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3"]}],
    },
]


def test_a_finding_is_open_until_one_of_its_ids_is_documented() -> None:
    assert unanswered(FOUND, "") == ["hurt 2: PYSEC-1, mended in ['3']"]
    assert unanswered(FOUND, "CVE-2026-1 concerns Windows only.") == []
