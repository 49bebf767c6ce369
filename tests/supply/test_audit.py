"""The audit's evaluation of findings. The tests do not contact the vulnerability service."""

from tests.supply.audit import open_vulnerabilities

FOUND = [
    {"name": "sound", "version": "1", "vulns": []},
    {
        "name": "hurt",
        "version": "2",
        "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3"]}],
    },
]


def test_a_finding_is_open_until_one_of_its_ids_is_documented() -> None:
    assert open_vulnerabilities(FOUND, "") == ["hurt 2: PYSEC-1, fixed in ['3']"]
    assert open_vulnerabilities(FOUND, "CVE-2026-1 concerns Windows only.") == []
