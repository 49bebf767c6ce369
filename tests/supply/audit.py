"""`python -m tests.supply.audit [lock …]`: known vulnerabilities of what is locked.

Ends with 1 where there is one that `docs/security.md` does not answer. Where the service cannot be
asked, or knows none of the distributions, it says so and ends with 0: that is no finding.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ANSWERS = ROOT / "docs" / "security.md"
LOCKS = ("requirements.lock", "requirements-image.lock")


def asked(lock: Path) -> Any:
    """What pip-audit says of `lock`; None where it could not ask."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    try:
        return json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(run.stderr[-2000:])
        return None


def unanswered(dependencies: Any, answers: str) -> list[str]:
    """A line for each vulnerability whose ids are all missing in `answers`."""
    return [
        f"{one['name']} {one['version']}: {found['id']}, mended in {found['fix_versions'] or '-'}"
        for one in dependencies
        for found in one.get("vulns", ())
        if not any(name in answers for name in (found["id"], *found.get("aliases", ())))
    ]


def main(locks: list[str]) -> int:
    """The exit code."""
    worst = 0
    for lock in [ROOT / name for name in locks or LOCKS if (ROOT / name).exists()]:
        dependencies = asked(lock)
        known = [one for one in dependencies or () if "skip_reason" not in one]
        if not known:
            print(f"{lock.name}: NOT AUDITED, the vulnerability service could not be asked.")
            continue
        findings = unanswered(known, ANSWERS.read_text())
        print(f"{lock.name}: {len(known)} of {len(dependencies)} audited, {len(findings)} open.")
        print("".join(f"  {line}\n" for line in findings), end="")
        worst = max(worst, bool(findings))
    return worst


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
