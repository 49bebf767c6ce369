"""Reports known vulnerabilities of locked dependencies: `python -m tests.supply.audit [lock …]`.

The exit code is 1 if `docs/security.md` does not mention one of them. If the service cannot be
reached, or has data of none of the distributions, a message is printed and the exit code is 0.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ASSESSMENTS = ROOT / "docs" / "security.md"
LOCKS = ("requirements.lock", "requirements-image.lock")


def audit(lock: Path) -> Any:
    """The dependencies in the output of pip-audit; None if its service cannot be reached."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    try:
        return json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(run.stderr[-2000:])
        return None


def open_vulnerabilities(dependencies: Any, assessments: str) -> list[str]:
    """A line for each vulnerability none of whose ids occurs in `assessments`."""
    return [
        f"{one['name']} {one['version']}: {found['id']}, fixed in {found['fix_versions'] or '-'}"
        for one in dependencies
        for found in one.get("vulns", ())
        if not any(name in assessments for name in (found["id"], *found.get("aliases", ())))
    ]


def main(locks: list[str]) -> int:
    """Audit each lock file and return the exit code."""
    worst = 0
    for lock in [ROOT / name for name in locks or LOCKS if (ROOT / name).exists()]:
        dependencies = audit(lock)
        known = [one for one in dependencies or () if "skip_reason" not in one]
        if not known:
            print(f"{lock.name}: NOT AUDITED, the vulnerability service cannot be reached.")
            continue
        findings = open_vulnerabilities(known, ASSESSMENTS.read_text())
        print(f"{lock.name}: {len(known)} of {len(dependencies)} audited, {len(findings)} open.")
        print("".join(f"  {line}\n" for line in findings), end="")
        worst = max(worst, bool(findings))
    return worst


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
